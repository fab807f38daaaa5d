"""Windows, sums over repeated rows and loops in functions of the array API standard alone.

Each is what :class:`~nnbackend.backends.base.Backend` does where a library has nothing better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Namespace, Shape

__all__ = [
    "check_count",
    "loop",
    "scatter_add",
    "window_counts",
    "window_strides",
    "windows",
    "windows_adjoint",
]

Sizes = tuple[int, ...]
"""A number for each spatial axis."""


def window_counts(shape: Shape, size: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    """Return the number of windows along each spatial axis.

    ``count = (length - dilation (size - 1) - 1) // stride + 1``

    Args:
        shape: (rows, *lengths, channels).
        size: the numbers in a window along each spatial axis.
        stride: the distance from one window to the next.
        dilation: the distance from one number of a window to the next.

    Raises:
        ValueError: they are not one positive number for each spatial axis, or no window fits.
    """
    lengths = shape[1:-1]
    for name, given in (("size", size), ("stride", stride), ("dilation", dilation)):
        if len(given) != len(lengths) or any(number < 1 for number in given):
            raise ValueError(
                f"{name} must have a positive number for each of the {len(lengths)} spatial axes of "
                f"an input of shape {shape}; got {given}"
            )
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    if any(length < span for length, span in zip(lengths, spans, strict=True)):
        raise ValueError(
            f"windows of {size} (dilation {dilation}) do not fit into an input of shape {shape}"
        )
    pairs = zip(lengths, spans, stride, strict=True)
    return tuple((length - span) // step + 1 for length, span, step in pairs)


def window_strides(strides: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    """Return the strides of a view (rows, *counts, *size, channels) on an array with ``strides``."""
    first, *spatial, last = strides
    outer = (s * step for s, step in zip(spatial, stride, strict=True))
    inner = (s * step for s, step in zip(spatial, dilation, strict=True))
    return (first, *outer, *inner, last)


def windows(x: Array, size: Sizes, stride: Sizes, dilation: Sizes, xp: Namespace) -> Array:
    """Return all windows of an array, axis by axis: a slice for each place in a window, stacked."""
    counts = window_counts(x.shape, size, stride, dilation)
    for axis in reversed(range(1, 1 + len(size))):  # so that more and more numbers stay together
        slices = [x[key] for key in _slices(axis, counts, size, stride, dilation)]
        x = xp.stack(slices, axis=1 + len(size))
    return x


def windows_adjoint(
    d: Array,
    shape: Shape,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    zeros: Callable[[Shape, Array], Array],
    add: Callable[[Array, Any, Array], Array],
) -> Array:
    """Return an array of shape ``shape`` with each window added to where it came from, axis by axis.

    ``zeros(shape, like)`` are zeros of the dtype of an array; ``add(x, key, values)`` is ``x`` with
    ``values`` added to ``x[key]``, and may change ``x``.
    """
    counts = window_counts(shape, size, stride, dilation)
    expected = (shape[0], *counts, *size, shape[-1])
    if tuple(d.shape) != expected:
        raise ValueError(
            f"the windows of an input of shape {shape} have shape {expected}, got {tuple(d.shape)}"
        )
    places = (slice(None),) * (1 + len(size))
    for axis in range(1, 1 + len(size)):
        lengths = (*shape[1 : axis + 1], *counts[axis:])
        wide = zeros((shape[0], *lengths, *size[axis:], shape[-1]), d)
        for place, key in enumerate(_slices(axis, counts, size, stride, dilation)):
            wide = add(wide, key, d[(*places, place, ...)])
        d = wide
    return d


def _slices(
    axis: int, counts: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
) -> Iterator[tuple[Any, ...]]:
    """Yield for each place in a window along an axis the key of the numbers there, in all windows."""
    count, step = counts[axis - 1], stride[axis - 1]
    for place in range(size[axis - 1]):
        start = place * dilation[axis - 1]
        cut = slice(start, start + (count - 1) * step + 1, step)
        yield (*(slice(None),) * axis, cut, ...)


def scatter_add(rows: int, index: Array, values: Array, xp: Namespace, device: Any) -> Array:
    """Return the sums of the values with the same index: they are sorted, then summed in pairs.

    Each sum takes its own values only, as a difference of cumulative sums would not. An index that is
    out of range makes a row NaN.
    """
    count = index.shape[0]
    in_range = (index >= 0) & (index < rows)
    missing = xp.asarray(math.nan, dtype=values.dtype, device=device)
    values = xp.where(in_range[:, None], values, missing)
    index = xp.where(in_range, index, xp.zeros_like(index))
    order = xp.argsort(index, stable=True)
    index, sums = xp.take(index, order), xp.take(values, order, axis=0)
    step = 1
    while step < count:  # each number becomes the sum of up to 2 step numbers that end there
        same = (index[step:] == index[:-step])[:, None]
        none = xp.zeros_like(sums[:-step, :])
        sums = xp.concat([sums[:step, :], sums[step:, :] + xp.where(same, sums[:-step, :], none)])
        step *= 2
    numbers = xp.arange(rows, dtype=index.dtype, device=device)
    end = xp.searchsorted(index, numbers, side="right")
    start = xp.searchsorted(index, numbers, side="left")
    zero = xp.zeros((1, values.shape[1]), dtype=values.dtype, device=device)
    # Of rows without values the last entry is taken, which is zero.
    last = xp.where(end > start, end - 1, xp.full_like(end, count))
    return xp.take(xp.concat([sums, zero]), last, axis=0)


def check_count(count: int) -> None:
    """Raise a ValueError for a loop that never runs: the shapes of its outputs are unknown."""
    if count < 1:
        raise ValueError(f"a loop must run at least 1 time; got count={count}")


def loop(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    count: int,
    reverse: bool,
    xp: Namespace,
) -> tuple[Any, Any]:
    """Run a loop in Python, and stack its outputs."""
    check_count(count)
    outputs = []
    for i in reversed(range(count)) if reverse else range(count):
        carry, output = body(carry, i)
        outputs.append(output)
    if reverse:
        outputs.reverse()
    return carry, map_arrays(lambda *arrays: xp.stack(arrays), *outputs)
