"""The norm of each window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import ClassVar

from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import WindowPooling, in_wide
from nnbackend.layers.pooling.stages import Pullback, Windows
from nnbackend.layers.spatial import Padding, Sizes

__all__ = ["LpPool1D", "LpPool2D", "LpPool3D"]


@dataclass(frozen=True)
class LpPooling(WindowPooling):
    """Pooling by a norm over any number of spatial axes; see :class:`LpPool2D`."""

    size: int | Sizes
    stride: int | Sizes | None = None
    padding: Padding = "valid"
    p: float = 2.0
    channels: str = "last"

    def __post_init__(self) -> None:
        self._check_fields()
        set_number(self, "p", 1.0)

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the norms, and the backward pass."""
        return in_wide(x, ctx, lambda x: super(LpPooling, self).transform(x, ctx))

    def pool(self, how: Windows, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the norm of each window along an axis; the norm of such norms is that of all.

        Numbers are divided by the largest of their window, so that no power overflows or vanishes.
        """
        xp, p = ctx.xp, self.p
        parts = how.parts(x, ctx)
        sizes = [xp.abs(part) for part in parts]
        unit = reduce(xp.maximum, sizes)
        unit = xp.where(unit > 0.0, unit, xp.ones_like(unit))
        y = unit * reduce(add, [(size / unit) ** p for size in sizes]) ** (1.0 / p)

        def backward(dy: Array) -> Array:
            base = xp.where(y > 0.0, y, xp.ones_like(y))
            shares = [
                dy * xp.sign(part) * (size / base) ** (p - 1.0)
                for part, size in zip(parts, sizes, strict=True)
            ]
            return how.adjoint(shares, x.shape[1], ctx)

        return y, backward


@register_layer
@dataclass(frozen=True)
class LpPool1D(LpPooling):
    """The p-norm of each window over one spatial axis.

    ``y[i] = (sum over a of |x[i s + a]| ** p) ** (1 / p)``. ``dx = dy * sign(x) * (|x| / y) ** (p -
    1)``, 0 where y is 0. (PyTorch takes no absolute values: for odd p it differs where numbers are
    negative, and gives NaN where their sum is.)

    Shape: (batch, length, channels) → (batch, length', channels), with ``length' =
    (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        p: the norm's number, at least 1: 1 is the sum of absolute values; default 2.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: ``p`` or a size is below 1 or padding negative; when the network is built, if the
            input has other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's LPPool1d.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class LpPool2D(LpPooling):
    """The p-norm of each window over two spatial axes.

    ``y[i, j] = (sum over a, b of |x[i s + a, j s + b]| ** p) ** (1 / p)``. ``dx = dy * sign(x) * (|x|
    / y) ** (p - 1)``, 0 where y is 0. (PyTorch takes no absolute values: for odd p it differs where
    numbers are negative, and gives NaN where their sum is.)

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with ``length' =
    (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        p: the norm's number, at least 1: 1 is the sum of absolute values; default 2.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``p`` or a size is below 1 or padding negative; when the network is built, if the
            input has other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's LPPool2d.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class LpPool3D(LpPooling):
    """The p-norm of each window over three spatial axes.

    ``y[h, i, j] = (sum over a, b, c of |x[h s + a, i s + b, j s + c]| ** p) ** (1 / p)``. ``dx = dy *
    sign(x) * (|x| / y) ** (p - 1)``, 0 where y is 0. (PyTorch takes no absolute values: for odd p it
    differs where numbers are negative, and gives NaN where their sum is.)

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        p: the norm's number, at least 1: 1 is the sum of absolute values; default 2.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: ``p`` or a size is below 1 or padding negative; when the network is built, if the
            input has other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's LPPool3d.
    """

    axes: ClassVar[int] = 3
