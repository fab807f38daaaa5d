"""The search for arguments of an estimator."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.linear_model import Ridge

from nnbackend.estimators import TabularClassifier, TabularRegressor, search_arguments

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
SMALL = {"epochs": 2, "random_state": 0}


def suggest_alpha(trial, estimator):
    return {"alpha": trial.suggest_float("alpha", 1e-3, 1e3, log=True)}


def test_it_finds_better_arguments_than_those_given():
    pytest.importorskip("optuna", reason="Optuna is not installed")
    y = X @ [1.0, 2.0, 3.0] + 0.1 * RNG.normal(size=60)
    found = search_arguments(Ridge(alpha=1e6), X, y, trials=12, space=suggest_alpha)
    assert found.arguments["alpha"] < 10.0
    assert found.estimator.alpha == found.arguments["alpha"]
    assert np.sqrt(np.mean((found.estimator.predict(X) - y) ** 2)) < 0.5
    assert found.score == max(trial.value for trial in found.study.trials)


def test_the_arguments_of_the_estimator_stay_where_none_are_better():
    pytest.importorskip("optuna", reason="Optuna is not installed")
    y = X @ [1.0, 2.0, 3.0]
    worse = lambda trial, estimator: {"alpha": trial.suggest_float("alpha", 1e3, 1e4)}  # noqa: E731
    found = search_arguments(Ridge(alpha=1e-6), X, y, trials=3, space=worse)
    assert found.arguments == {}
    assert found.estimator.alpha == 1e-6


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_it_knows_a_space_for_tabular_estimators(kind):
    pytest.importorskip("optuna", reason="Optuna is not installed")
    y = (X[:, 0] > 0).astype(int) if kind is TabularClassifier else X[:, 0] + X[:, 1]
    model = kind(**SMALL)
    found = search_arguments(model, X, y, trials=2, folds=2)
    names = {"learning_rate", "hidden"} | (
        {"label_smoothing"} if kind is TabularClassifier else set()
    )
    assert all(set(trial.params) == names for trial in found.study.trials)
    assert found.estimator.predict(X).shape == (60,)
    assert model.learning_rate is None  # it is not changed


def test_the_same_seed_proposes_the_same():
    pytest.importorskip("optuna", reason="Optuna is not installed")
    y = X @ [1.0, 2.0, 3.0]
    runs = [
        search_arguments(Ridge(), X, y, trials=4, space=suggest_alpha, seed=seed)
        for seed in (1, 1, 2)
    ]
    proposed = [[trial.params["alpha"] for trial in run.study.trials] for run in runs]
    assert proposed[0] == proposed[1] != proposed[2]


def test_no_trial_begins_when_time_is_up():
    pytest.importorskip("optuna", reason="Optuna is not installed")
    found = search_arguments(Ridge(), X, X[:, 0], trials=1000, space=suggest_alpha, max_time=0.0)
    assert found.study.trials == []
    assert found.arguments == {}


def test_other_estimators_need_a_space():
    with pytest.raises(TypeError, match="space=lambda"):
        search_arguments(Ridge(), X, X[:, 0])


@pytest.mark.parametrize(("name", "value"), [("trials", 0), ("folds", 1), ("max_time", -1.0)])
def test_wrong_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        search_arguments(Ridge(), X, X[:, 0], space=suggest_alpha, **{name: value})


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"nnbackend\[search\]"):
        search_arguments(Ridge(), X, X[:, 0], space=suggest_alpha)
