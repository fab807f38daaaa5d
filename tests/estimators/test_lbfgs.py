"""L-BFGS as scikit-learn calls it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimators.pairs import TARGETS, X

import nnbackend as nnb
from nnbackend import estimators as ours
from nnbackend.backends.choose import get_backend
from nnbackend.core import random
from nnbackend.data.samples import Samples
from nnbackend.regularizers import PerRowL2
from nnbackend.training.full_batch import FullBatchFunction
from nnbackend.training.objective import Objective


@pytest.mark.parametrize("weight", [None, np.linspace(0.1, 2.0, 150)], ids=["alike", "weighted"])
def test_the_function_has_its_gradient_in_the_order_of_the_names(weight):
    backend = get_backend("numpy", dtype="float64")
    layers = nnb.Sequential([nnb.Dense(4, activation="tanh"), nnb.Dense(1)])
    network = nnb.Network(layers, backend=backend, input_shape=6, seed=1)
    names = ["0.weight", "1.weight", "0.bias", "1.bias"]
    penalty = PerRowL2(30.0, (("0", "weight"), ("1", "weight")))
    objective = Objective(
        layers, nnb.losses.mse, nnb.activations.Identity(), {}, row_penalty=penalty
    )
    samples = Samples(X, TARGETS["one"][:, None], weight)
    function = FullBatchFunction(objective, backend, network.params, 0, samples, names)
    start = function.vector(network.params)
    np.testing.assert_array_equal(start[:24], network.params["0"]["weight"].ravel())
    np.testing.assert_array_equal(start[24:28], network.params["1"]["weight"].ravel())
    np.testing.assert_array_equal(function.arrays(start)["1"]["bias"], network.params["1"]["bias"])
    way = np.random.default_rng(0).normal(size=start.shape)
    found, step = function(start), 1e-6
    slope = (function(start + step * way).loss - function(start - step * way).loss) / (2 * step)
    np.testing.assert_allclose(found.gradient @ way, slope, rtol=1e-6)
    rows = 150 if weight is None else weight.sum()
    plain = network.evaluate(X, TARGETS["one"], loss="mse", sample_weight=weight)["loss"]
    expected = plain + 15.0 * (start[:28] @ start[:28]) / rows
    np.testing.assert_allclose(found.loss, expected)


@dataclass(frozen=True)
class NoisyDense(nnb.Dense):
    """A layer of a class whose parent draws no random numbers."""

    def forward(self, params, x, ctx):
        noise = random.normal(ctx.key, ctx.step, x, ctx.backend, ctx.first_row)
        return super().forward(params, x + noise if ctx.training else x, ctx)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_layers_that_draw_random_numbers_are_refused():
    layers = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.5)]
    with pytest.raises(ValueError, match="network without dropout or other noise"):
        ours.NetworkRegressor(layers, solver="lbfgs").fit(X, TARGETS["one"])
    with pytest.raises(ValueError, match="network without dropout or other noise"):
        ours.NetworkRegressor([NoisyDense(5)], solver="lbfgs").fit(X, TARGETS["one"])
    quiet = ours.NetworkRegressor([nnb.Residual([nnb.Dense(6)])], solver="lbfgs", max_iter=3)
    assert quiet.fit(X, TARGETS["one"]).n_iter_ == 3
