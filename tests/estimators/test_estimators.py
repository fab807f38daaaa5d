"""The estimators beside scikit-learn's own, and what they have beyond them."""

from __future__ import annotations

import pickle
import re
import threading
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import scipy.sparse
import sklearn
import sklearn.neural_network as theirs
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_multilabel_classification,
)
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.backends.memory import Memory
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.data import host_data
from nnbackend.errors import ModelFileError
from nnbackend.estimators import losses, rules
from nnbackend.estimators.base import NeuralEstimator
from nnbackend.estimators.fit import EpochOrder
from nnbackend.testing import check_gradients

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6))
SCORE = X[:, :3] @ RNG.normal(size=(3, 4)) + 0.3 * RNG.normal(size=(150, 4))
TARGETS: dict[str, Any] = {
    "binary": (SCORE[:, 0] > 0).astype(int),
    "multiclass": SCORE.argmax(axis=1),
    "multilabel": (SCORE[:, :3] > 0).astype(int),
    "one": SCORE[:, 0],
    "several": SCORE[:, :2],
}


def pair(kind: str, **settings: Any) -> tuple[Any, Any]:
    """Return scikit-learn's estimator and ours for a kind of target."""
    name = "MLPRegressor" if kind in ("one", "several") else "MLPClassifier"
    settings = {"hidden_layer_sizes": (7, 5), "max_iter": 8, "random_state": 3} | settings
    return getattr(theirs, name)(**settings), getattr(ours, name)(**settings)


def assert_same(a: Any, b: Any, tolerance: float = 1e-9) -> None:
    """Check that two estimators learned the same and say the same."""
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(b, name), getattr(a, name), strict=True):
            assert mine.dtype == other.dtype
            assert mine.shape == other.shape
            np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "t_"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_",
                 "best_validation_score_"):  # fmt: skip
        assert hasattr(a, name) == hasattr(b, name), name
        mine, other = getattr(b, name, None), getattr(a, name, None)
        assert (mine is None) == (other is None), name
        if mine is not None:
            np.testing.assert_allclose(mine, other, rtol=1e-4 if tolerance > 1e-7 else 1e-9)
    x = X.astype(a.coefs_[0].dtype)
    if hasattr(a, "predict_proba"):
        np.testing.assert_array_equal(a.classes_, b.classes_)
        np.testing.assert_array_equal(a.predict(x), b.predict(x))
        for name in ("predict_proba", "predict_log_proba"):
            mine, other = getattr(b, name)(x), getattr(a, name)(x)
            assert mine.dtype == other.dtype
            np.testing.assert_allclose(mine, other, atol=50 * tolerance)
    else:
        np.testing.assert_allclose(b.predict(x), a.predict(x), atol=50 * tolerance)


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "adam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd-plain-momentum": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd-no-momentum": {"solver": "sgd", "momentum": 0.0},
    "sgd-full-momentum": {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 1e-4},
    "sgd-invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "sgd-adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0,
                     "n_iter_no_change": 1},
    "alpha": {"alpha": 0.5},
    "no-alpha": {"alpha": 0.0},
    "batch": {"batch_size": 32},
    "in-order": {"shuffle": False, "batch_size": 32},
    "early-stopping": {"early_stopping": True, "n_iter_no_change": 2},
    "early-stopping-sgd": {"early_stopping": True, "solver": "sgd", "learning_rate": "adaptive",
                           "n_iter_no_change": 1, "validation_fraction": 0.3},
    "converged": {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 50},
    "tanh": {"activation": "tanh"},
    "logistic": {"activation": "logistic"},
    "identity": {"activation": "identity"},
    "one-layer": {"hidden_layer_sizes": 9},
    "no-layer": {"hidden_layer_sizes": ()},
    "lbfgs": {"solver": "lbfgs"},
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", TARGETS)
def test_the_same_random_state_gives_the_same_weights(kind, settings):
    a, b = pair(kind, **settings)
    assert_same(a.fit(X, TARGETS[kind]), b.fit(X, TARGETS[kind]))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_float32_stays_float32_and_close(kind, solver):
    a, b = pair(kind, solver=solver, max_iter=3)
    x, y = X.astype(np.float32), TARGETS[kind]
    y = y.astype(np.float32) if kind in ("one", "several") else y
    # In float32 an iteration of lbfgs makes much of a rounding error.
    assert_same(a.fit(x, y), b.fit(x, y), 2e-3 if solver == "lbfgs" else 1e-5)


@pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn has sample weights since 1.7")
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
def test_sample_weights_count_as_they_do_there(kind, settings):
    weight = RNG.uniform(0.1, 3.0, 150)
    a, b = pair(kind, **settings)
    y = TARGETS[kind]
    assert_same(a.fit(X, y, sample_weight=weight), b.fit(X, y, sample_weight=weight))
    if not settings:
        for estimator in (a, b):
            estimator.partial_fit(X, y, sample_weight=weight)
        assert_same(a, b)


@pytest.mark.skipif(VERSION < (1, 7), reason="scikit-learn has the Poisson loss since 1.7")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["one", "several"])
def test_the_poisson_loss(kind, solver):
    y = np.floor(np.exp(TARGETS[kind] / 2))
    assert (y == 0).any()
    a, b = pair(kind, loss="poisson", solver=solver)
    assert_same(a.fit(X, y), b.fit(X, y))


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "learning_rate": "invscaling"},
                                      {"early_stopping": True},
                                      {"solver": "lbfgs"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", TARGETS)
def test_warm_starts_go_on(kind, settings):
    a, b = pair(kind, warm_start=True, max_iter=3, **settings)
    tolerance = 1e-6 if "solver" in settings else 1e-9  # lbfgs makes more of a rounding error
    for _ in range(3):
        assert_same(a.fit(X, TARGETS[kind]), b.fit(X, TARGETS[kind]), tolerance)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", TARGETS)
def test_partial_fits_go_on_also_after_a_fit_and_after_pickling(kind, solver):
    a, b = pair(kind, solver=solver)
    y = TARGETS[kind]
    first = {"classes": np.unique(y)} if kind in ("binary", "multiclass") else {}
    if kind == "multilabel":
        first = {"classes": np.arange(3)}
    for estimator in (a, b):
        estimator.partial_fit(X[:70], y[:70], **first)
        estimator.partial_fit(X[70:], y[70:])
    assert_same(a, b)
    b = pickle.loads(pickle.dumps(b))
    for estimator in (a, b):
        estimator.partial_fit(X, y)
    assert_same(a, b)
    for estimator in (a, b):
        estimator.fit(X, y)
        estimator.partial_fit(X, y)
    assert_same(a, b)


def test_what_a_user_does_to_the_weights_counts():
    a, b = pair("multiclass")
    for estimator in (a, b):
        estimator.fit(X, TARGETS["multiclass"])
        estimator.coefs_[0] *= 0.5
        estimator.intercepts_[-1] = estimator.intercepts_[-1] + 1.0
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X))
    for estimator in (a, b):
        estimator.coefs_[1][...] = 0.25
        estimator.partial_fit(X, TARGETS["multiclass"])
    np.testing.assert_allclose(a.coefs_[1], b.coefs_[1])


def test_rows_are_shuffled_as_scikit_learn_shuffles_them():
    places, expected = np.arange(50), np.random.RandomState(3)
    order = EpochOrder(None, 50, np.random.RandomState(3))
    for epoch in (1, 2, 3):
        places = sklearn.utils.shuffle(places, random_state=expected)
        np.testing.assert_array_equal(order(epoch), places)
    some = np.arange(0, 50, 2)
    np.testing.assert_array_equal(
        EpochOrder(some, 25, np.random.RandomState(3))(1),
        sklearn.utils.shuffle(some, random_state=3),
    )


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix,
                                       scipy.sparse.csr_array])  # fmt: skip
@pytest.mark.parametrize("settings", [{}, {"shuffle": False}, {"early_stopping": True},
                                      {"solver": "lbfgs"}], ids=str)  # fmt: skip
def test_sparse_input(container, settings):
    x = np.where(X > 0.5, X, 0.0)
    a, b = pair("multiclass", batch_size=40, **settings)
    y = TARGETS["multiclass"]
    b.fit(container(x), y)
    assert_same(a.fit(x, y), b)
    np.testing.assert_allclose(b.predict_proba(container(x)), a.predict_proba(x))


def test_labels_may_be_texts_and_anything_that_sorts():
    names = np.array(["setosa", "versicolor", "virginica", "none"])
    for labels in (names, names.astype(object), np.array([1.0, 2.0, 7.0, -3.0])):
        # The early stopping of scikit-learn 1.6 has no texts yet.
        a, b = pair("multiclass", early_stopping=VERSION >= (1, 7))
        y = labels[TARGETS["multiclass"]]
        assert_same(a.fit(X, y), b.fit(X, y))
        assert b.predict(X).dtype == a.predict(X).dtype
    one = ours.MLPClassifier(max_iter=2).fit(X, ["only"] * 150)
    assert set(one.predict(X)) == {"only"}
    labels = scipy.sparse.csr_matrix(TARGETS["multilabel"])
    a, b = pair("multilabel")
    assert (a.fit(X, labels).predict(X) != b.fit(X, labels).predict(X)).nnz == 0


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits,
                                  load_diabetes])  # fmt: skip
def test_the_scores_are_those_of_scikit_learn_over_ten_seeds(load):
    x, y = load(return_X_y=True)
    name = "MLPRegressor" if load is load_diabetes else "MLPClassifier"
    scores: dict[Any, list[float]] = {theirs: [], ours: []}
    for seed in range(10):
        parts = train_test_split(x, y, test_size=0.4, random_state=seed)
        for library, found in scores.items():
            mlp = getattr(library, name)(
                hidden_layer_sizes=(20,), max_iter=15, learning_rate_init=0.02, random_state=seed
            )
            model = make_pipeline(StandardScaler(), mlp).fit(parts[0], parts[2])
            found.append(model.score(parts[1], parts[3]))
    np.testing.assert_allclose(np.mean(scores[ours]), np.mean(scores[theirs]), atol=0.02)
    assert np.mean(scores[ours]) > (-6.0 if name == "MLPRegressor" else 0.85)


# What is said


@pytest.mark.parametrize(("settings", "y"), [
    ({"max_iter": 2}, "multiclass"),
    ({"max_iter": 40, "tol": 5.0, "n_iter_no_change": 2}, "multiclass"),
    ({"max_iter": 40, "tol": 5.0, "n_iter_no_change": 2, "early_stopping": True}, "one"),
    ({"max_iter": 20, "tol": 5.0, "n_iter_no_change": 1, "solver": "sgd",
      "learning_rate": "adaptive", "learning_rate_init": 4e-6}, "binary"),
])  # fmt: skip
def test_progress_is_printed_in_the_same_words(capsys, settings, y):
    printed = []
    for estimator in pair(y, verbose=True, **settings):
        estimator.fit(X, TARGETS[y])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "Iteration 1, loss = " in printed[0]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("settings", "kind"), [
    ({"max_iter": 1}, ConvergenceWarning),
    ({"max_iter": 1, "batch_size": 1000}, UserWarning),
    ({"max_iter": 1, "solver": "lbfgs"}, ConvergenceWarning),
])  # fmt: skip
def test_warnings_are_the_same(settings, kind):
    found = []
    for estimator in pair("multiclass", **settings):
        with pytest.warns(kind) as caught:
            estimator.fit(X, TARGETS["multiclass"])
        found.append([(str(w.message), w.category) for w in caught])
    assert found[0] == found[1]


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


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(run: Any) -> None:
        if run.epoch == 2:
            raise KeyboardInterrupt

    mlp = ours.MLPClassifier(callbacks=[interrupt])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        mlp.fit(X, TARGETS["multiclass"])
    assert mlp.n_iter_ == 2
    assert mlp.predict(X).shape == (150,)


# Beyond scikit-learn


@pytest.mark.parametrize("solver", [
    "adamw", "rmsprop", nnb.SGD(0.05, momentum=0.9), nnb.AdamW(0.01, weight_decay=0.1),
])  # fmt: skip
def test_optimizers_of_this_library(solver):
    mlp = ours.MLPClassifier((16,), solver=solver, learning_rate_init=0.01, random_state=0,
                             max_iter=40, batch_size=30).fit(X, TARGETS["binary"])  # fmt: skip
    assert mlp.score(X, TARGETS["binary"]) > 0.9


def test_the_learning_rate_may_be_a_schedule():
    mlp = ours.MLPRegressor(learning_rate=lambda step: 0.01 / (1 + step), max_iter=3, batch_size=50)
    rates = mlp.fit(X, TARGETS["one"]).history_["learning_rate"]
    np.testing.assert_allclose(rates, [0.01 / 3, 0.01 / 6, 0.01 / 9])


def test_activations_for_each_layer_and_losses_of_this_library():
    mlp = ours.MLPClassifier((8, 6), activation=["gelu", nnb.activations.ELU(0.5)], max_iter=30,
                             learning_rate_init=0.01, random_state=0)  # fmt: skip
    y = TARGETS["multiclass"]
    for loss in ("softmax_cross_entropy", nnb.losses.softmax_cross_entropy, "mse"):
        fitted = clone(mlp).set_params(loss=loss).fit(X, y)
        assert fitted.score(X, y) > 0.6
        assert fitted.out_activation_ == "softmax"
        np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1.0)
    two = clone(mlp).set_params(loss="softmax_cross_entropy").fit(X, TARGETS["binary"])
    assert two.predict_proba(X).shape == (150, 2)
    assert two.coefs_[-1].shape == (6, 2)
    for loss, kind, size in (("hinge", "binary", 1), ("categorical_hinge", "multiclass", 4)):
        margin = clone(mlp).set_params(loss=loss, metrics=["accuracy"], early_stopping=True)
        margin.fit(X, TARGETS[kind])
        assert margin.score(X, TARGETS[kind]) > 0.6
        assert margin.coefs_[-1].shape == (6, size)
        assert margin.out_activation_ == "identity"
        assert not hasattr(margin, "predict_proba")
        np.testing.assert_allclose(
            margin.history_["accuracy"][-1], margin.score(X, TARGETS[kind]), atol=0.2
        )
    with pytest.raises(ValueError, match="'hinge' is not for multiclass targets"):
        clone(mlp).set_params(loss="hinge").fit(X, y)
    focal = clone(mlp).set_params(loss="softmax_focal").fit(X, y)
    np.testing.assert_allclose(focal.predict_proba(X).sum(axis=1), 1.0)
    counts = np.floor(np.exp(TARGETS["one"]))
    library = nnb.losses.Poisson()
    rates = ours.MLPRegressor(loss=library, max_iter=20, random_state=0).fit(X, counts)
    assert (rates.predict(X) > 0).all()
    huber = ours.MLPRegressor(loss="huber", max_iter=60, learning_rate_init=0.01, random_state=0)
    assert huber.fit(X, TARGETS["one"]).score(X, TARGETS["one"]) > 0.6


def test_the_library_s_cross_entropy_is_scikit_learn_s():
    a, _ = pair("multiclass")
    b = pair("multiclass")[1].set_params(loss="softmax_cross_entropy")
    assert_same(a.fit(X, TARGETS["multiclass"]), b.fit(X, TARGETS["multiclass"]))


def test_regularizers_constraints_and_averages_of_this_library_count():
    y = TARGETS["one"]
    make = lambda **k: ours.NetworkRegressor(  # noqa: E731
        [nnb.Dense(8, activation="tanh", **k)], max_iter=5, random_state=0
    )
    plain = make().fit(X, y)
    l2 = make(regularizer=nnb.regularizers.L2(0.5)).fit(X, y)
    bound = make(constraint=nnb.constraints.MaxNorm(0.5)).fit(X, y)
    norms = [np.linalg.norm(m.params_["0"]["weight"], axis=0).max() for m in (plain, l2, bound)]
    assert norms[1] < norms[0]
    assert norms[2] <= 0.5 + 1e-6 < norms[0]
    assert make(regularizer=nnb.regularizers.L2(0.5)).set_params(solver="lbfgs").fit(X, y).loss_ > (
        make().set_params(solver="lbfgs").fit(X, y).loss_
    )
    averaged = make().set_params(solver=nnb.optimizers.EMA(nnb.Adam(1e-3), 0.5)).fit(X, y)
    assert np.abs(averaged.params_["0"]["weight"] - plain.params_["0"]["weight"]).max() > 1e-7


def test_dropout_drops_in_training_only_and_by_the_random_state():
    y = TARGETS["multiclass"]
    make = lambda **k: ours.MLPClassifier((30, 20), max_iter=5, random_state=1, **k).fit(X, y)  # noqa: E731
    plain, some, again, one = make(), make(dropout=0.5), make(dropout=0.5), make(dropout=[0.0, 0.5])
    assert np.abs(plain.coefs_[0] - some.coefs_[0]).max() > 1e-6
    np.testing.assert_array_equal(some.coefs_[0], again.coefs_[0])
    assert np.abs(one.coefs_[0] - some.coefs_[0]).max() > 1e-6
    np.testing.assert_array_equal(some.predict_proba(X), some.predict_proba(X))
    assert len(some.coefs_) == 3


def test_class_weights_are_sample_weights():
    y = TARGETS["multiclass"]
    weights = {0: 1.0, 1: 3.0, 2: 0.5, 3: 1.0}
    by_class = ours.MLPClassifier(max_iter=4, random_state=0, class_weight=weights).fit(X, y)
    by_sample = ours.MLPClassifier(max_iter=4, random_state=0)
    by_sample.fit(X, y, sample_weight=np.vectorize(weights.get)(y))
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    texts = np.array(list("abcd"))[y]
    by_name = dict(zip("abcd", weights.values(), strict=True))
    named = ours.MLPClassifier(max_iter=4, random_state=0, class_weight=by_name)
    np.testing.assert_array_equal(named.fit(X, texts).coefs_[0], by_class.coefs_[0])
    rare = np.r_[np.zeros(140, int), np.ones(10, int)]
    balanced = ours.MLPClassifier(max_iter=30, random_state=0, class_weight="balanced").fit(X, rare)
    plain = ours.MLPClassifier(max_iter=30, random_state=0).fit(X, rare)
    assert balanced.predict(X).sum() > plain.predict(X).sum()


def test_validation_data_of_one_s_own():
    y = TARGETS["multiclass"]
    mlp = ours.MLPClassifier(max_iter=6, random_state=0, validation_data=(X[100:], y[100:]))
    mlp.fit(X[:100], y[:100])
    assert len(mlp.validation_scores_) == 6
    assert mlp.validation_scores_[-1] == mlp.score(X[100:], y[100:])
    assert mlp.best_loss_ is not None  # it does not stop training
    mlp.set_params(early_stopping=True, n_iter_no_change=1, tol=0.1, max_iter=100)
    mlp.fit(X[:100], y[:100])
    assert mlp.n_iter_ < 100
    assert mlp.best_validation_score_ == mlp.score(X[100:], y[100:])
    some = ours.MLPClassifier(max_iter=1, warm_start=True, validation_data=(X[y < 2], y[y < 2]))
    assert len(some.fit(X, y).fit(X, y).validation_scores_) == 2
    weighted = ours.MLPRegressor(
        max_iter=3, validation_data=(X[100:], SCORE[100:, 0], np.arange(50.0))
    ).fit(X[:100], SCORE[:100, 0])
    np.testing.assert_allclose(
        weighted.validation_scores_[-1],
        weighted.score(X[100:], SCORE[100:, 0], sample_weight=np.arange(50.0)),
    )


class _HalveTheRate(nnb.callbacks.Callback):
    def epoch_end(self, run: Any) -> None:
        run.learning_rate_factor *= 0.5


def test_metrics_callbacks_and_time():
    y = TARGETS["multiclass"]
    seen: list[Any] = []

    class Watch(nnb.callbacks.Callback):
        def start(self, run: Any) -> None:
            seen.append("start")

        def batch_end(self, run: Any) -> None:
            seen.append(run.step)

        def epoch_end(self, run: Any) -> None:
            seen.append(run.history["loss"][-1])
            assert run.network.predict(X).shape == (150, 4)
            if run.epoch == 2:
                run.stop("enough")

        def stop(self, run: Any) -> None:
            seen.append("stop")

    mlp = ours.MLPClassifier(
        callbacks=[Watch()], metrics=["accuracy"], batch_size=60, random_state=0
    )
    mlp.fit(X, y)
    losses_ = mlp.loss_curve_
    assert seen == ["start", 1, 2, 3, losses_[0], 1, 2, 3, losses_[1], "stop"]
    assert mlp.history_.stopped == "enough"
    assert len(mlp.history_["accuracy"]) == 2
    assert set(mlp.history_) >= {"epoch", "loss", "accuracy", "learning_rate", "seconds"}
    converged = ours.MLPClassifier(callbacks=[lambda run: None], tol=9.0, n_iter_no_change=2).fit(
        X, y
    )
    assert converged.history_.stopped.startswith("Training loss did not improve")

    class Leave(nnb.callbacks.Callback):
        def batch_end(self, run: Any) -> None:
            if run.epoch == 2:
                run.stop("left", at_once=True)

    left = ours.MLPClassifier(callbacks=[Leave()], batch_size=60).fit(X, y)
    assert (left.n_iter_, left.history_.stopped) == (1, "left")
    plateau = ours.MLPClassifier(callbacks=[_HalveTheRate()], max_iter=4, random_state=0).fit(X, y)
    np.testing.assert_allclose(plateau.history_["learning_rate"], [1e-3, 5e-4, 2.5e-4, 1.25e-4])
    timed = ours.MLPClassifier(max_time=1e-9).fit(X, y)
    assert timed.n_iter_ == 1
    assert "max_time" in timed.history_.stopped


def test_any_layers_make_an_estimator():
    layers = [
        nnb.Residual([nnb.Dense(6, activation="gelu")]),
        nnb.Dropout(0.1),
        nnb.Dense(12, "tanh"),
    ]
    y = TARGETS["multiclass"]
    net = ours.NetworkClassifier(layers, max_iter=60, learning_rate_init=0.01, random_state=0)
    net.fit(X, y)
    assert net.score(X, y) > 0.7
    np.testing.assert_allclose(net.network_.predict(X), net.predict_proba(X))
    images = ours.NetworkRegressor(
        [nnb.Flatten(), nnb.Dense(20, activation="relu")], input_shape=(2, 3), max_iter=60,
        learning_rate_init=0.01, random_state=0,
    )  # fmt: skip
    several = TARGETS["several"]
    assert images.fit(X, several).score(X, several) > 0.6
    assert images.network_.input_shape == (2, 3)
    for _ in range(2):
        images.partial_fit(X, several)
    with pytest.raises(ValueError, match=r"takes rows of 7 features, X has 6"):
        images.set_params(input_shape=(7,)).fit(X, several)
    with pytest.raises(TypeError, match="a layer has the methods init and forward"):
        ours.NetworkClassifier([1]).fit(X, y)
    quiet = [layer for layer in layers if not isinstance(layer, nnb.Dropout)]
    assert ours.NetworkClassifier(quiet, solver="lbfgs", max_iter=5).fit(X, y).n_iter_ == 5


@pytest.mark.parametrize("loss", [losses.HalfSquaredError(), losses.HalfPoisson(),
                                  losses.LogLoss(), losses.BinaryLogLoss()],
                         ids=lambda loss: type(loss).__name__)  # fmt: skip
def test_losses_have_the_gradient_that_they_say(loss):
    rng = np.random.default_rng(1)
    z, weight = rng.normal(size=(5, 3)), rng.uniform(0.5, 2.0, 5)
    y = np.eye(3)[[0, 2, 1, 1, 0]]
    step, direction = 1e-6, rng.normal(size=(5, 3))
    for extra in ((), (weight,)):
        _, dz = loss(z, y, *extra)
        up, down = (
            loss(z + step * direction, y, *extra)[0],
            loss(z - step * direction, y, *extra)[0],
        )
        slope = float(np.sum(dz * direction))
        slope /= 3 if isinstance(loss, losses.HalfSquaredError) else 1  # as scikit-learn has it
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-6)


def test_the_exponential_has_its_derivative():
    assert check_gradients(nnb.Dense(3, activation="exponential"), X[:4]) < 1e-7


def test_the_rate_of_sgd():
    rate = rules.Rate(0.5, "invscaling", 0.5)
    rate.epoch_ends(99)
    assert rate(0) == pytest.approx(0.05)
    adaptive = rules.Rate(2e-6, "adaptive")
    assert adaptive.shrink() is None
    assert adaptive.now == pytest.approx(4e-7)
    assert adaptive.shrink() == "Learning rate too small. Stopping."


# With the rest of scikit-learn


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


def test_the_diagram_shows_the_network():
    mlp = ours.MLPClassifier((12, 7), activation="tanh", dropout=0.25)
    before = estimator_html_repr(mlp)
    assert "Dense(12, tanh)" in before
    assert "Dropout(rate=0.25)" in before
    after = estimator_html_repr(make_pipeline(StandardScaler(), mlp.fit(X, TARGETS["multiclass"])))
    assert "Dense(4, softmax)" in after
    assert "84 parameters" in after
    assert repr(mlp).startswith("MLPClassifier(activation='tanh', dropout=0.25")


# Files


def fitted_estimators() -> dict[str, Any]:
    y = TARGETS["multiclass"]
    return {
        "classes": ours.MLPClassifier(max_iter=3).fit(X, np.array(list("wxyz"))[y]),
        "objects": ours.MLPClassifier(max_iter=3, class_weight={"w": 2.0, "x": 1.0, "y": 1.0,
                                                                "z": 1.0}).fit(
            X, np.array(list("wxyz"), dtype=object)[y]),
        "binary": ours.MLPClassifier(max_iter=3, early_stopping=True).fit(X, TARGETS["binary"]),
        "multilabel": ours.MLPClassifier(max_iter=3).fit(X, TARGETS["multilabel"]),
        "float32": ours.MLPClassifier((5, 4), activation=["tanh", nnb.activations.ELU(0.5)],
                                      dropout=[0.1, 0.2], solver=nnb.AdamW(0.01),
                                      max_iter=3).fit(X.astype(np.float32), y),
        "regressor": ours.MLPRegressor(max_iter=3, loss="poisson").fit(X, np.abs(SCORE)),
        "network": ours.NetworkClassifier([nnb.Dense(4, activation="gelu"), nnb.Dropout(0.5)],
                                          max_iter=3).fit(X, y),
        "shaped": ours.NetworkRegressor([nnb.Flatten(), nnb.Dense(4)], input_shape=[3, 2],
                                        max_iter=3, solver="lbfgs").fit(X, SCORE[:, 0]),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["classes", "objects", "binary", "multilabel", "float32",
                                  "regressor", "network", "shaped"])  # fmt: skip
def test_saved_estimators_come_back(name, tmp_path):
    estimator = fitted_estimators()[name]
    x = X.astype(np.float32) if name == "float32" else X
    path = estimator.save(tmp_path / "model.safetensors")
    back = ours.load(path)
    assert type(back) is type(estimator)
    assert repr(back) == repr(estimator)
    np.testing.assert_array_equal(back.predict(x), estimator.predict(x))
    assert back.predict(x).dtype == estimator.predict(x).dtype
    for attribute in ("loss_curve_", "best_loss_", "n_iter_", "t_", "loss_", "n_layers_"):
        assert getattr(back, attribute, None) == getattr(estimator, attribute, None)
    if name == "classes":
        back.partial_fit(x, np.array(list("wxyz"))[TARGETS["multiclass"]])
        network = nnb.load(path)
        np.testing.assert_allclose(network.predict(x), estimator.predict_proba(x))
    joblib.dump(estimator, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict(x), estimator.predict(x))


def test_files_that_are_no_estimator_s_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        ours.MLPClassifier().save(tmp_path / "none")
    net = nnb.Network([nnb.Dense(2)], input_shape=3)
    net.save(tmp_path / "net")
    with pytest.raises(ModelFileError, match=r"holds a network and no estimator; nnbackend\.load"):
        ours.load(tmp_path / "net")
    mlp = ours.MLPClassifier((3,), max_iter=1).fit(X, TARGETS["multiclass"])
    path = mlp.save(tmp_path / "mlp")
    good = nnb.load(path)
    for change in (
        {"class": "os.system"},
        {"parameters": {"hidden_layer_sizes": {"tuple": [4]}}},
        {"parameters": {"hidden_layer_sizes": -3}},
        {"parameters": {"unheard_of": 1}},
        {"learned": {"_home": 3}},
        {"classes": {"kind": "binary", "sparse": False, "dtype": "O8", "values": [1]}},
        {"classes": {"kind": "multiclass", "sparse": False, "dtype": "V8", "values": [1]}},
    ):
        good.metadata["estimator"].update(change)
        good.save(tmp_path / "bad")
        with pytest.raises(ModelFileError):
            ours.load(tmp_path / "bad")
        good = nnb.load(path)
    with pytest.raises(TypeError, match="loss"):
        ours.MLPRegressor(loss=_own_loss, max_iter=1).fit(X, SCORE[:, 0]).save(tmp_path / "own")


def _own_loss(prediction: Any, target: Any, sample_weight: Any = None) -> Any:
    return nnb.losses.mse(prediction, target, sample_weight)


# Other libraries


@pytest.mark.parametrize("kind", TARGETS)
def test_every_backend_learns_the_same(kind, backend64):
    a, b = pair(kind, max_iter=3)
    b.set_params(backend=backend64)
    y = TARGETS[kind]
    a.fit(X, y), clone(b).fit(X, y)
    b.fit(X, y)
    assert_same(a, b)
    assert all(isinstance(c, np.ndarray) for c in b.coefs_)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_every_backend_goes_on(solver, backend64):
    y = TARGETS["multiclass"]
    a, b = pair("multiclass", max_iter=3, solver=solver, warm_start=True, batch_size=40)
    b.set_params(backend=backend64)
    for _ in range(2):
        assert_same(a.fit(X, y), b.fit(X, y), 1e-7)
    if solver == "sgd":
        for _ in range(2):
            assert_same(a.partial_fit(X, y), b.partial_fit(X, y))


def test_predictions_follow_x(variant, backend):
    """With dispatching, what is fitted on a library's arrays predicts in them, on their device."""
    if variant.library not in ("torch", "array-api-strict", "cupy"):
        pytest.skip("scikit-learn does not dispatch to this library")
    x, xp = backend.asarray(X), backend.xp
    y = backend.asarray(TARGETS["multiclass"], dtype=xp.int32)
    classifier = ours.MLPClassifier(max_iter=3, random_state=0)
    regressor = ours.MLPRegressor(max_iter=3, random_state=0)
    with config_context(array_api_dispatch=True):
        classifier.fit(x, y), regressor.fit(x, backend.asarray(SCORE))
        results = [classifier.predict(x), classifier.predict_proba(x),
                   classifier.predict_log_proba(x), regressor.predict(x),
                   *classifier.coefs_, *classifier.intercepts_, classifier.classes_]  # fmt: skip
        for result in results:
            assert type(result) is type(x)
            assert result.device == x.device
        if variant.name not in ("strict-no_float64", "strict-strictest"):
            # There scikit-learn's own accuracy_score needs float64, or shapes that depend on data.
            assert isinstance(classifier.score(x, y), float)
        with pytest.raises(
            ValueError, match=r"MLPClassifier.predict\(\) must use the same namespace"
        ):
            classifier.predict(X)
    host = pickle.loads(pickle.dumps(classifier))
    assert isinstance(host.coefs_[0], np.ndarray)
    assert isinstance(host.classes_, np.ndarray)
    expected = backend.to_numpy(results[1])
    np.testing.assert_allclose(host.predict_proba(X.astype(np.float32)), expected, rtol=1e-5)
    host.partial_fit(X.astype(np.float32), TARGETS["multiclass"])


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


def test_more_classes_than_features_stay_numbers():
    x = RNG.normal(size=(400, 2))
    y = np.arange(400) % 100
    a, b = pair("multiclass")
    a.fit(x, y), b.fit(x, y)
    np.testing.assert_allclose(a.coefs_[-1], b.coefs_[-1])


def test_many_labels_at_a_time():
    x, y = make_multilabel_classification(n_samples=80, random_state=0)
    a, b = pair("multilabel", early_stopping=True)
    a.fit(x, y), b.fit(x, y)
    assert a.validation_scores_ == b.validation_scores_
    np.testing.assert_array_equal(a.predict(x), b.predict(x))


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


def test_mixed_precision_is_what_is_trained_in(monkeypatch):
    """Layers see numbers of 16 bits in training, too; what is kept is float32."""
    seen, forward = set(), nnb.Dense.forward

    def spied(layer, params, x, ctx):
        seen.add((ctx.training, str(x.dtype), str(params["weight"].dtype)))
        return forward(layer, params, x, ctx)

    monkeypatch.setattr(nnb.Dense, "forward", spied)
    given = {"max_iter": 20, "precision": "float16", "random_state": 0, "early_stopping": True}
    mlp = ours.MLPClassifier(**given).fit(X, TARGETS["binary"])
    assert seen == {(training, "float16", "float16") for training in (True, False)}
    assert mlp.coefs_[0].dtype == np.float32
    exact = ours.MLPClassifier(**given | {"precision": "float64"}).fit(X, TARGETS["binary"])
    np.testing.assert_allclose(mlp.loss_curve_, exact.loss_curve_, rtol=0.02)


ON_HOST = {
    "classes": (ours.MLPClassifier(dropout=0.1), "multiclass", {}),
    "labels": (ours.MLPClassifier(early_stopping=True), "multilabel", {}),
    "weights": (ours.MLPClassifier(solver="sgd", shuffle=False, metrics="accuracy"), "binary",
                {"sample_weight": np.linspace(0.1, 2.0, 150)}),
    "class weights": (ours.MLPClassifier(class_weight="balanced"), "multiclass", {}),
    "numbers": (ours.MLPRegressor(metrics="mae",
                                  validation_data=(X[:60], TARGETS["several"][:60])), "several", {}),
    "layers": (ours.NetworkRegressor([nnb.Dense(5, "tanh"), nnb.Flatten()], input_shape=(2, 3),
                                     loss="mse"), "one", {}),
    "in 16 bits": (ours.NetworkClassifier([nnb.Dense(5, "relu")], precision="float16"), "binary", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_HOST)
def test_data_on_the_host_give_the_same(name, monkeypatch):
    estimator, kind, weights = ON_HOST[name]
    given = {"batch_size": 16, "max_iter": 4, "random_state": 2}
    here, there = (clone(estimator).set_params(data_on=p, **given) for p in ("device", "host"))
    monkeypatch.setattr(NumPyBackend, "block_bytes", 40 * 6 * 8)  # several blocks
    lying = noted(monkeypatch)
    for mlp in (here, there):
        mlp.fit(X, TARGETS[kind], **weights)
    count = len(lying) // 2  # beside the training data those to validate with
    assert lying == ["Samples"] * count + ["HostSamples"] * count
    assert here.validation_scores_ == there.validation_scores_
    one, other = (mlp.history_.to_dict() | {"seconds": None} for mlp in (here, there))
    assert one == other
    np.testing.assert_array_equal(here.predict(X), there.predict(X))
    assert not [t for t in threading.enumerate() if t.name == "nnbackend reader"]


def noted(monkeypatch):
    """Return a list in which it is noted where samples lie."""
    seen, made = [], NeuralEstimator._samples

    def samples(*args):
        found = made(*args)
        seen.append(type(found).__name__)
        return found

    monkeypatch.setattr(NeuralEstimator, "_samples", samples)
    return seen


def test_data_go_to_the_host_when_they_do_not_fit(monkeypatch):
    y, given = TARGETS["multiclass"], {"batch_size": 32, "max_iter": 2, "random_state": 1}
    size, lying = 8 * (X.size + len(y)), noted(monkeypatch)
    expected = ours.MLPClassifier(**given).fit(X, y).predict_proba(X)
    monkeypatch.setattr(host_data, "_ALWAYS_FITS_BYTES", 0)
    for free, place in ((2 * size, "Samples"), (2 * size - 1, "HostSamples")):
        memory = Memory(used=0, held=0, free=free, total=1 << 40, peak=0)
        monkeypatch.setattr(NumPyBackend, "memory", lambda self, memory=memory: memory)
        mlp = ours.MLPClassifier(**given).fit(X, y)
        assert lying[-1] == place
        np.testing.assert_array_equal(mlp.predict_proba(X), expected)
    ours.MLPClassifier(**given, data_on="device").fit(X, y)
    assert lying[-1] == "Samples"
    first = ours.MLPClassifier(**given).partial_fit(X, y, classes=np.unique(y))
    first.partial_fit(X, y)
    assert lying[-2:] == ["HostSamples"] * 2
    # A step that takes all rows needs all of them there, and a sparse X is on the host anyway.
    for whole in ({"batch_size": 150}, {"batch_size": "auto"}, {"solver": "lbfgs"}):
        ours.MLPClassifier(**given | whole, data_on="host").fit(X, y)
        assert lying[-1] == "Samples"
    sparse = ours.MLPClassifier(**given, data_on="host").fit(scipy.sparse.csr_matrix(X), y)
    assert lying[-1] == "SparseSamples"
    np.testing.assert_allclose(sparse.predict_proba(X), expected)


def test_where_data_lie_is_kept_and_copied(tmp_path):
    mlp = ours.MLPRegressor(max_iter=1, data_on="host").fit(X, TARGETS["one"])
    assert clone(mlp).data_on == pickle.loads(pickle.dumps(mlp)).data_on == "host"
    assert ours.load(mlp.save(tmp_path / "mlp.safetensors")).data_on == "host"
    kinds = ours.MLPClassifier, ours.MLPRegressor, ours.NetworkClassifier, ours.NetworkRegressor
    assert {kind().data_on for kind in kinds} == {"auto"}
