"""Estimators made of any layers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimators.pairs import TARGETS, X

import nnbackend as nnb
from nnbackend import estimators as ours

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
