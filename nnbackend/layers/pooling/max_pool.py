"""The largest number of each window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import WindowPooling
from nnbackend.layers.pooling.stages import Pullback, Windows, largest
from nnbackend.layers.spatial import Padding, Sizes

__all__ = ["MaxPool1D", "MaxPool2D", "MaxPool3D"]


@dataclass(frozen=True)
class MaxPooling(WindowPooling):
    """Max pooling over any number of spatial axes; see :class:`MaxPool2D`."""

    outside: ClassVar[float] = float("-inf")

    size: int | Sizes
    stride: int | Sizes | None = None
    padding: Padding = "valid"
    dilation: int | Sizes = 1
    channels: str = "last"

    def __post_init__(self) -> None:
        self._check_fields()

    def pool(self, how: Windows, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the largest numbers."""
        return largest(how, x, ctx)


@register_layer
@dataclass(frozen=True)
class MaxPool1D(MaxPooling):
    """The largest number of each window over one spatial axis.

    ``y[i] = max over a of x[i s + a d]``. In the backward pass the largest number of a window gets its
    gradient; of equal ones the first in the order of rows. NaN is larger than any number.

    Shape: (batch, length, channels) → (batch, length', channels), with ``length' =
    (length + padding - dilation (size - 1) - 1) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid". It counts as
            minus infinity.
        dilation: the distance from one number of a window to the next; default 1.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's MaxPool1d (without ceil_mode), Keras's MaxPooling1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class MaxPool2D(MaxPooling):
    """The largest number of each window over two spatial axes.

    ``y[i, j] = max over a, b of x[i s + a d, j s + b d]``. In the backward pass the largest number of
    a window gets its gradient; of equal ones the first in the order of rows. NaN is larger than any
    number.

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with ``length' =
    (length + padding - dilation (size - 1) - 1) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid". It counts as
            minus infinity.
        dilation: the distance from one number of a window to the next; default 1.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's MaxPool2d (without ceil_mode), Keras's MaxPooling2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class MaxPool3D(MaxPooling):
    """The largest number of each window over three spatial axes.

    ``y[h, i, j] = max over a, b, c of x[h s + a d, i s + b d, j s + c d]``. In the backward pass the
    largest number of a window gets its gradient; of equal ones the first in the order of rows. NaN is
    larger than any number.

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = (length + padding - dilation (size - 1) - 1) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid". It counts as
            minus infinity.
        dilation: the distance from one number of a window to the next; default 1.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's MaxPool3d (without ceil_mode), Keras's MaxPooling3D.
    """

    axes: ClassVar[int] = 3
