"""A small network, its data, and runs that are cut, for tests of checkpoints."""

from __future__ import annotations

from cases import rows
from tools import host

import nnbackend as nnb

X, Y = rows((23, 3)), rows((23, 1), 1)
LAYERS = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(1)]


def network(backend="numpy", **given):
    return nnb.Network(LAYERS, backend=backend, input_shape=3, **{"seed": 3, **given})


def weights(net):
    return host(net.backend, net.state_dict())


def exact(variant):
    """Whether a library promises the same bits however its steps are divided among programs."""
    return variant.library in ("numpy", "array-api-strict")


class Odd(Exception):
    """An error of a user's callback."""
