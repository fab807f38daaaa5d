"""What an estimator predicts by the short ways is what it predicts by the long one."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

TIMES = 5  # the first calls are made without a recording, and make it


def fitted(cls: str, **arguments: Any) -> tuple[Any, np.ndarray]:
    from nnbackend import estimators

    x = rows((60, 5))
    y = np.asarray(["a", "b", "c"])[np.arange(60) % 3] if "Classifier" in cls else x[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged yet
        model = getattr(estimators, cls)(max_iter=2, random_state=0, **arguments).fit(x, y)
    return model, x


ESTIMATORS = {
    "MLPClassifier": {"hidden_layer_sizes": (8,)},
    "MLPRegressor": {"hidden_layer_sizes": (8, 4)},
    "NetworkClassifier": {"layers": [nnb.Dense(6, activation="tanh")]},
    "NetworkRegressor": {"layers": [nnb.Dense(6, activation="tanh")]},
}


def arrays_of(model: Any) -> list[np.ndarray]:
    return model._kept_arrays()


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_an_estimator_predicts_a_row_as_it_does_many(cls):
    model, x = fitted(cls, **ESTIMATORS[cls])
    methods = ["predict"] + ["predict_proba"] * ("Classifier" in cls)
    for method in methods:
        expected = getattr(pickle.loads(pickle.dumps(model)), method)(x)
        for _ in range(TIMES):
            one = np.concatenate([getattr(model, method)(row[None]) for row in x])
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(one, expected, rtol=1e-12)
            else:
                np.testing.assert_array_equal(one, expected)
    predictor, held = model._prediction()[1:]
    assert predictor.repeat(*held, x[:1]) is not None


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_an_estimator_reads_its_parameters_in_each_call(cls):
    model, x = fitted(cls, **ESTIMATORS[cls])
    method = "predict_proba" if "Classifier" in cls else "predict"

    def assert_right() -> None:
        expected = getattr(pickle.loads(pickle.dumps(model)), method)(x[:1])
        for _ in range(TIMES):
            np.testing.assert_array_equal(getattr(model, method)(x[:1]), expected)

    assert_right()
    for array in arrays_of(model):
        array *= 1.5
        assert_right()
    if cls.startswith("MLP"):
        model.coefs_[0] = model.coefs_[0] + 0.1
        assert_right()
        model.intercepts_ = [b + 0.1 for b in model.intercepts_]
    else:
        model.params_["0"]["weight"] = model.params_["0"]["weight"] + 0.1
        assert_right()
        model.params_ = {name: {k: p + 0.1 for k, p in layer.items()}
                         for name, layer in model.params_.items()}  # fmt: skip
    assert_right()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(-x, model.predict(x))
    assert_right()


@pytest.mark.parametrize("count", [1, 3000])
def test_an_estimator_refuses_as_ever(count):
    model, x = fitted("MLPClassifier")
    many = np.concatenate([x[:1]] * count)
    for _ in range(TIMES):
        model.predict(many)
    for value in (np.nan, np.inf, -np.inf):
        wrong = many.copy()
        wrong[-1, 3] = value
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="X has 4 features"):
        model.predict(many[:, :4])
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.predict(many[0])
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(many[:0])
    model.predict(many)
    with sklearn.config_context(assume_finite=True):
        wrong[-1, 3] = np.nan
        assert model.predict(wrong).shape == (count,)


def test_an_estimator_remembers_the_names_of_features():
    pandas = pytest.importorskip("pandas")
    from nnbackend.estimators import MLPRegressor

    x = pandas.DataFrame(rows((30, 2)), columns=["a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPRegressor(max_iter=2).fit(x, rows((30,)))
    for _ in range(TIMES):
        model.predict(x[:1])
        with pytest.warns(UserWarning, match="feature names"):
            model.predict(x[:1].to_numpy())


@pytest.mark.parametrize("kind", ["f4", "i8", "f2"])
@pytest.mark.parametrize("count", [1, 1500])
def test_an_estimator_takes_other_dtypes(kind, count):
    model, _ = fitted("MLPRegressor")
    x = (3 * rows((count, 5))).astype(kind)
    expected = pickle.loads(pickle.dumps(model)).predict(x)
    wide = pickle.loads(pickle.dumps(model)).predict(x.astype("f8"))
    for _ in range(TIMES):
        np.testing.assert_array_equal(model.predict(x), expected)
    np.testing.assert_allclose(wide, expected, rtol=1e-12)
