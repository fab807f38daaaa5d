"""What the tests of wrappers share: a tree of parameters, a network, and loops."""

from __future__ import annotations

from cases import rows
from tools import host

import nnbackend as nnb
from nnbackend.core.tree import flatten, tree_map

SHAPES = {
    "0": {"weight": (3, 4), "bias": (4,)},
    "1": {},
    "2": {"0": {"weight": (4, 1), "bias": (1,)}},
}
X, Y = rows((23, 3)), rows((23, 2), 1)


def tree(seed: int) -> dict:
    return tree_map(lambda shape: rows(shape, seed), SHAPES)


def brought(backend, values):
    """Return arrays that the optimizer may consume."""
    with backend.scope():
        return tree_map(lambda v: backend.xp.asarray(backend.asarray(v), copy=True), values)


def trajectory(optimizer, backend, steps=6):
    """Return the parameters after each step, the averages and the last state."""
    params, raw, averages = brought(backend, tree(0)), [], []
    state = optimizer.init(params)
    for step in range(steps):
        params, state = optimizer.update(params, brought(backend, tree(step + 1)), state)
        raw.append(host(backend, params))
        averages.append(host(backend, optimizer.averaged(params, state)))
    return raw, averages, state


def network(backend, **given):
    layers = [nnb.Dense(5, activation="tanh"), nnb.Activation("identity"), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, input_shape=3, **given)


def weights(net):
    return host(net.backend, net.state_dict())


def raw_weights(net):
    return flatten(host(net.backend, net.raw_params))


def descend(net, optimizer, epochs=2, size=8):
    """Train by a user's loop; return the parameters and their averages."""
    backend, params = net.backend, brought(net.backend, host(net.backend, net.params))
    with backend.scope():
        state = optimizer.init(params)
        for _ in range(epochs):
            for start in range(0, 23, size):
                net.params = params
                prediction, backward = net.forward(X[start : start + size], training=True)
                _, dy = nnb.losses.mse(prediction, backend.asarray(Y[start : start + size]))
                params, state = optimizer.update(params, backward(dy)[1], state)
        averages = optimizer.averaged(params, state)
    return flatten(host(backend, params)), flatten(host(backend, averages))
