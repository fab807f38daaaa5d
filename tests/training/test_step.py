"""The training step: what users' layers, losses and rules may return, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.optimizers import Optimizer


@dataclass(frozen=True)
class Gain:
    """A layer ``y = x * gain`` whose backward pass returns a gradient of a given shape, or none."""

    shape: Any = None

    def init(self, input_shape, rng):
        return {"gain": np.ones(input_shape)}, input_shape

    def forward(self, params, x, ctx):
        def backward(dy, input_grad=True):
            if self.shape is None:
                return dy, {}
            like = ctx.xp.ones(self.shape, dtype=ctx.backend.dtype, device=ctx.backend.device)
            return dy * params["gain"], {"gain": like}

        return x * params["gain"], backward


@pytest.mark.parametrize("shape", [None, (), (1,), (3,), (2, 4)])
def test_a_gradient_of_another_shape_is_refused(backend, shape):
    net = nnb.Network([Gain(shape)], backend=backend, input_shape=4)
    with pytest.raises(ValueError, match=r"layer 0: its backward pass .* shape \(4,\) .* 'gain'"):
        net.fit(rows((8, 4)), rows((8, 4), 1), batch_size=4, verbose=0)


def test_a_loss_may_return_a_float():
    def loss(prediction, target, sample_weight=None):
        d = prediction - target
        return float(np.mean(d * d)), 2.0 * d / d.size

    histories = []
    for each in (loss, "mse"):
        net = nnb.Network([nnb.Dense(1)], input_shape=3, dtype="float64")
        histories.append(net.fit(rows((40, 3)), rows((40, 1), 1), loss=each, epochs=60,
                                 batch_size=20, verbose=0)["loss"])  # fmt: skip
    np.testing.assert_allclose(*histories, rtol=1e-12)


@dataclass(frozen=True)
class Previous(Optimizer):
    """The heavy ball, which keeps the parameters of the step before."""

    slots: ClassVar[int] = 1

    def rule(self, p, g, slots, h, xp):
        (before,) = slots
        return p - h.learning_rate * g + 0.5 * (p - before), (p,)


def test_a_rule_may_keep_the_old_parameters(backend64):
    """What it returns may be what another of its results is written to."""
    x, y, start = rows((6, 3)), rows((6, 2), 1), None
    net = nnb.Network([nnb.Dense(2)], backend=backend64, input_shape=3)
    p = {name: np.asarray(host(backend64, a)) for name, a in net.state_dict().items()}
    before = {name: np.zeros_like(a) for name, a in p.items()}
    net.fit(x, y, optimizer=Previous(0.05), epochs=5, batch_size=None, verbose=0)
    for _ in range(5):
        d = 2.0 * (x @ p["0.weight"] + p["0.bias"] - y) / y.size
        g = {"0.weight": x.T @ d, "0.bias": d.sum(0)}
        start = {name: p[name] - 0.05 * g[name] + 0.5 * (p[name] - before[name]) for name in p}
        before, p = p, start
    for name, array in net.state_dict().items():
        assert_close(host(backend64, array), p[name], 1e-10)


def test_a_replaced_parameter_is_trained_further_by_partial_fit(backend):
    x, y = rows((6, 3)), rows((6, 2), 1)
    net = nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3)
    for _ in range(3):
        net.partial_fit(x, y, optimizer="sgd")
    backend = net.backend
    net.params["0"]["weight"] = backend.asarray(np.full((3, 2), 5.0))
    net.partial_fit(x, y, optimizer="sgd")
    assert np.all(np.asarray(host(backend, net.params["0"]["weight"])) > 4.0)
