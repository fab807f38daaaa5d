"""Pooling along one axis of an array of shape (rows, length, width).

Pooling over several axes is pooling along one after the other: the largest of the largest, the sum of
the sums. That takes ``height + width`` passes over the numbers of a window instead of ``height *
width``. The last axis goes first: then of equal numbers the gradient goes to the first in the order of
rows, as it does in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nnbackend.core.types import Array, Context, Namespace

__all__ = ["Bins", "Stage", "Windows", "along_axes", "largest", "mean", "total"]

Pullback: TypeAlias = Callable[[Array], Array]

Stage: TypeAlias = Callable[[Array, int], tuple[Array, Pullback]]
"""``stage(x, axis) -> (y, pullback)`` for ``x`` of shape (rows, length, width): pools axis 1.

``axis`` is the number of the spatial axis that it stands for.
"""


@dataclass(frozen=True)
class Windows:
    """Windows at equal distances along an axis.

    Attributes:
        size: how many numbers are in a window.
        stride: the distance from one window to the next.
        dilation: the distance from one number of a window to the next.
    """

    size: int
    stride: int
    dilation: int = 1

    def parts(self, x: Array, ctx: Context) -> list[Array]:
        """Return the first numbers of all windows, the second, and so on: (rows, count, width) each."""
        span = self.dilation * (self.size - 1) + 1
        reach = (x.shape[1] - span) // self.stride * self.stride + 1
        starts = [j * self.dilation for j in range(self.size)]
        return [x[:, start : start + reach : self.stride, :] for start in starts]

    def adjoint(self, parts: Sequence[Array], length: int, ctx: Context) -> Array:
        """Return the gradient of an axis of that length for those of its parts."""
        return ctx.backend.places_adjoint(parts, length, self.stride, self.dilation)


@dataclass(frozen=True)
class Bins:
    """Bins that cover an axis: bin i goes from floor(i n / count) to ceil((i + 1) n / count).

    Attributes:
        count: the number of bins.
    """

    count: int

    def bounds(self, length: int) -> list[tuple[int, int]]:
        """Return where each bin begins and ends."""
        n, count = length, self.count
        return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]

    def places(self, length: int) -> list[list[int]]:
        """Return for each bin where its numbers are; shorter bins repeat their last."""
        bounds = self.bounds(length)
        longest = max(end - start for start, end in bounds)
        return [[min(start + j, end - 1) for start, end in bounds] for j in range(longest)]

    def parts(self, x: Array, ctx: Context) -> list[Array]:
        """Return the first numbers of all bins, the second, and so on: (rows, count, width) each."""
        xp, device = ctx.xp, ctx.backend.device
        indices = self.places(x.shape[1])
        return [
            xp.take(x, xp.asarray(index, dtype=xp.int32, device=device), axis=1)
            for index in indices
        ]

    def adjoint(self, parts: Sequence[Array], length: int, ctx: Context) -> Array:
        """Return the gradient of an axis of that length for those of its parts."""
        chosen = self.places(length)
        dx = None
        for part, index in zip(parts, chosen, strict=True):
            spread = [[float(place == p) for place in index] for p in range(length)]
            one = _matrix(spread, part, ctx) @ part
            dx = one if dx is None else dx + one
        return dx


def along_axes(x: Array, axes: int, stage: Stage, xp: Namespace) -> tuple[Array, Pullback]:
    """Return an array with one spatial axis after the other pooled, and the backward pass.

    Args:
        x: the array, of shape ``(batch, *lengths, channels)``.
        axes: how many spatial axes there are.
        stage: pools one axis.
        xp: the array namespace.
    """
    passed: list[tuple[Pullback, tuple[int, ...], tuple[int, ...]]] = []
    for axis in reversed(range(axes)):
        shape = tuple(x.shape)
        flat = xp.reshape(x, _around(shape, axis + 1))
        y, pullback = stage(flat, axis)
        passed.append((pullback, shape, tuple(y.shape)))
        x = xp.reshape(y, (*shape[: axis + 1], y.shape[1], *shape[axis + 2 :]))

    def backward(dy: Array) -> Array:
        for pullback, shape, flat_shape in reversed(passed):
            dy = xp.reshape(pullback(xp.reshape(dy, flat_shape)), shape)
        return dy

    return x, backward


def largest(how: Windows | Bins, x: Array, ctx: Context) -> tuple[Array, Pullback]:
    """Return the largest number of each window, and the backward pass, which gives it the gradient.

    Of equal numbers the first gets it. NaN is larger than any number.
    """
    xp = ctx.xp
    parts = how.parts(x, ctx)
    y = parts[0]
    for part in parts[1:]:
        y = xp.maximum(y, part)

    def backward(dy: Array) -> Array:
        found, rest = [], dy
        for part in parts[:-1]:
            own = rest * xp.astype(part == y, dy.dtype)
            rest = rest - own
            found.append(own)
        return how.adjoint([*found, rest], x.shape[1], ctx)

    return y, backward


def total(how: Windows, x: Array, ctx: Context) -> tuple[Array, Pullback]:
    """Return the sum of each window, and the backward pass: all its numbers get the gradient."""
    parts = how.parts(x, ctx)
    y = parts[0]
    for part in parts[1:]:
        y = y + part
    return y, lambda dy: how.adjoint([dy] * len(parts), x.shape[1], ctx)


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Return the shape of an array of three axes, an axis between those before and after it."""
    before, after = 1, 1
    for length in shape[:axis]:
        before *= length
    for length in shape[axis + 1 :]:
        after *= length
    return before, shape[axis], after


def mean(how: Bins, x: Array, ctx: Context) -> tuple[Array, Pullback]:
    """Return the mean of each bin, a product with a matrix, and the backward pass."""
    length = x.shape[1]
    bounds = how.bounds(length)
    rows = [[(a <= p < b) / (b - a) for p in range(length)] for a, b in bounds]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return _matrix(rows, x, ctx) @ x, lambda dy: _matrix(columns, dy, ctx) @ dy


def _matrix(rows: list[list[float]], like: Array, ctx: Context) -> Array:
    return ctx.xp.asarray(rows, dtype=like.dtype, device=ctx.backend.device)
