"""Convolutions on NumPy: in blocks of any size, into memory in any order, also of no rows."""

from __future__ import annotations

import numpy as np
import pytest
from tools import assert_close

from nnbackend.backends import convolution, host_convolution, host_depthwise
from nnbackend.backends.base import Backend
from nnbackend.backends.convolution import Geometry
from nnbackend.backends.numpy import NumPyBackend

CASES = {  # shape of x, size, outputs, how windows lie
    "one-axis": ((3, 9, 4), (3,), 6, Geometry((2,), ((1, 1),), (1,))),
    "padded": ((3, 6, 7, 3), (3, 3), 5, Geometry((1, 1), ((1, 1), (1, 1)), (1, 1))),
    "padded-a-lot": ((2, 3, 4, 3), (2, 3), 5, Geometry((1, 1), ((3, 2), (0, 4)), (1, 1))),
    "one-channel": ((3, 8, 9, 1), (5, 5), 6, Geometry((1, 1), ((0, 0), (2, 2)), (1, 1))),
    "few-channels": ((5, 8, 12, 2), (3, 3), 3, Geometry((1, 1), ((1, 1), (1, 1)), (1, 1))),
    "few-channels-stride": ((5, 8, 12, 2), (3, 3), 3, Geometry((2, 1), ((1, 1), (0, 0)), (1, 2))),
    "more-outputs": ((5, 6, 7, 2), (3, 3), 9, Geometry((1, 1), ((0, 0), (0, 0)), (1, 1))),
    "stride": ((3, 7, 8, 3), (3, 2), 5, Geometry((2, 3), ((1, 1), (0, 1)), (1, 1))),
    "dilation": ((3, 7, 8, 3), (3, 2), 5, Geometry((1, 1), ((2, 2), (0, 3)), (2, 3))),
    "size-one": ((3, 4, 5, 3), (1, 1), 5, Geometry((1, 1), ((0, 0), (0, 0)), (1, 1))),
    "size-one-stride": ((3, 4, 5, 3), (1, 1), 5, Geometry((2, 3), ((0, 0), (0, 0)), (1, 1))),
    "size-one-padded": ((3, 4, 5, 3), (1, 1), 5, Geometry((2, 1), ((1, 0), (0, 0)), (1, 1))),
    "groups": ((3, 5, 6, 4), (3, 3), 6, Geometry((1, 1), ((1, 1), (0, 2)), (1, 1), 2)),
    "groups-stride": ((3, 5, 6, 4), (3, 2), 6, Geometry((2, 1), ((1, 1), (0, 2)), (1, 2), 2)),
    "depthwise": ((3, 5, 6, 4), (3, 3), 4, Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 4)),
    "depthwise-doubled": ((3, 5, 6, 3), (3, 2), 6, Geometry((1, 1), ((1, 1), (0, 1)), (1, 1), 3)),
    "depthwise-stride": ((3, 7, 6, 4), (3, 3), 4, Geometry((2, 2), ((1, 1), (1, 0)), (1, 1), 4)),
    "depthwise-dilation": ((3, 7, 6, 2), (2, 3), 2, Geometry((1, 2), ((1, 0), (2, 2)), (3, 2), 2)),
    "three-axes": ((2, 4, 3, 5, 2), (2, 1, 3), 3,
                   Geometry((1, 2, 1), ((1, 0), (0, 0), (1, 1)), (1, 1, 1))),
}  # fmt: skip
PLAIN = Backend(xp=NumPyBackend().xp, dtype="float64")


def of(case, rows=None):
    """Return the three calls of a case: function, inputs, the expected result."""
    shape, size, outputs, how = case
    shape = shape if rows is None else (rows, *shape[1:])
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    weight = rng.normal(size=(*size, shape[-1] // how.groups, outputs))
    y = convolution.convolve(PLAIN, x, weight, how)
    dy = rng.normal(size=y.shape)
    dx = convolution.input_gradient(PLAIN, dy, weight, shape[1:-1], how)
    dweight = convolution.weight_gradient(PLAIN, x, dy, size, how)
    return {
        "convolve": (x, weight, y), "input_gradient": (dy, weight, dx),
        "weight_gradient": (x, dy, dweight),
    }, how  # fmt: skip


@pytest.mark.parametrize("block", [1, 1000, 1 << 18])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_blocks_of_any_size_give_the_products_with_windows(case, block, monkeypatch):
    for module in (host_convolution, host_depthwise):
        monkeypatch.setattr(module, "BLOCK_BYTES", block)
    monkeypatch.setattr(host_convolution, "ADDED_BYTES", block)
    calls, how = of(case)
    for name, (a, b, expected) in calls.items():
        out = np.full(expected.shape, np.nan)
        before = a.copy(), b.copy()
        getattr(host_convolution, name)(a, b, out, how)
        assert_close(out, expected, 1e-13)
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_memory_may_be_in_any_order(case):
    calls, how = of(case)
    for name, (a, b, expected) in calls.items():
        turned = [np.asfortranarray(array) for array in (a, b)]
        out = np.full(expected.shape[::-1], np.nan).T
        getattr(host_convolution, name)(*turned, out, how)
        assert_close(out, expected, 1e-13)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_rows_give_no_rows_and_no_gradient(case):
    calls, how = of(case, rows=0)
    for name, (a, b, expected) in calls.items():
        out = np.full(expected.shape, np.nan)
        getattr(host_convolution, name)(a, b, out, how)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("few", [0, 16])
@pytest.mark.parametrize("convolves", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_every_way_to_the_gradient_of_the_input_is_the_same(seed, convolves, few, monkeypatch):
    """Of any geometry: strides above the kernel, padding above it, windows that leave some out."""
    monkeypatch.setattr(host_convolution, "_is_less_work", lambda *_: convolves)
    monkeypatch.setattr(host_convolution, "_FEW_CHANNELS", few)
    rng = np.random.default_rng(seed)
    axes, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2]))
    size = tuple(int(n) for n in rng.integers(1, 5, axes))
    stride = tuple(int(n) for n in rng.integers(1, 5, axes))
    dilation = tuple(int(n) for n in rng.choice([1, 1, 2], axes))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 6, (axes, 2)))
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    sides = zip(spans, padding, strict=True)
    lengths = tuple(max(1, s - a - b) + int(rng.integers(0, 6)) for s, (a, b) in sides)
    inner, width = (int(n) for n in rng.integers(1, 4, 2))
    how = Geometry(stride, padding, dilation, groups)
    x = rng.normal(size=(4, *lengths, inner * groups))
    weight = rng.normal(size=(*size, inner, width * groups))
    dy = rng.normal(size=convolution.convolve(PLAIN, x, weight, how).shape)
    out = np.full(x.shape, np.nan)
    host_convolution.input_gradient(dy, weight, out, how)
    assert_close(out, convolution.input_gradient(PLAIN, dy, weight, lengths, how), 1e-13)
