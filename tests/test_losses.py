"""Losses: value and gradient, weights, stability."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import LOSSES, Case, each, rows
from hypothesis import given
from tools import assert_close, assert_equal, host, slope

from nnbackend import losses

CROSS_ENTROPIES = [case for case in LOSSES if "cross_entropy" in case.id]


def target_for(case: Case, batch: int) -> np.ndarray:
    return case.target(np.random.default_rng(7), (batch, *case.shape))


def brought(backend, target: np.ndarray):
    """Return a target on a backend; class numbers stay integers."""
    return backend.asarray(target, backend.xp.int32 if target.dtype == np.int32 else None)


def evaluated(case, backend, x, target, weight=None):
    """Return the loss and its gradient on the host."""
    extra = () if weight is None else (backend.asarray(weight),)
    value, dy = case.thing(backend.asarray(x), brought(backend, target), *extra)
    return host(backend, value), host(backend, dy)


@each(LOSSES)
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_agrees_with_central_differences(case, batch, weighted, backend64):
    shape = (batch, *case.shape)
    x, v, target = rows(shape), rows(shape, 2), target_for(case, batch)
    weight = np.linspace(0.5, 2.0, batch) if weighted else None
    _, dy = evaluated(case, backend64, x, target, weight)
    numeric = slope(lambda x: float(evaluated(case, backend64, x, target, weight)[0]), x, v)
    assert dy.shape == shape
    assert (dy * v).sum() == pytest.approx(numeric, rel=1e-7)


@each(LOSSES)
def test_float32_stays_float32_and_nothing_is_changed(case, backend):
    x = backend.asarray(rows((5, *case.shape)))
    target, weight = brought(backend, target_for(case, 5)), backend.asarray([1, 2, 0, 4, 1])
    before = host(backend, {"x": x, "target": target, "weight": weight})
    for extra in ((), (weight,)):
        value, dy = case.thing(x, target, *extra)
        assert value.dtype == dy.dtype == backend.xp.float32
        assert tuple(value.shape) == ()
    assert_equal(host(backend, {"x": x, "target": target, "weight": weight}), before)


@each(LOSSES)
def test_a_weight_of_two_counts_a_row_twice(case, backend64):
    x, target = rows((4, *case.shape)), target_for(case, 4)
    twice = [0, 1, 1, 2, 3]
    value, dy = evaluated(case, backend64, x, target, [1.0, 2.0, 1.0, 1.0])
    value_twice, dy_twice = evaluated(case, backend64, x[twice], target[twice])
    assert value == pytest.approx(value_twice, rel=1e-13)
    dy_twice[1] += dy_twice[2]
    np.testing.assert_allclose(dy, np.delete(dy_twice, 2, axis=0), rtol=1e-12)


@each(LOSSES)
def test_a_weight_of_zero_leaves_a_row_out(case, backend64):
    x, target = rows((4, *case.shape)), target_for(case, 4)
    value, dy = evaluated(case, backend64, x, target, [1.0, 1.0, 0.0, 1.0])
    kept = [0, 1, 3]
    value_kept, dy_kept = evaluated(case, backend64, x[kept], target[kept])
    assert value == pytest.approx(value_kept, rel=1e-13)
    np.testing.assert_allclose(dy[kept], dy_kept, rtol=1e-12)
    assert not dy[2].any()


@each(LOSSES)
def test_equal_weights_change_nothing_whatever_their_size(case, backend64):
    x, target = rows((4, *case.shape)), target_for(case, 4)
    plain, dy = evaluated(case, backend64, x, target)
    weighted, dy_weighted = evaluated(case, backend64, x, target, [3.0] * 4)
    assert weighted == pytest.approx(plain, rel=1e-13)
    assert_close(dy_weighted, dy, 1e-13)


@each(LOSSES)
def test_a_batch_of_zero_weights_has_no_loss_and_no_gradient(case, backend):
    value, dy = evaluated(case, backend, rows((3, *case.shape)), target_for(case, 3), [0.0] * 3)
    assert value == 0
    assert not dy.any()


@each(LOSSES)
def test_the_prediction_that_is_right_has_the_smallest_loss(case, backend64):
    target = target_for(case, 5)
    if "cross_entropy" in case.id:
        p = target
        if target.dtype == np.int32:
            p = np.eye(case.shape[-1])[target]
        p = np.clip(p, 1e-9, 1 - 1e-9)
        best = np.log(p / (1 - p)) if case.id.startswith("binary") else np.log(p)
    else:
        best = target
    value, dy = evaluated(case, backend64, best, target)
    assert np.abs(dy).max() < 1e-8
    assert value <= evaluated(case, backend64, best + rows(best.shape), target)[0] + 1e-8


@each(CROSS_ENTROPIES)
@pytest.mark.parametrize("size", [1e3, 1e4, 1e30])
def test_cross_entropies_are_stable_for_any_logit(case, size, backend):
    x = size * np.sign(rows((6, *case.shape)))
    value, dy = evaluated(case, backend, x, target_for(case, 6))
    assert np.isfinite(value)
    assert value >= 0
    assert np.isfinite(dy).all()


@pytest.mark.parametrize(("logit", "label", "expected"),
                         [(1e4, 1, 0.0), (-1e4, 0, 0.0), (1e4, 0, 1e4), (-1e4, 1, 1e4)])  # fmt: skip
def test_binary_cross_entropy_of_a_sure_answer(logit, label, expected, backend):
    value, dy = losses.binary_cross_entropy(backend.asarray([[logit]]), backend.asarray([[label]]))
    assert float(value) == pytest.approx(expected, abs=1e-30)
    assert float(dy[0, 0]) == pytest.approx(np.sign(expected) * np.sign(logit), abs=1e-30)


def test_softmax_cross_entropy_of_a_sure_answer(backend):
    logits = backend.asarray([[1e4, 0.0, -1e4]] * 3)
    labels = backend.asarray([0, 1, 2], backend.xp.int32)
    value, dy = losses.softmax_cross_entropy(logits, labels)
    assert float(value) == pytest.approx((0 + 1e4 + 2e4) / 3)
    np.testing.assert_allclose(host(backend, dy) * 3, [[0, 0, 0], [1, -1, 0], [1, 0, -1]])


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_class_numbers_and_one_hot_rows_are_the_same(labels, backend):
    case = LOSSES[-2]
    x = rows((len(labels), 4))
    numbers = evaluated(case, backend, x, np.array(labels, np.int32))
    one_hot = evaluated(case, backend, x, np.eye(4)[labels])
    assert_equal(numbers[0], one_hot[0])
    assert_equal(numbers[1], one_hot[1])


def test_huber_is_squared_near_zero_and_absolute_far_out(backend64):
    error = np.array([[-3.0, -0.5, 0.0, 0.2, 4.0]])
    value, dy = losses.Huber(1.0)(backend64.asarray(error), backend64.asarray(0 * error))
    assert float(value) == pytest.approx(np.mean([2.5, 0.125, 0, 0.02, 3.5]))
    np.testing.assert_allclose(host(backend64, dy), np.array([[-1, -0.5, 0, 0.2, 1]]) / 5)


@each(LOSSES)
def test_shapes_that_differ_are_refused_and_not_broadcast(case, backend):
    x = backend.asarray(rows((4, *case.shape)))
    for wrong in ((3, *case.shape), (4, *case.shape, 1), (4, *case.shape[:-1], 1)):
        with pytest.raises(ValueError, match="same shape"):
            case.thing(x, backend.asarray(np.ones(wrong)))


@pytest.mark.parametrize("delta", [0, -1.0, float("nan")])
def test_hubers_delta_must_be_positive(delta):
    with pytest.raises(ValueError, match="delta"):
        losses.Huber(delta)
