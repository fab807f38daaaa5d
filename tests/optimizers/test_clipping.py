"""Clipped gradients."""

from __future__ import annotations

import numpy as np
import pytest
from optimizers.wrapped import (
    X,
    Y,
    brought,
    network,
    trajectory,
    tree,
    weights,
)
from tools import assert_close, assert_equal, host

from nnbackend.core.tree import flatten, tree_map
from nnbackend.errors import DivergenceError
from nnbackend.optimizers import SGD, Clipped, Grouped


def test_the_norm_of_all_gradients_together_is_clipped(backend64):
    gradient = tree(1)
    total = np.sqrt(sum((g**2).sum() for g in flatten(gradient).values()))
    for limit, factor in [(0.5, 0.5 / total), (2 * total, 1.0)]:
        params = brought(backend64, tree(0))
        optimizer = Clipped(SGD(1.0), norm=limit)
        params, _ = optimizer.update(params, brought(backend64, gradient), optimizer.init(params))
        expected = tree_map(lambda p, g, f=factor: p - f * g, tree(0), gradient)
        assert_close(host(backend64, params), expected, 1e-14)


def test_a_gradient_within_the_norm_is_not_touched(backend):
    plain, clipped = network(backend), network(backend)
    plain.fit(X, Y, optimizer="sgd", epochs=2)
    clipped.fit(X, Y, optimizer=Clipped("sgd", norm=1e6), epochs=2)
    assert_close(weights(clipped), weights(plain), 1e-7)


def test_values_are_clipped_one_by_one(backend64):
    raw, *_ = trajectory(Clipped(SGD(1.0), value=0.3), backend64, steps=1)
    expected = tree_map(lambda p, g: p - np.clip(g, -0.3, 0.3), tree(0), tree(1))
    assert_close(raw[0], expected, 1e-14)


def test_a_gradient_of_zeros_has_a_direction_of_zeros(backend):
    params = brought(backend, tree(0))
    zeros = tree_map(np.zeros_like, tree(0))
    optimizer = Clipped(SGD(1.0), norm=1.0)
    before = host(backend, params)
    params, _ = optimizer.update(params, brought(backend, zeros), optimizer.init(params))
    assert_equal(host(backend, params), before)


def test_clipping_keeps_a_step_that_would_diverge(backend):
    task = {"epochs": 5, "batch_size": 8}
    with pytest.raises(DivergenceError):
        network(backend).fit(X, 1e12 * Y, optimizer=SGD(1e18), **task)
    clipped = network(backend)
    clipped.fit(X, 1e12 * Y, optimizer=Clipped(SGD(0.1), norm=1.0), **task)
    assert all(np.abs(w).max() < 10 for w in weights(clipped).values())


def test_each_of_nested_limits_holds(backend64):
    """Each has a number of its own, also where a group has another optimizer that clips."""
    both = Clipped(Clipped(SGD(1.0), norm=0.2), norm=0.7)
    raw, *_ = trajectory(both, backend64, steps=1)
    smaller, *_ = trajectory(Clipped(SGD(1.0), norm=0.2), backend64, steps=1)
    assert_close(raw[0], smaller[0], 1e-13)
    grouped = Clipped(Grouped(SGD(1.0), {"*.bias": Clipped(SGD(1.0), norm=0.01)}), norm=0.5)
    raw, *_ = trajectory(grouped, backend64, steps=1)
    moved = {name: p - flatten(tree(0))[name] for name, p in flatten(raw[0]).items()}
    of_biases = np.sqrt(sum((m**2).sum() for name, m in moved.items() if "bias" in name))
    assert of_biases == pytest.approx(0.01, rel=1e-10)
    total = np.sqrt(sum((g**2).sum() for g in flatten(tree(1)).values()))
    expected = -0.5 / total * tree(1)["0"]["weight"]
    np.testing.assert_allclose(moved["0.weight"], expected, rtol=1e-12)
