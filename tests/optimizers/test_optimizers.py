"""Optimizers: their formulas, their state, and what they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from cases import OPTIMIZERS, each, rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.core.tree import flatten, tree_map
from nnbackend.optimizers import SGD, Adam, AdamW, RMSprop

SHAPES = {"0": {"weight": (3, 4), "bias": (4,)}, "1": {}, "2": {"0": {"weight": (4, 1)}}}


def tree(seed: int) -> dict:
    return tree_map(lambda shape: rows(shape, seed), SHAPES)


def brought(backend, values):
    """Return arrays that the optimizer may consume."""
    with backend.scope():
        return tree_map(lambda v: backend.xp.asarray(backend.asarray(v), copy=True), values)


def trajectory(optimizer, backend, steps=5):
    params = brought(backend, tree(0))
    state = optimizer.init(params)
    for step in range(steps):
        params, state = optimizer.update(params, brought(backend, tree(step + 1)), state)
    return params, state


@each(OPTIMIZERS)
def test_an_update_keeps_names_shapes_dtypes_and_devices(case, backend):
    params, state = trajectory(case.thing, backend)
    assert state["step"] == 5
    assert flatten(params).keys() == flatten(SHAPES).keys()
    for tree_of_arrays in (params, *state["slots"].values()):
        assert tree_map(lambda p: tuple(p.shape), tree_of_arrays) == SHAPES
        for array in flatten(tree_of_arrays).values():
            assert array.dtype == backend.dtype
            assert str(array.device) == str(backend.device)


@each(OPTIMIZERS)
def test_the_gradients_are_left_alone(case, backend):
    params, grads = brought(backend, tree(0)), brought(backend, tree(1))
    before = host(backend, grads)
    case.thing.update(params, grads, case.thing.init(params))
    assert_equal(host(backend, grads), before)


@each(OPTIMIZERS)
def test_a_step_goes_downhill(case, backend):
    start = tree(0)
    params = brought(backend, start)
    params, _ = case.thing.update(params, brought(backend, start), case.thing.init(params))
    for name, value in flatten(host(backend, params)).items():
        assert np.linalg.norm(value) < np.linalg.norm(flatten(start)[name])  # of p**2 / 2


@each(OPTIMIZERS)
def test_a_quadratic_is_minimized(case):
    backend = nnb.get_backend("numpy")  # the others take the same steps: test_parity.py
    params = brought(backend, tree(0))
    optimizer = case.thing
    state = optimizer.init(params)
    for _ in range(300):
        gradient = tree_map(lambda p: backend.xp.asarray(p, copy=True), params)
        params, state = optimizer.update(params, gradient, state)
    assert max(np.abs(v).max() for v in flatten(host(backend, params)).values()) < 0.05


@pytest.mark.parametrize(
    "rate", [np.float64(0.1), np.float32(0.1), 1, lambda step: np.float64(0.1)]
)
def test_a_learning_rate_of_any_kind_keeps_float32(rate, backend):
    params, _ = trajectory(SGD(rate, momentum=0.5), backend, steps=2)
    assert all(p.dtype == backend.xp.float32 for p in flatten(params).values())


def test_a_schedule_is_asked_for_each_step_from_zero(backend64):
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (step + 1)

    scheduled, _ = trajectory(SGD(schedule), backend64, steps=3)
    expected = tree(0)
    for step, rate in enumerate([0.1, 0.05, 0.1 / 3]):
        expected = tree_map(lambda p, g, rate=rate: p - rate * g, expected, tree(step + 1))
    assert asked == [0, 1, 2]
    assert_close(host(backend64, scheduled), expected, 1e-13)


def test_momentum_and_nesterov_by_hand(backend64):
    p, g = np.array([1.0]), [np.array([0.5]), np.array([-0.25])]
    for nesterov, expected in [
        (False, [1 - 0.1 * 0.5, 0.95 - 0.1 * (0.9 * 0.5 - 0.25)]),
        (True, [1 - 0.1 * (0.5 + 0.9 * 0.5), 0.905 - 0.1 * (-0.25 + 0.9 * (0.45 - 0.25))]),
    ]:
        optimizer = SGD(0.1, momentum=0.9, nesterov=nesterov)
        params = brought(backend64, {"p": p})
        state = optimizer.init(params)
        for gradient, value in zip(g, expected, strict=True):
            params, state = optimizer.update(params, brought(backend64, {"p": gradient}), state)
            assert host(backend64, params["p"]) == pytest.approx(value, rel=1e-14)


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient(backend64):
    for size in (1e-4, 1.0, 1e6):
        params = brought(backend64, {"p": np.zeros(3)})
        optimizer = Adam(0.25, epsilon=0.0)
        params, _ = optimizer.update(
            params, brought(backend64, {"p": np.full(3, size)}), optimizer.init(params)
        )
        np.testing.assert_allclose(host(backend64, params["p"]), -0.25, rtol=1e-14)


def test_adamw_decays_apart_from_the_gradient(backend64):
    params = brought(backend64, {"p": np.full(2, 3.0)})
    optimizer = AdamW(0.1, weight_decay=0.5)
    params, _ = optimizer.update(
        params, brought(backend64, {"p": np.zeros(2)}), optimizer.init(params)
    )
    np.testing.assert_allclose(host(backend64, params["p"]), 3.0 * (1 - 0.1 * 0.5))


def test_defaults_are_pytorchs():
    assert Adam() == Adam(1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0)
    assert AdamW() == AdamW(1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=1e-2)
    assert RMSprop() == RMSprop(1e-2, smoothing=0.99, epsilon=1e-8, momentum=0.0)
    assert SGD() == SGD(1e-3, momentum=0.0, nesterov=False, weight_decay=0.0)


def test_a_name_takes_hyperparameters():
    assert nnb.optimizers.get("sgd", learning_rate=0.5) == SGD(0.5)
    with pytest.raises(nnb.errors.UnknownNameError, match="learning_rate"):
        nnb.optimizers.get("sgd", learning_rat=0.5)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SGD(-0.1), "learning_rate"),
        (lambda: SGD(float("nan")), "learning_rate"),
        (lambda: SGD(float("inf")), "learning_rate"),
        (lambda: SGD("fast"), "learning_rate"),
        (lambda: SGD(True), "learning_rate"),
        (lambda: SGD(0.1, momentum=1.0), "momentum"),
        (lambda: SGD(0.1, momentum=-0.1), "momentum"),
        (lambda: SGD(0.1, nesterov=True), "nesterov"),
        (lambda: SGD(0.1, weight_decay=-1), "weight_decay"),
        (lambda: RMSprop(smoothing=1.0), "smoothing"),
        (lambda: RMSprop(epsilon=-1), "epsilon"),
        (lambda: Adam(beta1=1.0), "beta1"),
        (lambda: Adam(beta2=1.5), "beta2"),
        (lambda: Adam(epsilon=None), "epsilon"),
        (lambda: AdamW(weight_decay=-1), "weight_decay"),
    ],
)
def test_a_hyperparameter_out_of_range_is_named(make, word):
    with pytest.raises(ValueError, match=word):
        make()
