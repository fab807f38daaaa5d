"""Convolutions on NumPy: products over blocks of windows that stay in the cache.

The windows of a few rows of an image are copied to where a product reads them, and used at once; so what
is copied never leaves the cache. The gradient of the input is, with stride 1, a convolution of the
padded gradient of the output with the kernel turned round; otherwise products with the weight are added
up where the windows were. Kernels of size one are plain products; where each channel has a kernel of its
own, slices are multiplied and added.

All functions write into ``out``, and keep nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nnbackend.backends.convolution import Geometry

__all__ = ["convolve", "input_gradient", "weight_gradient"]

Values: TypeAlias = np.ndarray[Any, Any]

BLOCK_BYTES = 1 << 18
"""How much of windows is copied at a time: it stays in a core's cache until it is used."""


Function: TypeAlias = Callable[[Values, Values, Values, Geometry], None]


def _in_order(function: Function) -> Function:
    """Return the function for any ``out``: rows of a matrix that is written must be so in memory."""

    @functools.wraps(function)
    def write(a: Values, b: Values, out: Values, how: Geometry) -> None:
        if out.flags.c_contiguous:
            function(a, b, out, how)
        else:
            new = np.empty(out.shape, dtype=out.dtype)
            function(a, b, new, how)
            out[...] = new

    return write


@_in_order
def convolve(x: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write a convolution; see :func:`nnbackend.backends.convolution.convolve`."""
    if _is_product(weight, how):
        np.matmul(_rows(_strided(x, how)), _rows(weight), out=_rows(out))
        return
    matrices = _matrices(weight, how.groups)
    width = out.shape[-1] // how.groups
    for windows, block in _blocks(x, weight.shape[:-2], out, how):
        for g in range(how.groups):
            np.matmul(windows[g], matrices[g], out=block[:, g * width : (g + 1) * width])


@_in_order
def weight_gradient(x: Values, dy: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the weight; see :func:`nnbackend.backends.convolution.weight_gradient`."""
    if _is_product(out, how):
        np.matmul(_rows(_strided(x, how)).T, _rows(dy), out=_rows(out))
        return
    groups, width = how.groups, dy.shape[-1] // how.groups
    total = np.zeros((groups, math.prod(out.shape[:-1]), width), dtype=out.dtype)
    part = np.empty_like(total[0])
    for windows, block in _blocks(x, out.shape[:-2], dy, how):
        for g in range(groups):
            np.matmul(windows[g].T, block[:, g * width : (g + 1) * width], out=part)
            total[g] += part
    out[...] = np.moveaxis(total, 0, 1).reshape(out.shape)


@_in_order
def input_gradient(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the input; see :func:`nnbackend.backends.convolution.input_gradient`."""
    size, lengths = weight.shape[:-2], out.shape[1:-1]
    if _is_product(weight, how):
        if all(step == 1 for step in how.stride):
            np.matmul(_rows(dy), _rows(weight).T, out=_rows(out))
            return
        out[...] = 0.0
        product = _rows(dy) @ _rows(weight).T
        _strided(out, how)[...] = product.reshape((*dy.shape[:-1], out.shape[-1]))
        return
    spans = [d * (k - 1) for k, d in zip(size, how.dilation, strict=True)]
    low = [span - before for span, (before, _) in zip(spans, how.padding, strict=True)]
    axes = zip(lengths, dy.shape[1:-1], spans, low, strict=True)
    padding = tuple((before, n + span - count - before) for n, count, span, before in axes)
    if all(step == 1 for step in how.stride) and all(min(pair) >= 0 for pair in padding):
        turned = Geometry(how.stride, padding, how.dilation, how.groups)
        convolve(dy, _turned(weight, how.groups), out, turned)
        return
    _add_windows(dy, weight, out, how)


def _is_product(weight: Values, how: Geometry) -> bool:
    """Return whether a convolution is one product: a kernel of size one without padding or groups."""
    one = math.prod(weight.shape[:-2]) == 1
    return one and how.groups == 1 and not any(map(any, how.padding))


def _rows(x: Values) -> Values:
    return x.reshape((-1, x.shape[-1]))


def _strided(x: Values, how: Geometry) -> Values:
    """Return every number that a kernel of size one sees."""
    return x[(slice(None), *(slice(None, None, step) for step in how.stride))]


def _turned(weight: Values, groups: int) -> Values:
    """Return the kernel turned round, from outputs to channels: (*size, outputs / groups, channels)."""
    *size, inner, outputs = weight.shape
    axes = len(size)
    turned = np.flip(weight, tuple(range(axes))).reshape((*size, inner, groups, outputs // groups))
    turned = np.moveaxis(turned, (axes, axes + 1, axes + 2), (axes + 2, axes + 1, axes))
    return turned.reshape((*size, outputs // groups, groups * inner))


def _matrices(weight: Values, groups: int) -> Values:
    """Return the weight as a matrix for each group, (groups, size channels, outputs / groups)."""
    matrices = weight.reshape((-1, groups, weight.shape[-1] // groups))
    return np.ascontiguousarray(np.moveaxis(matrices, 1, 0))


def _block_shape(counts: tuple[int, ...], bytes_of_window: int) -> tuple[int, int]:
    """Return of how many rows of the batch, and of how many places on the first axis, a block is."""
    row = bytes_of_window * math.prod(counts[1:])
    places = max(1, BLOCK_BYTES // row)
    if places >= counts[0]:
        return places // counts[0], counts[0]
    return 1, -(-counts[0] // -(-counts[0] // places))  # of equal size


def _blocks(
    x: Values, size: tuple[int, ...], y: Values, how: Geometry
) -> Iterator[tuple[Values, Values]]:
    """Yield the windows of each block, and the rows of ``y`` that belong to them.

    The windows are (groups, count, size channels / groups) in memory that the next block uses again;
    ``y`` has the shape (rows, *counts, outputs).
    """
    counts, channels = y.shape[1:-1], x.shape[-1]
    inner, taps = channels // how.groups, math.prod(size)
    rows, places = _block_shape(counts, taps * channels * x.itemsize)
    rows = max(1, min(rows, len(x)))
    lengths = how.padded(x.shape[1:-1])
    wide = (
        np.zeros((rows, *lengths, channels), dtype=x.dtype) if any(map(any, how.padding)) else None
    )
    inside = how.inside(x.shape[1:-1])
    scratch = np.empty(rows * places * math.prod(counts[1:]) * taps * channels, dtype=x.dtype)
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        if wide is not None:
            wide[: len(part)][inside] = part
            part = wide[: len(part)]
        windows = _windows(part, counts, size, how)
        for start in range(0, counts[0], places):
            here = windows[:, start : start + places]
            copy = scratch[: here.size].reshape(here.shape)
            np.copyto(copy, here)
            block = y[first : first + len(part), start : start + places]
            yield _by_group(copy, len(size), taps * inner), _rows(block)


def _windows(x: Values, counts: tuple[int, ...], size: tuple[int, ...], how: Geometry) -> Values:
    """Return a view of all windows, (rows, *counts, groups, *size, channels / groups)."""
    first, *spatial, last = x.strides
    inner = x.shape[-1] // how.groups
    outer = (s * step for s, step in zip(spatial, how.stride, strict=True))
    within = (s * step for s, step in zip(spatial, how.dilation, strict=True))
    shape = (len(x), *counts, how.groups, *size, inner)
    return as_strided(x, shape, (first, *outer, last * inner, *within, last), writeable=False)


def _by_group(copy: Values, axes: int, width: int) -> Values:
    """Return copied windows as a matrix for each group, (groups, count, size channels / groups)."""
    groups = copy.shape[1 + axes]
    return np.moveaxis(copy.reshape((-1, groups, width)), 1, 0)


def _add_windows(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the input: products with the weight, added up where the windows were."""
    size, counts, groups = weight.shape[:-2], dy.shape[1:-1], how.groups
    channels, inner = out.shape[-1], weight.shape[-2]
    axes, taps, width = len(size), math.prod(size), dy.shape[-1] // groups
    rows, places = _block_shape(counts, taps * channels * dy.itemsize)
    rows = max(1, min(rows, len(dy)))
    matrices = np.moveaxis(_matrices(weight, groups), 1, 2)
    wide = np.empty((rows, *how.padded(out.shape[1:-1]), channels), dtype=dy.dtype)
    scratch = np.empty(rows * places * math.prod(counts[1:]) * taps * channels, dtype=dy.dtype)
    inside = how.inside(out.shape[1:-1])
    for first in range(0, len(dy), rows):
        part = wide[: min(rows, len(dy) - first)]
        part[...] = 0.0
        for start in range(0, counts[0], places):
            block = dy[first : first + len(part), start : start + places]
            shape = (*block.shape[:-1], groups, *size, inner)
            products = scratch[: math.prod(shape)].reshape(shape)
            for g in range(groups):
                rows_of_group = _rows(block)[:, g * width : (g + 1) * width]
                np.matmul(
                    rows_of_group, matrices[g], out=_by_group(products, axes, taps * inner)[g]
                )
            _add_taps(part, products, start, how)
        out[first : first + len(part)] = part[inside]


def _add_taps(wide: Values, products: Values, start: int, how: Geometry) -> None:
    """Add what each place in a window got to where it was in the padded input."""
    axes = len(how.stride)
    counts, size = products.shape[1 : 1 + axes], products.shape[2 + axes : -1]
    grouped = wide.reshape((*wide.shape[:-1], products.shape[1 + axes], products.shape[-1]))
    firsts = (start * how.stride[0], *[0] * (axes - 1))
    for tap in np.ndindex(*size):
        axis = zip(tap, firsts, counts, how.stride, how.dilation, strict=True)
        cuts = [
            slice(first + t * apart, first + t * apart + (count - 1) * step + 1, step)
            for t, first, count, step, apart in axis
        ]
        grouped[(slice(None), *cuts)] += products[(..., *tap, slice(None))]
