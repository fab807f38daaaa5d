"""Convolutions on NumPy: products over blocks of windows that stay in the cache.

The windows of a few rows of the batch, or of a part of one, are copied to where a product reads them,
and used at once: what is copied does not leave the cache. Kernels of size one are plain products.

The gradient of the input is a convolution of the padded gradient of the output with the kernel turned
round, where the stride is 1 and that is less work. Otherwise products with the weight are added up where
the windows were.

All functions write into ``out``, and keep nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nnbackend.backends import host_depthwise
from nnbackend.backends.convolution import Geometry

__all__ = ["convolve", "input_gradient", "weight_gradient"]

Values: TypeAlias = np.ndarray[Any, Any]
Function: TypeAlias = Callable[[Values, Values, Values, Geometry], None]

BLOCK_BYTES = 1 << 21
"""How much of windows is copied at a time: it stays in the cache until it is used."""

SMALL_PRODUCT = 950_000
"""The multiplications of a product that OpenBLAS computes at once, in the caller's thread.

A larger one is packed and divided among threads, which does not pay with few outputs.
"""

_FEW_OUTPUTS = 16
ADDED_BYTES = 1 << 19  # of products at a time that are added up where windows were
_FEW_CHANNELS = 16
_FEW_BYTES = 1 << 21  # of products at a time

# What a number takes, in thousandths of a nanosecond on a core of 2020: to be copied as part of a
# window, to be added to another, and for each product that it is part of.
_COPY, _ADD, _PRODUCT = 250, 500, 50


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
    if _is_depthwise(weight, how):
        host_depthwise.convolve(x, weight, out, how)
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
    if _is_depthwise(out, how):
        host_depthwise.weight_gradient(x, dy, out, how)
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
    if _is_product(weight, how):
        if all(step == 1 for step in how.stride):
            np.matmul(_rows(dy), _rows(weight).T, out=_rows(out))
            return
        out[...] = 0.0
        product = _rows(dy) @ _rows(weight).T
        _strided(out, how)[...] = product.reshape((*dy.shape[:-1], out.shape[-1]))
        return
    by_residue = all(apart == 1 for apart in how.dilation)
    turned = _turned_geometry(dy, weight, out, how)
    if _is_depthwise(weight, how):
        convolves = weight.shape[-1] == out.shape[-1]
    else:
        convolves = _is_less_work(dy, out, how)
    if convolves and turned is not None:
        convolve(dy, _turned(weight, how.groups), out, turned)
    elif convolves and by_residue:
        _convolve_by_residue(dy, weight, out, how)
    elif _is_depthwise(weight, how):
        host_depthwise.add_windows(dy, weight, out, how)
    else:
        _add_windows(dy, weight, out, how)


def _convolve_by_residue(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the input for strides above 1, where windows are not dilated.

    The numbers of the padded input whose places have the same residues by the strides are in windows at
    the same places of the kernel: for each set of residues it is a convolution of ``dy`` with a part of
    the kernel.
    """
    lengths, counts, size = out.shape[1:-1], dy.shape[1:-1], weight.shape[:-2]
    ones = (1,) * len(size)
    out[...] = 0.0  # what is in no window
    for residues in np.ndindex(*how.stride):
        read, padding, write, kernel = [slice(None)], [], [slice(None)], []
        for axis, (residue, step) in enumerate(zip(residues, how.stride, strict=True)):
            before, _ = how.padding[axis]
            places = len(range(residue, size[axis], step))
            first = -((residue - before) // step)  # of the windows that begin there
            last = (before + lengths[axis] - 1 - residue) // step
            low, high = places - 1 - first, last - counts[axis] + 1
            read.append(slice(max(-low, 0), counts[axis] - max(-high, 0)))
            padding.append((max(low, 0), max(high, 0)))
            write.append(slice(first * step + residue - before, None, step))
            kernel.append(slice(residue, None, step))
        part, target = dy[tuple(read)], out[tuple(write)]
        inside = weight[tuple(kernel)]
        if not inside.size or not part.size or not target.size:
            continue
        geometry = Geometry(ones, tuple(padding), ones, how.groups)
        convolve(part, _turned(inside, how.groups), target, geometry)


def _is_product(weight: Values, how: Geometry) -> bool:
    """Return whether a convolution is one product: a kernel of size one without padding or groups."""
    one = math.prod(weight.shape[:-2]) == 1
    return one and how.groups == 1 and not any(map(any, how.padding))


def _is_depthwise(weight: Values, how: Geometry) -> bool:
    """Return whether each channel has kernels of its own."""
    return weight.shape[-2] == 1 and how.groups > 1


def _turned_geometry(dy: Values, weight: Values, out: Values, how: Geometry) -> Geometry | None:
    """Return how windows lie in ``dy`` for the convolution that gives ``dx``; None: there is none."""
    size = weight.shape[:-2]
    spans = [d * (k - 1) for k, d in zip(size, how.dilation, strict=True)]
    low = [span - before for span, (before, _) in zip(spans, how.padding, strict=True)]
    axes = zip(out.shape[1:-1], dy.shape[1:-1], spans, low, strict=True)
    padding = tuple((before, n + span - count - before) for n, count, span, before in axes)
    if any(step != 1 for step in how.stride) or any(min(pair) < 0 for pair in padding):
        return None
    return Geometry(how.stride, padding, how.dilation, how.groups)


def _is_less_work(dy: Values, out: Values, how: Geometry) -> bool:
    """Return whether ``dx`` is less work as a convolution than as products that are added up."""
    inner, outputs = out.shape[-1] // how.groups, dy.shape[-1] // how.groups
    places, counts = math.prod(out.shape[1:-1]) / math.prod(how.stride), math.prod(dy.shape[1:-1])
    convolution = places * outputs * (_COPY + _PRODUCT * max(inner, 8))
    return bool(convolution <= counts * inner * (_ADD + _PRODUCT * outputs))


def _rows(x: Values) -> Values:
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


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
    outputs = weight.shape[-1]
    matrices = weight.reshape((math.prod(weight.shape[:-1]), groups, outputs // groups))
    return np.ascontiguousarray(np.moveaxis(matrices, 1, 0))


def _block_shape(
    rows: int, counts: tuple[int, ...], bytes_of_window: int, block_bytes: int
) -> tuple[int, int]:
    """Return of how many rows of the batch, and of how many places on the first axis, a block is."""
    line = bytes_of_window * math.prod(counts[1:])
    places = max(1, block_bytes // line)
    if places >= counts[0]:
        return max(1, min(rows, places // counts[0])), counts[0]
    return 1, -(-counts[0] // -(-counts[0] // places))  # of equal size


def _blocks(
    x: Values, size: tuple[int, ...], y: Values, how: Geometry
) -> Iterator[tuple[Values, Values]]:
    """Yield the windows of each block, and the rows of ``y`` that belong to them.

    The windows are (groups, count, size channels / groups) in memory that the next block uses again;
    ``y`` has the shape (rows, *counts, outputs).
    """
    counts, channels = y.shape[1:-1], x.shape[-1]
    outputs, block_bytes = y.shape[-1] // how.groups, BLOCK_BYTES
    if outputs <= _FEW_OUTPUTS:
        block_bytes = min(block_bytes, SMALL_PRODUCT * how.groups // outputs * x.itemsize)
    window = math.prod(size) * channels * x.itemsize
    rows, places = _block_shape(len(x), counts, window, block_bytes)
    narrow = how.groups == how.stride[-1] == 1 and size[-1] * channels < counts[-1]
    copies = any(map(any, how.padding)) or narrow
    source = _source(rows, x, how, narrow) if copies else x
    inside = how.inside(x.shape[1:-1])
    windows = _windows(source, counts, size, how)
    copied = _memory((rows, places, *counts[1:]), windows.shape[1 + len(size) :], x.dtype, narrow)
    matrices = _by_group(copied, len(size), narrow)
    for first in range(0, len(x), rows):
        number = min(rows, len(x) - first)
        if copies:
            source[:number][inside] = x[first : first + number]
        here = windows[:number] if copies else windows[first : first + number]
        for start in range(0, counts[0], places):
            part, target, found = here[:, start : start + places], copied, matrices
            if part.shape != copied.shape:  # the last one of several
                target = copied[:number, : part.shape[1]]
                found = _by_group(target, len(size), narrow)
            np.copyto(target, part)
            yield found, _rows(y[first : first + number, start : start + places])


def _source(rows: int, x: Values, how: Geometry, narrow: bool) -> Values:
    """Return zeros for some rows of the batch with their padding; of few channels, each by itself."""
    lengths, channels = how.padded(x.shape[1:-1]), x.shape[-1]
    if narrow:
        return np.moveaxis(np.zeros((channels, rows, *lengths), dtype=x.dtype), 0, -1)
    return np.zeros((rows, *lengths, channels), dtype=x.dtype)


def _memory(outer: tuple[int, ...], inner: tuple[int, ...], dtype: Any, narrow: bool) -> Values:
    """Return memory for windows; of few channels, the same place of all windows is together.

    So long pieces are copied: as long as an axis, and not only as a window.
    """
    if not narrow:
        return np.empty((*outer, *inner), dtype=dtype)
    axes = len(inner) + len(outer)
    memory = np.empty((*inner, *outer), dtype=dtype)
    return memory.transpose((*range(len(inner), axes), *range(len(inner))))


def _windows(x: Values, counts: tuple[int, ...], size: tuple[int, ...], how: Geometry) -> Values:
    """Return a view of all windows, (rows, *counts, groups, *size, channels / groups)."""
    first, *spatial, last = x.strides
    inner = x.shape[-1] // how.groups
    outer = (s * step for s, step in zip(spatial, how.stride, strict=True))
    within = (s * step for s, step in zip(spatial, how.dilation, strict=True))
    shape = (len(x), *counts, how.groups, *size, inner)
    return as_strided(x, shape, (first, *outer, last * inner, *within, last), writeable=False)


def _by_group(windows: Values, axes: int, narrow: bool = False) -> Values:
    """Return copied windows as a matrix for each group, (groups, count, size channels / groups)."""
    count, width = math.prod(windows.shape[: 1 + axes]), math.prod(windows.shape[2 + axes :])
    if narrow:  # as it is in memory, of one group
        order = (*range(1 + axes, windows.ndim), *range(1 + axes))
        return windows.transpose(order).reshape((width, count)).T[None]
    return windows.reshape((count, windows.shape[1 + axes], width)).transpose((1, 0, 2))


def _add_windows(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the input: products with the weight, added up where the windows were."""
    size, counts, groups = weight.shape[:-2], dy.shape[1:-1], how.groups
    if groups == 1 and out.shape[-1] < min(_FEW_CHANNELS, len(dy)):
        _add_few_channels(dy, weight, out, how)
        return
    channels, inner, width = out.shape[-1], weight.shape[-2], dy.shape[-1] // groups
    taps = math.prod(size)
    rows, places = _block_shape(len(dy), counts, taps * channels * dy.itemsize, ADDED_BYTES)
    matrices = weight.reshape((taps, inner, groups, width)).transpose((2, 0, 3, 1))
    wide = np.empty((rows, *how.padded(out.shape[1:-1]), channels), dtype=dy.dtype)
    scratch = np.empty(taps * rows * places * math.prod(counts[1:]) * channels, dtype=dy.dtype)
    inside = how.inside(out.shape[1:-1])
    for first in range(0, len(dy), rows):
        part = wide[: min(rows, len(dy) - first)]
        part[...] = 0.0
        for start in range(0, counts[0], places):
            block = dy[first : first + len(part), start : start + places]
            products = scratch[: taps * block.size // width // groups * channels]
            products = products.reshape((taps, block.size // dy.shape[-1], channels))
            for g in range(groups):
                np.matmul(
                    _rows(block)[:, g * width : (g + 1) * width],
                    matrices[g],
                    out=products[..., g * inner : (g + 1) * inner],
                )
            grouped = products.reshape((*size, *block.shape[:-1], channels))
            host_depthwise.add_taps(part, grouped, start, how)
        out[first : first + len(part)] = part[inside]


def _add_few_channels(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of an input of few channels: as above, with the batch on the last axis.

    So long pieces are added: as long as the batch times an axis, and not only as the channels.
    """
    *size, channels, outputs = weight.shape
    counts, taps, batch = dy.shape[1:-1], math.prod(weight.shape[:-2]), len(dy)
    wide = np.zeros((channels, *how.padded(out.shape[1:-1]), batch), dtype=dy.dtype)
    matrix = weight.reshape((taps * channels, outputs))
    turned = np.ascontiguousarray(np.moveaxis(dy, (-1, 0), (0, -1)))  # (outputs, *counts, batch)
    line = taps * channels * math.prod(counts[1:]) * batch * dy.itemsize
    places = min(counts[0], max(1, _FEW_BYTES // line))
    scratch = np.empty((taps * channels * places * math.prod(counts[1:]) * batch), dtype=dy.dtype)
    for start in range(0, counts[0], places):
        part = turned[:, start : start + places]
        count = part.size // outputs
        products = scratch[: taps * channels * count].reshape((taps * channels, count))
        np.matmul(matrix, part.reshape((outputs, count)), out=products)
        grouped = products.reshape((*size, channels, *part.shape[1:]))
        host_depthwise.add_taps(wide, grouped, start, how)
    inside = np.moveaxis(wide, (0, -1), (-1, 0))[how.inside(out.shape[1:-1])]
    out[...] = inside
