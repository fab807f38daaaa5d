"""Multilayer perceptrons beside scikit-learn's own, and what they have beyond them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
import sklearn.neural_network as theirs
from estimators.pairs import TARGETS, VERSION, X, assert_same, pair
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.testing import check_gradients

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    weight = np.random.default_rng(0).uniform(0.1, 3.0, 150)
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


def test_dropout_drops_in_training_only_and_by_the_random_state():
    y = TARGETS["multiclass"]
    make = lambda **k: ours.MLPClassifier((30, 20), max_iter=5, random_state=1, **k).fit(X, y)  # noqa: E731
    plain, some, again, one = make(), make(dropout=0.5), make(dropout=0.5), make(dropout=[0.0, 0.5])
    assert np.abs(plain.coefs_[0] - some.coefs_[0]).max() > 1e-6
    np.testing.assert_array_equal(some.coefs_[0], again.coefs_[0])
    assert np.abs(one.coefs_[0] - some.coefs_[0]).max() > 1e-6
    np.testing.assert_array_equal(some.predict_proba(X), some.predict_proba(X))
    assert len(some.coefs_) == 3


def test_the_exponential_has_its_derivative():
    assert check_gradients(nnb.Dense(3, activation="exponential"), X[:4]) < 1e-7
