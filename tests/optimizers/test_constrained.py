"""Constraints after each update."""

from __future__ import annotations

import numpy as np
from optimizers.wrapped import (
    X,
    Y,
    descend,
    raw_weights,
    weights,
)
from tools import assert_close

import nnbackend as nnb
from nnbackend.optimizers import EMA, SGD, Clipped, Constrained, Grouped


def test_constraints_hold_in_a_loop_of_ones_own(backend64):
    def net():
        layers = [nnb.Dense(5, "tanh", constraint="unit_norm"), nnb.Activation("identity"),
                  nnb.Dense(2, constraint="non_negative")]  # fmt: skip
        return nnb.Network(layers, backend=backend64, input_shape=3)

    fitted, looped = net(), net()
    optimizer = EMA(SGD(0.1), decay=0.5)
    fitted.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=8, shuffle=False)
    inside = EMA(Constrained(SGD(0.1), looped.layers), decay=0.5)
    raw, averages = descend(looped, inside)
    assert_close(raw_weights(fitted), raw, 1e-12)
    assert_close(weights(fitted), averages, 1e-12)
    np.testing.assert_allclose(np.linalg.norm(raw["0.weight"], axis=0), 1.0, rtol=1e-12)
    assert (raw["2.weight"] >= 0).all()
    assert (averages["2.weight"] >= 0).all()


def test_a_group_that_is_clipped_keeps_its_joint_norm_beside_a_constraint():
    """A constraint parts a group; the norm of its gradients stays that of all of them."""
    updates = []
    for constraint in (None, nnb.constraints.MaxNorm(1e9)):
        layers = [nnb.Dense(8, "tanh"), nnb.Dense(2, constraint=constraint)]
        net = nnb.Network(layers, input_shape=3, dtype="float64")
        optimizer = Grouped(SGD(0.1), {"1.*": Clipped(SGD(1.0), norm=0.01)})
        before = net.state_dict()
        net.fit(X, Y, optimizer=optimizer, batch_size=None, epochs=1, verbose=0)
        moved = [np.ravel(net.state_dict()[n] - before[n]) for n in ("1.weight", "1.bias")]
        updates.append(np.concatenate(moved))
    assert np.linalg.norm(updates[1]) <= 0.0100001
    np.testing.assert_allclose(*updates, rtol=1e-12, atol=1e-15)
