"""Frozen layers before the first that learns: no backward pass, and the same updates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend.optimizers import SGD, Frozen
from nnbackend.training.freezing import FrozenPrefix, without_frozen_prefix

X, Y = rows((16, 4)), rows((16, 2), seed=1)


@dataclass(frozen=True)
class Counted:
    """A dense layer that counts its backward passes."""

    calls: list = field(default_factory=list, compare=False)
    inner = nnb.Dense(4, "tanh")

    def init(self, input_shape, rng):
        return self.inner.init(input_shape, rng)

    def forward(self, params, x, ctx):
        y, inner_backward = self.inner.forward(params, x, ctx)

        def backward(dy, input_grad=True):
            self.calls.append(input_grad)
            return inner_backward(dy, input_grad=input_grad)

        return y, backward


def nested(first, second):
    return [nnb.Sequential([nnb.Dropout(0.2), nnb.Sequential([first, second])]), nnb.Dense(2)]


@pytest.mark.parametrize(
    ("patterns", "prefix", "called"),
    [
        (["0.1.0.*"], 0, (False, True)),
        (["0.*"], 1, (False, False)),
        (["0.1.1.*"], 0, (True, True)),
        (["0.1.0.weight"], 0, (True, True)),
    ],
)
def test_frozen_layers_inside_others_have_no_backward_pass(patterns, prefix, called, backend):
    first, second = Counted(), Counted()
    net = nnb.Network(nested(first, second), backend=backend, input_shape=4)
    layers = without_frozen_prefix(net.layers, Frozen(SGD(0.1), tuple(patterns)), net.params)
    assert isinstance(layers, FrozenPrefix)
    assert layers.first == prefix
    before = {name: np.array(net.backend.to_numpy(p)) for name, p in net.state_dict().items()}
    net.freeze(*patterns)
    net.fit(X, Y, loss="mse", optimizer="sgd", epochs=1, batch_size=16, verbose=0)
    assert (bool(first.calls), bool(second.calls)) == called
    if called == (False, True):
        assert not any(second.calls)  # without the gradient of its input
    for name, value in net.state_dict().items():
        same = np.array_equal(net.backend.to_numpy(value), before[name])
        assert same == (name in net.frozen), name


def test_a_frozen_prefix_changes_no_update():
    whole = nnb.Network(nested(nnb.Dense(4, "tanh"), nnb.Dense(4, "tanh")), input_shape=4)
    short = nnb.Network(nested(nnb.Dense(4, "tanh"), nnb.Dense(4, "tanh")), input_shape=4)
    options = {"loss": "mse", "epochs": 3, "batch_size": 8, "verbose": 0}
    short.freeze("0.1.0.*")
    short.fit(X, Y, optimizer="adam", **options)
    rates = nnb.optimizers.Grouped("adam", {"0.1.0.*": {"learning_rate_factor": 0.0}})
    whole.fit(X, Y, optimizer=rates, **options)
    for name, value in whole.state_dict().items():
        np.testing.assert_allclose(short.state_dict()[name], value, rtol=1e-6, err_msg=name)


class Doubled(nnb.Sequential):
    """A Sequential that does something else than its layers."""

    def forward(self, params, x, ctx):
        y, inner_backward = super().forward(params, x, ctx)
        return 2.0 * y, lambda dy, input_grad=True: inner_backward(2.0 * dy, input_grad=input_grad)


def test_a_sequential_with_another_forward_pass_keeps_it():
    net = nnb.Network(Doubled([nnb.Dense(3), nnb.Dense(2)]), input_shape=4)
    assert without_frozen_prefix(net.layers, Frozen(SGD(0.1), ("0.*",)), net.params) is net.layers
