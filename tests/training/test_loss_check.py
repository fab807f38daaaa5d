"""Losses of users that do not add up over parts of a batch are told from those that do."""

from __future__ import annotations

import numpy as np
import pytest

from nnbackend.core.types import Batch
from nnbackend.training.loss_check import adds_up

ROWS = 7


def given(backend, found):
    return tuple(backend.asarray(array, dtype=backend.dtype) for array in found)


def weighted(z, y, w=None):
    """The weighted mean of squared errors."""
    w = np.ones(len(z), z.dtype) if w is None else w
    w = w[:, None] / w.sum()
    return (w * (z - y) ** 2).sum(), 2 * w * (z - y)


def without_weights(z, y, w=None):
    return weighted(z, y)


def total(z, y, w=None):
    value, dy = weighted(z, y, w)
    return value * len(z), dy * len(z)


def by_number(z, y, w=None):
    """Weighted losses divided by the number of rows."""
    w = np.ones(len(z), z.dtype) if w is None else w
    w = w[:, None] / len(z)
    return (w * (z - y) ** 2).sum(), 2 * w * (z - y)


def centered(z, y, w=None):
    """Of deviations from the mean of the batch."""
    return weighted(z - z.mean(axis=0), y - y.mean(axis=0), w)


class Random:
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, z, y, w=None):
        return total(z + self.rng.normal(size=z.shape), y, w)


class Counting:
    calls = 0

    def __call__(self, z, y, w=None):
        self.calls += 1
        value, dy = total(z, y, w)
        return value * self.calls, dy * self.calls


def largest_three(z, y, w=None):
    if len(z) < 5:
        raise IndexError("too few")
    return total(z, y, w)


def nowhere(z, y, w=None):
    return z.sum() * np.nan, z * np.nan


@pytest.mark.parametrize("rows", [1, 2, ROWS])
@pytest.mark.parametrize(
    ("loss", "plain", "with_weights"),
    [
        (weighted, True, True),
        (without_weights, True, False),
        (total, False, False),
        (by_number, True, False),
        (Random(), True, True),
        (Counting(), True, True),
        (largest_three, True, True),
        (nowhere, True, True),
    ],
)
def test_losses_that_add_up(backend, loss, plain, with_weights, rows):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(2, rows, 2)).astype("f4")

    def own(*arrays):
        return given(backend, loss(*map(backend.to_numpy, arrays)))

    def check(weight):
        own_y = backend.asarray(y)
        batch = Batch(own_y, own_y, None if weight is None else backend.asarray(weight))
        return adds_up(own, backend.asarray(z), batch, backend)

    assert check(None) is plain
    for weight in (np.ones(rows, "f4"), rng.uniform(size=rows).astype("f4"), np.zeros(rows, "f4")):
        assert check(weight) is with_weights


def test_what_looks_at_the_whole_batch_does_not_add_up(backend):
    z, y = np.random.default_rng(1).normal(size=(2, ROWS, 2)).astype("f4")
    y = backend.asarray(y)

    def own(*arrays):
        return given(backend, centered(*map(backend.to_numpy, arrays)))

    assert not adds_up(own, backend.asarray(z), Batch(y, y, None), backend)


def test_equal_losses_of_all_rows_hide_nothing(backend):
    """Where the loss is the same number whatever the weights, gradients are looked at."""
    z, y = backend.asarray(np.ones((4, 1), "f4")), backend.asarray(np.zeros((4, 1), "f4"))
    weight = backend.asarray(np.ones(4, "f4"))

    def own(*arrays):
        return given(backend, without_weights(*map(backend.to_numpy, arrays)))

    assert not adds_up(own, z, Batch(z, y, weight), backend)
