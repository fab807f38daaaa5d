"""scikit-learn's own checks of estimators, all of them."""

from __future__ import annotations

import warnings

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.utils.estimator_checks import parametrize_with_checks

import nnbackend as nnb
from nnbackend.estimators import (
    MLPClassifier,
    MLPRegressor,
    NetworkClassifier,
    NetworkRegressor,
    TabularClassifier,
    TabularRegressor,
)

_SHORT = {"max_iter": 100}  # what scikit-learn takes for its own class in these checks
_LAYERS = [nnb.Dense(20, activation="gelu"), nnb.Dense(10, activation="tanh")]

# In float64, for in float32 a row's prediction changes in the last digits with the rows beside it.
_TABULAR = {"hidden": (32,), "epochs": 20, "precision": "float64"}
_SPLIT = {
    "check_sample_weight_equivalence_on_dense_data": "a weight of 2 is not exactly two rows: which rows "
    "are held out and make up a batch depends on how many there are; a weight of 0 is exactly none"
}

_TABLES = (TabularClassifier, TabularRegressor)
_CHECKS = parametrize_with_checks([
    MLPClassifier(**_SHORT),
    MLPRegressor(**_SHORT),
    NetworkClassifier(_LAYERS, **_SHORT),
    NetworkRegressor(_LAYERS, **_SHORT),
    TabularClassifier(**_TABULAR),
    TabularRegressor(**_TABULAR),
], expected_failed_checks=lambda e: _SPLIT if isinstance(e, _TABLES) else {})  # fmt: skip


# scikit-learn 1.6 gives a generator, which pytest 9 warns of.
@pytest.mark.parametrize(_CHECKS.args[0], list(_CHECKS.args[1]), **_CHECKS.kwargs)
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training ends before it has converged
        check(estimator)
