"""Estimators made of any layers."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from cases import BatchScale, RunningMean
from estimators.pairs import TARGETS, X
from sklearn.base import clone
from tools import Lookup, assert_equal

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.core.tree import flatten

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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


STATEFUL = [nnb.Dense(5, activation="tanh"), BatchScale(), RunningMean()]


def state_of(model: Any) -> dict[str, Any]:
    return {name: np.array(a) for name, a in flatten(model.network_.state).items()}


def test_the_state_of_layers_is_trained_kept_and_predicted_with(tmp_path):
    y = TARGETS["multiclass"]
    model = ours.NetworkClassifier(STATEFUL, max_iter=4, batch_size=40, random_state=0).fit(X, y)
    state = state_of(model)
    assert state["2.count"] == 4 * 4  # steps
    assert np.abs(state["2.mean"]).max() > 1e-4
    expected = model.predict_proba(X)
    np.testing.assert_allclose(model.network_.predict(X), expected)
    shifted = model.network_
    shifted.state = {name: {k: a + 1.0 for k, a in s.items()} for name, s in shifted.state.items()}
    assert np.abs(shifted.predict(X) - expected).max() > 1e-3
    path = model.save(tmp_path / "model.safetensors")
    for other in (pickle.loads(pickle.dumps(model)), ours.load(path), clone(model).fit(X, y)):
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        assert_equal(state_of(other), state)
    again = pickle.loads(pickle.dumps(model))
    for _ in range(2):
        for each in (model, again):
            each.partial_fit(X, y)
        again = pickle.loads(pickle.dumps(again))
        assert_equal(state_of(again), state_of(model))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match=r"layers with state \(running means\)"):
        ours.NetworkClassifier(STATEFUL, solver="lbfgs").fit(X, y)


def test_early_stopping_gives_back_the_state_of_the_best_epoch():
    states = []
    model = ours.NetworkRegressor(
        STATEFUL, early_stopping=True, n_iter_no_change=2, learning_rate_init=0.1, max_iter=40,
        random_state=0, callbacks=[lambda run: states.append(run.network.state_dict())],
    ).fit(X, TARGETS["one"])  # fmt: skip
    best = int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_ - 1
    assert state_of(model)["2.count"] == states[best]["2.count"] != states[-1]["2.count"]


def test_layers_that_take_indices_are_refused():
    """Rows of X are numbers, and would be taken for indices unchecked."""
    layers = [Lookup(5, 2), nnb.Flatten()]
    with pytest.raises(ValueError, match=r"first layer \(Lookup\) takes indices"):
        ours.NetworkClassifier(layers, max_iter=1).fit([[0], [1], [2]], [0, 1, 1])
