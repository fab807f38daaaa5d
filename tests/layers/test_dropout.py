"""Dropout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_equal, host, parameters, training

import nnbackend as nnb
from nnbackend import Context


def dropped(backend, rate, step=0, shape=(200, 100), key=(1, 2)):
    ctx = Context(backend, True, key, step)
    y, backward = nnb.Dropout(rate).forward(
        {}, backend.xp.ones(shape, dtype=backend.dtype, device=backend.device), ctx
    )
    return host(backend, y), backward


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_fraction_and_keeps_the_mean(rate, backend):
    y, _ = dropped(backend, rate)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_masks_change_with_step_and_key_only(backend):
    y, _ = dropped(backend, 0.5)
    assert_equal(dropped(backend, 0.5)[0], y)
    for other in (dropped(backend, 0.5, step=1)[0], dropped(backend, 0.5, key=(1, 3))[0]):
        assert abs((other == y).mean() - 0.5) < 0.02


def test_dropouts_rows_are_the_same_in_a_longer_batch(backend):
    assert_equal(dropped(backend, 0.3, shape=(50, 7))[0][:20],
                 dropped(backend, 0.3, shape=(20, 7))[0])  # fmt: skip


def test_dropout_does_nothing_outside_training(backend):
    x = backend.asarray(rows((3, 4)))
    y, backward = nnb.Dropout(0.5).forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))


def test_each_dropout_of_a_network_has_a_mask_of_its_own(backend):
    layers = nnb.Sequential([nnb.Dropout(0.5), nnb.Dropout(0.5)])
    ones = backend.xp.ones((50, 40), dtype=backend.dtype, device=backend.device)
    y, _ = layers.forward(parameters(layers, (40,), backend), ones, training(backend))
    assert abs((host(backend, y) == 0).mean() - 0.75) < 0.04  # equal masks would give 0.5
