"""Depthwise convolutions on NumPy: for each place in a kernel, a slice times numbers, added up.

The weights of a place are repeated along the last spatial axis, so that numbers that are side by side in
memory are multiplied in one go. A part of the batch that stays in the cache is finished at a time.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from nnbackend.backends.convolution import Geometry

__all__ = ["add_taps", "add_windows", "convolve", "weight_gradient"]

Values: TypeAlias = np.ndarray[Any, Any]
Cuts: TypeAlias = tuple[slice, ...]

BLOCK_BYTES = 1 << 17
"""How much of the output is computed at a time."""


def convolve(x: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write a convolution of each channel by itself; see :mod:`nnbackend.backends.convolution`."""
    size, counts, outputs = weight.shape[:-2], out.shape[1:-1], out.shape[-1]
    rows = _rows_of_block(out)
    wide = np.zeros((rows, *how.padded(x.shape[1:-1]), outputs), dtype=x.dtype)
    products = np.empty((rows, *counts, outputs), dtype=out.dtype)
    repeated = _repeated(weight, counts[-1])
    places = [(tap, _cuts(tap, counts, how)) for tap in np.ndindex(*size)]
    for first in range(0, len(x), rows):
        y = out[first : first + rows]
        source, part = wide[: len(y)], products[: len(y)]
        _put(source, x[first : first + rows], how)
        for number, (tap, cuts) in enumerate(places):
            if number == 0:
                np.multiply(source[cuts], repeated[tap], out=y)
            else:
                np.multiply(source[cuts], repeated[tap], out=part)
                y += part


def weight_gradient(x: Values, dy: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the weight; see :mod:`nnbackend.backends.convolution`."""
    size, counts, outputs = out.shape[:-2], dy.shape[1:-1], dy.shape[-1]
    rows = _rows_of_block(dy)
    wide = np.zeros((rows, *how.padded(x.shape[1:-1]), outputs), dtype=x.dtype)
    products = np.empty((rows, *counts, outputs), dtype=dy.dtype)
    totals = np.zeros((*size, counts[-1] * outputs), dtype=out.dtype)
    places = [(tap, _cuts(tap, counts, how)) for tap in np.ndindex(*size)]
    for first in range(0, len(x), rows):
        d = dy[first : first + rows]
        source, part = wide[: len(d)], products[: len(d)]
        _put(source, x[first : first + rows], how)
        lines = part.reshape((math.prod(part.shape[:-2]), counts[-1] * outputs))
        for tap, cuts in places:
            np.multiply(source[cuts], d, out=part)
            totals[tap] += np.add.reduce(lines, axis=0)
    sums = totals.reshape((*size, counts[-1], outputs)).sum(axis=-2)
    out[...] = sums[..., None, :]


def add_windows(dy: Values, weight: Values, out: Values, how: Geometry) -> None:
    """Write the gradient of the input: ``dy`` times the weight, added up where the windows were."""
    size, counts, outputs = weight.shape[:-2], dy.shape[1:-1], dy.shape[-1]
    channels, rows = out.shape[-1], _rows_of_block(dy)
    wide = np.empty((rows, *how.padded(out.shape[1:-1]), outputs), dtype=dy.dtype)
    products = np.empty((rows, *counts, outputs), dtype=dy.dtype)
    repeated = _repeated(weight, counts[-1])
    inside = how.inside(out.shape[1:-1])
    for first in range(0, len(dy), rows):
        d = dy[first : first + rows]
        target, part = wide[: len(d)], products[: len(d)]
        target[...] = 0.0
        for tap in np.ndindex(*size):
            np.multiply(d, repeated[tap], out=part)
            found = target[_cuts(tap, counts, how)]
            found += part
        dx = target[inside]
        if outputs > channels:
            dx = dx.reshape((*dx.shape[:-1], channels, outputs // channels)).sum(axis=-1)
        out[first : first + rows] = dx


def add_taps(wide: Values, products: Values, start: int, how: Geometry) -> None:
    """Add what each place in a window got to where it was in the padded input.

    Args:
        wide: the padded input, of shape (rows, *lengths, channels).
        products: what is added, of shape (*size, rows, *counts, channels).
        start: the number of the first window along the first spatial axis.
        how: how windows lie in the input.
    """
    axes = len(how.stride)
    size, counts = products.shape[:axes], products.shape[1 + axes : -1]
    for tap in np.ndindex(*size):
        found = wide[_cuts(tap, counts, how, start)]
        found += products[tap]


def _rows_of_block(y: Values) -> int:
    """Return of how many rows of the batch a block is."""
    return max(1, min(len(y), BLOCK_BYTES // max(1, y[:1].nbytes)))


def _repeated(weight: Values, count: int) -> Values:
    """Return the weights of each place in a kernel for ``count`` windows, (*size, count, outputs)."""
    shape = (*weight.shape[:-2], count, weight.shape[-1])
    return np.ascontiguousarray(np.broadcast_to(weight, shape))


def _put(wide: Values, x: Values, how: Geometry) -> None:
    """Put a part of the batch into its padding, each channel as often as it has outputs."""
    inside = wide[how.inside(x.shape[1:-1])]
    outputs, channels = wide.shape[-1], x.shape[-1]
    if outputs == channels:
        inside[...] = x
    else:
        inside[...] = np.repeat(x, outputs // channels, axis=-1)


def _cuts(tap: tuple[int, ...], counts: tuple[int, ...], how: Geometry, start: int = 0) -> Cuts:
    """Return the key of the numbers at one place in all windows."""
    cuts = [slice(None)]
    for axis, (place, count) in enumerate(zip(tap, counts, strict=True)):
        step, apart = how.stride[axis], how.dilation[axis]
        first = place * apart + (start * step if axis == 0 else 0)
        cuts.append(slice(first, first + (count - 1) * step + 1, step))
    return tuple(cuts)
