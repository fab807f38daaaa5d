"""Upsampling: numbers along the spatial axes repeated, or others put in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

from nnbackend.core.checks import check_choice, set_flag
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer, in_wide
from nnbackend.layers.pooling.stages import Pullback, Stage, along_axes
from nnbackend.layers.spatial import Sizes, set_channels, set_sizes

__all__ = ["Upsample1D", "Upsample2D", "Upsample3D"]

Terms: TypeAlias = tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
"""Sums of weighted numbers: for the first number of each sum, the second and so on, where they are and
their weights."""


@dataclass(frozen=True)
class Upsample(SpatialLayer):
    """Upsampling along any number of spatial axes; see :class:`Upsample2D`."""

    also: ClassVar[str] = "linear"
    """The other name of mode "linear"."""

    factor: int | Sizes = 2
    mode: str = "nearest"
    align_corners: bool = False
    channels: str = "last"

    def __post_init__(self) -> None:
        set_sizes(self, self.axes, "factor")
        check_choice("mode", self.mode, tuple(dict.fromkeys(("nearest", "linear", self.also))))
        set_flag(self, "align_corners")
        if self.align_corners and self.mode == "nearest":
            raise ValueError("align_corners must be False with mode='nearest'; got True")
        set_channels(self)

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the lengths times the factors."""
        return tuple(n * f for n, f in zip(lengths, self.factor, strict=True))  # type: ignore[arg-type]

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the larger array, and ``backward(dy) -> dx``."""
        return in_wide(x, ctx, lambda x: along_axes(x, self.axes, self._stage(ctx), ctx.xp))

    def _stage(self, ctx: Context) -> Stage:
        def stage(x: Array, axis: int) -> tuple[Array, Pullback]:
            factor: int = self.factor[axis]  # type: ignore[index]
            if factor == 1:
                return x, lambda dy: dy
            if self.mode == "nearest":
                return repeated(x, factor, ctx)
            return interpolated(x, factor, self.align_corners, ctx)

        return stage


def repeated(x: Array, factor: int, ctx: Context) -> tuple[Array, Pullback]:
    """Return each number along axis 1 ``factor`` times, and the backward pass: the sums of theirs."""
    xp, (rows, length, width) = ctx.xp, x.shape

    def backward(dy: Array) -> Array:
        return xp.sum(xp.reshape(dy, (rows, length, factor, width)), axis=2)

    return xp.repeat(x, factor, axis=1), backward


def interpolated(
    x: Array, factor: int, align_corners: bool, ctx: Context
) -> tuple[Array, Pullback]:
    """Return ``factor`` times as many numbers along axis 1, on lines between its own; and backward."""
    terms, adjoint = interpolation(x.shape[1], factor, align_corners)
    return weighted_sums(x, terms, ctx), lambda dy: weighted_sums(dy, adjoint, ctx)


def weighted_sums(x: Array, terms: Terms, ctx: Context) -> Array:
    """Return sums of numbers along axis 1 of an array of shape (rows, length, width)."""
    xp, device = ctx.xp, ctx.backend.device
    y = None
    for places, weights in terms:
        index = xp.asarray(places, dtype=xp.int32, device=device)
        weight = xp.reshape(xp.asarray(weights, dtype=x.dtype, device=device), (-1, 1))
        term = xp.take(x, index, axis=1) * weight
        y = term if y is None else y + term
    return y


@lru_cache(maxsize=64)
def interpolation(length: int, factor: int, align_corners: bool) -> tuple[Terms, Terms]:
    """Return the sums that linear interpolation consists of, and those of its adjoint.

    Number i of the output lies at ``(i + 1/2) / factor - 1/2`` of the input, or at the first number if
    that is before it; with ``align_corners`` at ``i (length - 1) / (factor length - 1)``. Both are
    computed in whole numbers, so that no place is rounded to another.

    Args:
        length: the length of the input's axis.
        factor: how many times as long the output's is.
        align_corners: whether the ends of both lie on each other.
    """
    count = factor * length
    forward: list[dict[int, float]] = []
    backward: list[dict[int, float]] = [{} for _ in range(length)]
    for i in range(count):
        if align_corners:
            number, divisor = i * (length - 1), count - 1
        else:
            number, divisor = max(2 * i + 1 - factor, 0), 2 * factor
        place, rest = divmod(number, divisor)
        share = rest / divisor
        parts = {place: 1.0 - share, place + 1: share}
        if not rest or place + 1 == length:
            parts = {place: 1.0}
        forward.append(parts)
        for at, weight in parts.items():
            backward[at][i] = weight
    return _terms(forward), _terms(backward)


def _terms(sums: Sequence[dict[int, float]]) -> Terms:
    """Return sums of equally many terms: those with fewer get the last once more, with weight 0."""
    longest = max(map(len, sums))
    rows = []
    for parts in sums:
        items = list(parts.items())
        rows.append(items + [(items[-1][0], 0.0)] * (longest - len(items)))
    return tuple(
        (tuple(row[k][0] for row in rows), tuple(row[k][1] for row in rows)) for k in range(longest)
    )


@register_layer
@dataclass(frozen=True)
class Upsample1D(Upsample):
    """Upsampling along one spatial axis: by a whole factor, nearest or linear.

    Nearest: ``y[i] = x[floor(i / f)]``.

    Linear: along each axis number i of the output lies at ``p = max((i + 1/2) / f - 1/2, 0)`` of
    the input, and ``y[i] = (1 - s) x[j] + s x[j + 1]`` with ``j = floor(p)`` and ``s = p - j``; beyond
    the last number y is the last. The backward pass is the adjoint: each number gets the gradients of
    those that it is part of, with the same weights.

    Shape: (batch, length, channels) → (batch, length', channels), with
    ``length' = factor * length``.

    Args:
        factor: how many times as long an axis becomes: a whole number, or one for each spatial axis.
            Default 2.
        mode: "nearest" (the default: numbers are repeated) or "linear" (between the two
            numbers beside it).
        align_corners: of mode "linear" only: whether the first and last numbers of input and output lie
            on each other, ``p = i (n - 1) / (f n - 1)`` for an axis of n numbers. Default False.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: a factor is below 1, or ``align_corners`` is given for mode "nearest"; when the
            network is built, if the input has other axes.

    Source: PyTorch's Upsample, Keras's UpSampling1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class Upsample2D(Upsample):
    """Upsampling along two spatial axes: by a whole factor, nearest or linear.

    Nearest: ``y[h, i] = x[floor(h / f), floor(i / f)]``.

    Linear: along each axis number i of the output lies at ``p = max((i + 1/2) / f - 1/2, 0)`` of
    the input, and ``y[i] = (1 - s) x[j] + s x[j + 1]`` with ``j = floor(p)`` and ``s = p - j``; beyond
    the last number y is the last. The backward pass is the adjoint: each number gets the gradients of
    those that it is part of, with the same weights.

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with
    ``length' = factor * length``.

    Args:
        factor: how many times as long an axis becomes: a whole number, or one for each spatial axis.
            Default 2.
        mode: "nearest" (the default: numbers are repeated) or "linear", in PyTorch
            "bilinear", which is also taken (between the numbers beside it, along one axis after the
            other).
        align_corners: of mode "linear" only: whether the first and last numbers of input and output lie
            on each other, ``p = i (n - 1) / (f n - 1)`` for an axis of n numbers. Default False.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: a factor is below 1, or ``align_corners`` is given for mode "nearest"; when the
            network is built, if the input has other axes.

    Source: PyTorch's Upsample, Keras's UpSampling2D.
    """

    axes: ClassVar[int] = 2
    also: ClassVar[str] = "bilinear"


@register_layer
@dataclass(frozen=True)
class Upsample3D(Upsample):
    """Upsampling along three spatial axes: by a whole factor, nearest or linear.

    Nearest: ``y[d, h, i] = x[floor(d / f), floor(h / f), floor(i / f)]``.

    Linear: along each axis number i of the output lies at ``p = max((i + 1/2) / f - 1/2, 0)`` of
    the input, and ``y[i] = (1 - s) x[j] + s x[j + 1]`` with ``j = floor(p)`` and ``s = p - j``; beyond
    the last number y is the last. The backward pass is the adjoint: each number gets the gradients of
    those that it is part of, with the same weights.

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = factor * length``.

    Args:
        factor: how many times as long an axis becomes: a whole number, or one for each spatial axis.
            Default 2.
        mode: "nearest" (the default: numbers are repeated) or "linear", in PyTorch
            "trilinear", which is also taken (between the numbers beside it, along one axis after the
            other).
        align_corners: of mode "linear" only: whether the first and last numbers of input and output lie
            on each other, ``p = i (n - 1) / (f n - 1)`` for an axis of n numbers. Default False.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: a factor is below 1, or ``align_corners`` is given for mode "nearest"; when the
            network is built, if the input has other axes.

    Source: PyTorch's Upsample, Keras's UpSampling3D.
    """

    axes: ClassVar[int] = 3
    also: ClassVar[str] = "trilinear"
