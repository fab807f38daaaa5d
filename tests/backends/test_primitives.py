"""Windows, sums over repeated rows, loops and convolutions: on every backend what they say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tools import assert_close, assert_equal, host

from nnbackend.backends.base import Backend
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.backends.primitives import window_counts

WINDOWS = [  # shape, size, stride, dilation
    ((2, 7, 3), (3,), (1,), (1,)),
    ((2, 9, 1), (2,), (3,), (2,)),
    ((3, 5, 6, 2), (3, 2), (1, 1), (1, 1)),
    ((1, 7, 8, 2), (2, 3), (2, 1), (2, 3)),
    ((2, 4, 4, 3), (4, 4), (1, 1), (1, 1)),  # one window
    ((2, 4, 3, 5, 2), (2, 1, 3), (2, 1, 1), (1, 2, 1)),
]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def by_hand(x, size, stride, dilation):
    """Return the windows one by one."""
    counts = window_counts(x.shape, size, stride, dilation)
    y = np.empty((x.shape[0], *counts, *size, x.shape[-1]))
    for at in product(*map(range, counts)):
        cut = tuple(
            slice(i * s, i * s + d * (k - 1) + 1, d)
            for i, s, d, k in zip(at, stride, dilation, size, strict=True)
        )
        y[(slice(None), *at)] = x[(slice(None), *cut)]
    return y


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_windows(case, backend64):
    shape, *how = case
    x = numbers(*shape)
    with backend64.scope():
        given = backend64.asarray(x.copy())
        compiled = backend64.compile(lambda x: backend64.windows(x, *how))
        for windows in (backend64.windows(given, *how), compiled(given)):
            assert_equal(host(backend64, windows), by_hand(x, *how))
        assert_equal(host(backend64, given), x)


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_the_adjoint_of_windows(case, backend64):
    """``<windows(x), d> = <x, adjoint(d)>`` for any x and d."""
    shape, *how = case
    x = numbers(*shape)
    y = by_hand(x, *how)
    d = numbers(*y.shape, seed=1)
    with backend64.scope():
        given = backend64.asarray(d.copy())
        compiled = backend64.compile(lambda d: backend64.windows_adjoint(d, shape, *how))
        for back in (backend64.windows_adjoint(given, shape, *how), compiled(given)):
            assert back.dtype == backend64.dtype
            assert np.vdot(host(backend64, back), x) == pytest.approx(np.vdot(y, d), rel=1e-12)
        assert_equal(host(backend64, given), d)
        ones = backend64.windows_adjoint(backend64.asarray(np.ones(y.shape)), shape, *how)
    times = np.zeros(shape)  # how often each number is in a window
    index = by_hand(np.arange(x.size, dtype=float).reshape(shape), *how).astype(int)
    np.add.at(times.reshape(-1), index.reshape(-1), 1.0)
    assert_equal(host(backend64, ones), times)


def test_windows_of_a_view(backend64):
    """Neither where an array begins in memory nor in which order it is stored matters."""
    x = numbers(4, 6, 6, 3)
    how = ((2, 2), (2, 2), (1, 1))
    with backend64.scope():
        given = backend64.xp.permute_dims(backend64.asarray(x.copy()), (0, 2, 1, 3))[1:, 1:, :, 1:]
        windows = backend64.windows(given, *how)
    assert_equal(host(backend64, windows), by_hand(x.transpose(0, 2, 1, 3)[1:, 1:, :, 1:], *how))


def test_windows_next_to_each_other_need_no_stride(backend):
    x = backend.asarray(numbers(2, 5, 3))
    assert_equal(host(backend, backend.windows(x, (2,))),
                 host(backend, backend.windows(x, (2,), (1,), (1,))))  # fmt: skip
    d = backend.asarray(numbers(2, 4, 2, 3))
    assert_equal(host(backend, backend.windows_adjoint(d, (2, 5, 3), (2,))),
                 host(backend, backend.windows_adjoint(d, (2, 5, 3), (2,), (1,), (1,))))  # fmt: skip


@pytest.mark.parametrize(
    ("how", "words"),
    [(((4,), (1,), (1,)), "do not fit"), (((2,), (1,), (3,)), "do not fit"),
     (((2, 2), (1, 1), (1, 1)), "size must have a positive number for each of the 1 spatial axes"),
     (((2,), (0,), (1,)), "stride must"), (((2,), (1,), (1, 1)), "dilation must")],
)  # fmt: skip
def test_windows_that_do_not_fit_are_refused(how, words, backend):
    x = backend.asarray(numbers(2, 3, 1))
    with pytest.raises(ValueError, match=words):
        backend.windows(x, *how)
    with pytest.raises(ValueError, match=words):
        backend.windows_adjoint(x, (2, 3, 1), *how)


def test_gradients_of_another_shape_are_refused(backend):
    with pytest.raises(ValueError, match=r"have shape \(2, 4, 2, 3\), got \(2, 4, 3, 2\)"):
        backend.windows_adjoint(backend.asarray(numbers(2, 4, 3, 2)), (2, 5, 3), (2,))


# ------------------------------------------------------------------------------------ scatter-add


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("width", [1, 5])
def test_values_are_added_up_by_row(count, width, backend64):
    index = np.random.default_rng(count).integers(0, 9, count).astype(np.int32)
    values = numbers(count, width)
    expected = np.zeros((9, width))
    np.add.at(expected, index, values)
    with backend64.scope():
        rows, given = backend64.asarray(index, backend64.xp.int32), backend64.asarray(values.copy())
        compiled = backend64.compile(lambda rows, given: backend64.scatter_add(9, rows, given))
        for sums in (backend64.scatter_add(9, rows, given), compiled(rows, given)):
            assert sums.dtype == backend64.dtype
            assert_close(host(backend64, sums), expected, 1e-14)
        assert_equal(host(backend64, given), values)


def test_sums_by_row_take_no_part_of_other_rows(backend):
    """As cumulative sums would: what is large in a row rounds what is small in the next."""
    index = backend.asarray(np.repeat(np.arange(4), 8), backend.xp.int32)
    values = np.repeat(np.array([1e8, 1.0, 1e8, 0.125]), 8)[:, None]
    with backend.scope():
        sums = backend.scatter_add(4, index, backend.asarray(values))
    assert host(backend, sums).ravel().tolist() == [8e8, 8.0, 8e8, 1.0]


@pytest.mark.parametrize("wrong", [-1, 4, 100])
def test_rows_out_of_range_are_not_wrapped(wrong, backend):
    with backend.scope():
        index = backend.asarray([0, wrong, 2], backend.xp.int32)
        try:
            sums = backend.scatter_add(4, index, backend.asarray(np.ones((3, 2))))
        except (IndexError, RuntimeError):
            return
    assert np.isnan(host(backend, sums)).any()


def test_sums_by_row_are_the_adjoint_of_a_take(backend64):
    x, d = numbers(6, 3), numbers(20, 3, seed=1)
    rows = np.random.default_rng(2).integers(0, 6, 20).astype(np.int32)
    with backend64.scope():
        index = backend64.asarray(rows, backend64.xp.int32)
        taken = host(backend64, backend64.take_rows(backend64.asarray(x), index))
        back = host(backend64, backend64.scatter_add(6, index, backend64.asarray(d)))
    assert np.vdot(taken, d) == pytest.approx(np.vdot(x, back), rel=1e-12)


# ------------------------------------------------------------------------------------------ loops


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", [1, 5])
def test_loops_stack_trees_of_outputs(count, reverse, backend64):
    xp = backend64.xp

    def body(carry, i):
        total, last = carry
        new = (
            xp.take(x, xp.asarray([i], dtype=xp.int32, device=backend64.device), axis=0)[0, :]
            + 0.5 * last
        )
        return (total + new, new), {"h": new, "pair": (new * 2.0, None)}

    def run(x):
        zero = xp.zeros((3,), dtype=backend64.dtype, device=backend64.device)
        return backend64.loop(body, (zero, zero), count, reverse=reverse)

    given = numbers(count, 3)
    expected, last = np.empty((count, 3)), np.zeros(3)
    for i in reversed(range(count)) if reverse else range(count):
        expected[i] = last = given[i] + 0.5 * last
    x = backend64.asarray(given)
    with backend64.scope():
        for (total, end), outputs in (run(x), backend64.compile(run)(x)):
            assert_close(host(backend64, outputs["h"]), expected, 1e-15)
            assert_close(host(backend64, outputs["pair"][0]), expected * 2, 1e-15)
            assert outputs["pair"][1] is None
            assert_close(host(backend64, total), expected.sum(axis=0), 1e-15)
            assert_close(host(backend64, end), last, 1e-15)


def test_loops_without_outputs(backend):
    one = backend.asarray(1.0)
    with backend.scope():
        carry, nothing = backend.loop(lambda carry, i: (carry + one, None), one, 3)
    assert (float(carry), nothing) == (4.0, None)


def test_a_loop_of_no_steps_is_refused(backend):
    with pytest.raises(ValueError, match="at least 1"):
        backend.loop(lambda carry, i: (carry, None), None, 0)


# ----------------------------------------------------------------------------------- convolutions

CONVOLUTIONS = [  # shape, size, outputs, stride, padding, dilation, groups
    ((2, 9, 4), (3,), 6, (2,), ((1, 1),), (1,), 1),
    ((2, 9, 4), (2,), 6, (1,), ((1, 0),), (3,), 2),
    ((2, 6, 7, 3), (3, 2), 5, (1, 2), ((1, 1), (0, 2)), (1, 1), 1),
    ((2, 6, 7, 4), (3, 3), 4, (1, 1), ((0, 0), (0, 0)), (2, 2), 4),
    ((1, 4, 5, 4, 2), (2, 3, 2), 3, (1, 1, 2), ((0, 1), (1, 1), (0, 0)), (1, 1, 1), 1),
]


def by_windows(x, weight, stride, padding, dilation, groups):
    """Return the convolution as products with windows."""
    size = weight.shape[:-2]
    windows = by_hand(np.pad(x, ((0, 0), *padding, (0, 0))), size, stride, dilation)
    inner, axes = np.split(windows, groups, axis=-1), len(size) + 1
    parts = zip(inner, np.split(weight, groups, axis=-1), strict=True)
    return np.concatenate([np.tensordot(part, w, axes) for part, w in parts], axis=-1)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(case, backend64):
    shape, size, outputs, *how = case
    x, weight = numbers(*shape), numbers(*size, shape[-1] // how[-1], outputs, seed=1)
    expected = by_windows(x, weight, *how)
    dy = numbers(*expected.shape, seed=2)

    def run(x, weight, dy):
        y, pullback = backend64.convolution(x, weight, *how)
        return y, *pullback(dy), *pullback(dy, input_grad=False)

    with backend64.scope():
        arrays = [backend64.asarray(a.copy()) for a in (x, weight, dy)]
        for y, dx, dw, none, again in (run(*arrays), backend64.compile(run)(*arrays)):
            assert none is None
            assert_close(host(backend64, y), expected, 1e-12)
            # It is linear in x and in weight, so its gradients are the adjoints.
            dx, dw, again = host(backend64, dx), host(backend64, dw), host(backend64, again)
            assert dx.shape == x.shape
            assert np.vdot(dx, x) == pytest.approx(np.vdot(dy, expected), rel=1e-10)
            assert np.vdot(dw, weight) == pytest.approx(np.vdot(dy, expected), rel=1e-10)
            assert_close(again, dw, 1e-12)
            other = numbers(*shape, seed=3), numbers(*weight.shape, seed=4)
            moved = by_windows(other[0], weight, *how), by_windows(x, other[1], *how)
            assert np.vdot(dx, other[0]) == pytest.approx(np.vdot(dy, moved[0]), rel=1e-10)
            assert np.vdot(dw, other[1]) == pytest.approx(np.vdot(dy, moved[1]), rel=1e-10)


def test_fallbacks_do_the_same_as_a_librarys_own():
    own, plain = NumPyBackend(None, "float64"), Backend(xp=NumPyBackend().xp, dtype="float64")
    x, index = numbers(3, 6, 7, 2), np.array([3, 0, 3, 2, 3])
    how = ((2, 3), (2, 1), (1, 2))
    assert_equal(plain.windows(x, *how), own.windows(x, *how))
    assert np.shares_memory(own.windows(x, *how), x)
    values = numbers(5, 4)
    assert_close(plain.scatter_add(4, index, values), own.scatter_add(4, index, values), 1e-15)
