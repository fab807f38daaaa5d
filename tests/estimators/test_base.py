"""What all estimators share: errors, and the rest of scikit-learn around them."""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
from estimators.pairs import SCORE, TARGETS, VERSION, X, pair
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_iris,
)
from sklearn.ensemble import VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

import nnbackend as nnb
from nnbackend import estimators as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bad_calls() -> dict[str, Any]:
    y, several = TARGETS["multiclass"], TARGETS["multilabel"]
    nan = X.copy()
    nan[3, 2] = np.nan
    return {
        "nan": ({}, lambda e: e.fit(nan, y)),
        "texts": ({}, lambda e: e.fit([["a", "b"]], [1])),
        "one-dimension": ({}, lambda e: e.fit(X[0], y)),
        "lengths": ({}, lambda e: e.fit(X, y[:-1])),
        "numbers-as-classes": ({}, lambda e: e.fit(X, SCORE[:, 0])),
        "empty": ({}, lambda e: e.fit(np.empty((0, 3)), [])),
        "unfitted": ({}, lambda e: e.predict(X)),
        "width": ({}, lambda e: e.fit(X, y).predict(X[:, :3])),
        "nan-predicted": ({}, lambda e: e.fit(X, y).predict(nan)),
        "layers": ({"hidden_layer_sizes": (3, 0)}, lambda e: e.fit(X, y)),
        "no-classes": ({}, lambda e: e.partial_fit(X, y)),
        "other-classes": ({}, lambda e: e.partial_fit(X, y, classes=[0, 1])),
        "lbfgs-partial": ({"solver": "lbfgs"}, lambda e: e.partial_fit(X, y, classes=[0, 1])),
        "stopping-partial": ({"early_stopping": True},
                             lambda e: e.partial_fit(X, y, classes=[0, 1, 2, 3])),
        "small-validation": ({"early_stopping": True, "validation_fraction": 0.1},
                             lambda e: e.fit(X[:3], several[:3])),
        "rare-class": ({"early_stopping": True}, lambda e: e.fit(X, np.arange(150) == 0)),
        "warm-classes": ({"warm_start": True}, lambda e: e.fit(X, y).fit(X, y + 1)),
        "alpha": ({"alpha": -1}, lambda e: e.fit(X, y)),
        "max_iter": ({"max_iter": 0}, lambda e: e.fit(X, y)),
        "momentum": ({"momentum": 2}, lambda e: e.fit(X, y)),
        "shuffle": ({"shuffle": "yes"}, lambda e: e.fit(X, y)),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", bad_calls())
def test_errors_are_the_same(name):
    if name == "small-validation" and VERSION < (1, 9):
        pytest.skip("older versions of scikit-learn do not check that")
    settings, call = bad_calls()[name]
    said = []
    for estimator in pair("multiclass", **settings):
        with pytest.raises(Exception) as caught:
            call(estimator)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_not_finite_are_refused_with_the_same_error():
    said = []
    for estimator in pair("one", solver="sgd", learning_rate_init=1e9):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="non-finite") as caught:
            estimator.fit(X * 1e9, TARGETS["one"] * 1e9)
        said.append(" ".join(str(caught.value).split()))
    assert said[0] == said[1]


def test_ours_are_explained_where_scikit_learn_has_no_error():
    y = TARGETS["multiclass"]
    for settings, message in [
        ({"solver": "adamm"}, "'solver' parameter of MLPClassifier must be"),
        ({"backend": "numpi"}, "'backend' parameter of MLPClassifier must be"),
        ({"activation": ["relu"]}, "activation has 1 entries, but there are 2 hidden layers"),
        ({"activation": ["relu", "rellu"]}, "did you mean 'relu'"),
        ({"dropout": 1.5}, "'dropout' parameter of MLPClassifier must be"),
        ({"loss": "binary_cross_entropy"}, "takes the numbers before a sigmoid"),
        ({"validation_data": (X,)}, "must be (X, y) or (X, y, sample_weight)"),
        ({"validation_data": (X[:, :2], y)}, "X has 2 features, but MLPClassifier is expecting 6"),
        ({"device": "gpu"}, "NumPy computes on the CPU only"),
        ({"data_on": "disk"}, "'data_on' parameter of MLPClassifier must be a str among"),
        ({"data_on": None}, "'data_on' parameter of MLPClassifier must be a str among"),
    ]:
        with pytest.raises((ValueError, RuntimeError), match=re.escape(message)):
            ours.MLPClassifier((4, 3), max_iter=1, **settings).fit(X, y)
    with pytest.raises(ValueError, match="network without dropout or other noise"):
        ours.MLPClassifier(solver="lbfgs", dropout=0.5).fit(X, y)
    with pytest.raises(ValueError, match="give the weight of each class"):
        ours.MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))
    with pytest.raises(ValueError, match="solver='lbfgs' is the estimator's L-BFGS"):
        ours.MLPClassifier(solver=nnb.optimizers.LBFGS()).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        ours.MLPClassifier(max_iter=1).fit(X, y, sample_weight=np.zeros(150))


def test_pipelines_searches_and_the_like():
    x, y = load_iris(return_X_y=True)
    mlp = ours.MLPClassifier((10,), max_iter=30, learning_rate_init=0.02, random_state=0)
    model = make_pipeline(StandardScaler(), mlp)
    search = GridSearchCV(model, {"mlpclassifier__alpha": [1e-4, 1.0],
                                  "mlpclassifier__activation": ["relu", "gelu"]}, cv=3)  # fmt: skip
    assert search.fit(x, y).best_score_ > 0.9
    assert cross_val_score(model, x, y, cv=3, n_jobs=2).mean() > 0.9
    assert CalibratedClassifierCV(mlp, cv=3).fit(x, y).predict_proba(x).shape == (150, 3)
    voting = VotingClassifier([("a", mlp), ("b", clone(mlp))], voting="soft").fit(x, y)
    assert voting.score(x, y) > 0.9
    importance = permutation_importance(model.fit(x, y), x, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.max() > 0.1
    scaled = StandardScaler().set_output(transform="pandas") if _has("pandas") else StandardScaler()
    assert make_pipeline(scaled, clone(mlp)).fit(x, y).score(x, y) > 0.9
    copy = clone(search.best_estimator_)
    assert copy.get_params()["mlpclassifier__learning_rate_init"] == 0.02


def test_metadata_are_routed():
    x, y = load_iris(return_X_y=True)
    weight = np.linspace(0.1, 1.0, 150)
    with config_context(enable_metadata_routing=True):
        mlp = ours.MLPClassifier((5,), max_iter=3, random_state=0).set_fit_request(
            sample_weight=True
        )
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), mlp)
        routed.fit(x, y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(x)
    direct = ours.MLPClassifier((5,), max_iter=3, random_state=0).fit(
        scaled, y, sample_weight=weight
    )
    np.testing.assert_allclose(routed[-1].coefs_[0], direct.coefs_[0])


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames_are_taken_and_their_names_kept(package):
    frames = pytest.importorskip(package)
    names = list("abcdef")
    frame = frames.DataFrame(
        X, **({"columns": names} if package == "pandas" else {"schema": names})
    )
    y = frames.Series(TARGETS["multiclass"])
    mlp = ours.MLPClassifier(max_iter=3, random_state=0).fit(frame, y)
    assert list(mlp.feature_names_in_) == names
    plain = ours.MLPClassifier(max_iter=3, random_state=0).fit(X, TARGETS["multiclass"])
    np.testing.assert_array_equal(mlp.predict_proba(frame), plain.predict_proba(X))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        mlp.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        mlp.predict(frame[names[::-1]])


def test_a_model_of_a_library_that_is_missing_predicts_with_numpy():
    mlp = ours.MLPClassifier(max_iter=2, random_state=0).fit(X, TARGETS["multiclass"])
    expected = mlp.predict_proba(X)
    elsewhere = pickle.loads(pickle.dumps(mlp.set_params(backend="cupy")))
    status = {s.name: s.usable for s in nnb.available_backends()}
    if status["cupy"]:
        pytest.skip("CuPy is usable here")
    with pytest.warns(UserWarning, match="NumPy predicts in its place"):
        found = elsewhere.predict_proba(X)
    np.testing.assert_array_equal(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elsewhere.predict(X)  # said once
    with pytest.warns(UserWarning, match="NumPy predicts in its place"):
        assert "Dense(100, relu)" in estimator_html_repr(elsewhere)
    with pytest.raises(nnb.errors.BackendUnavailableError):
        elsewhere.fit(X, TARGETS["multiclass"])


def test_precision_of_one_s_choice():
    mlp = ours.MLPClassifier(max_iter=2, precision="float32").fit(X, TARGETS["multiclass"])
    assert mlp.coefs_[0].dtype == np.float32
    assert mlp.predict_proba(X).dtype == np.float32
    assert mlp.predict(X).shape == (150,)


def test_mixed_precision_of_one_s_choice(tmp_path):
    given = {"max_iter": 5, "precision": "float16", "random_state": 0}
    mlp = ours.MLPClassifier(**given).fit(X, TARGETS["multiclass"])
    assert mlp.coefs_[0].dtype == np.float32
    found = mlp.predict_proba(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    exact = ours.MLPClassifier(**given | {"precision": "float64"}).fit(X, TARGETS["multiclass"])
    apart = np.abs(found - exact.predict_proba(X)).max()
    assert 0.0 < apart < 0.02
    assert mlp.network_.backend.precision == "float16"
    again = ours.load(mlp.save(tmp_path / "mlp.safetensors"))
    np.testing.assert_array_equal(again.predict_proba(X), found)
    with pytest.raises(ValueError, match=r"lbfgs.*precision='float16'"):
        ours.MLPClassifier(solver="lbfgs", **given).fit(X, TARGETS["multiclass"])
    with pytest.raises(ValueError, match="'bfloat16' is not possible on numpy"):
        ours.MLPClassifier(precision="bfloat16").fit(X, TARGETS["multiclass"])


@pytest.mark.parametrize(
    "cls", [ours.MLPClassifier, ours.MLPRegressor, ours.NetworkClassifier, ours.NetworkRegressor]
)
def test_all_arguments_are_in_the_signature_and_no_other_is_taken(cls):
    parameters = inspect.signature(cls).parameters
    assert parameters["beta_2"].default == 0.999
    assert parameters["beta_2"].annotation is float
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert cls(tol=0.5).get_params() == {n: p.default for n, p in parameters.items()} | {"tol": 0.5}
    assert cls._parameter_constraints.keys() == parameters.keys()
    documented = ours.MLPClassifier.__doc__ + cls.__doc__
    assert [name for name in parameters if f"{name}: " not in documented] == []
    with pytest.raises(TypeError, match=f"{cls.__name__}.* unexpected keyword argument 'beta2'"):
        cls(beta2=0.9)


@pytest.mark.parametrize("container", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("cls", [ours.MLPClassifier, ours.MLPRegressor])
def test_numbers_that_float32_does_not_hold_are_refused(cls, container):
    """They are infinite in it, and what comes of them is no class and no number."""
    large, y = X.copy(), TARGETS["binary"]
    large[3, 1] = 1e200
    model = cls(max_iter=1, precision="float32").fit(container(X), y)
    for _ in range(5):
        model.predict(container(X)), model.predict(X[:1])
    scored = cls(max_iter=1, precision="float32", validation_data=(container(large), y))
    for call in (
        lambda: cls(max_iter=1, precision="float32").fit(container(large), y),
        lambda: scored.fit(container(X), y),
        lambda: model.predict(container(large)),
        lambda: model.predict(large[3:4]),
    ):
        with np.errstate(over="ignore"), pytest.raises(ValueError, match="infinite in float32"):
            call()
    assert np.isfinite(cls(max_iter=1).fit(container(X), y).predict(container(large))).all()
