"""An array as a matrix with a column for each channel, for statistics over all other axes."""

from __future__ import annotations

import math

from nnbackend.core.checks import check_items, check_size
from nnbackend.core.types import Array, Context, Namespace, Shape
from nnbackend.errors import given

__all__ = ["ChannelMatrix", "axes_of", "check_axes"]

_ROW_NUMBERS = 1024  # in a row of a matrix: NumPy's loops are slow over shorter ones


def check_axes(value: object) -> int | tuple[int, ...]:
    """Return the axes of channels: a whole number, or several as a tuple.

    Raises:
        ValueError: it is something else, or one of them is 0, the axis of rows.
    """
    if not isinstance(value, tuple | list):
        axis = _check_axis(value)
        if axis == 0:
            raise ValueError("axis must not be 0, the axis of a batch's rows; the last is -1")
        return axis
    axes = tuple(map(_check_axis, check_items("axis", value, "a whole number or several")))
    if not axes or 0 in axes:
        raise ValueError(f"axis must name axes other than 0, that of rows; got {given(value)}")
    return axes


def _check_axis(value: object) -> int:
    negative = isinstance(value, int) and not isinstance(value, bool) and value < 0
    return value if negative else check_size("axis", value, 0)  # type: ignore[return-value]


def axes_of(axis: int | tuple[int, ...], input_shape: Shape) -> tuple[int, ...]:
    """Return the axes of channels of an input, counted from that of the rows, in order.

    Raises:
        ValueError: the input lacks one of them, or one is named twice.
    """
    rank = len(input_shape) + 1
    given_axes = axis if isinstance(axis, tuple) else (axis,)
    axes = sorted(a + rank if a < 0 else a for a in given_axes)
    if axes[0] < 1 or axes[-1] >= rank or len(set(axes)) < len(axes):
        raise ValueError(
            f"axis must name axes of an input (batch, {', '.join(map(str, input_shape))}) other than "
            f"that of the rows, each once; got {given(axis)}"
        )
    return tuple(axes)


class ChannelMatrix:
    """How an array becomes a matrix with a column for each channel, and back.

    Several values of each channel stand side by side in a row, so that rows are long: ``spread``
    repeats one number for each channel as often, ``sum`` adds up what stands side by side.

    Args:
        shape: of the array, with the rows of the batch first.
        axes: the axes of channels.

    Attributes:
        channels: how many there are.
        values: how many values each channel has.
        rows: how many rows of the matrix each row of the batch makes.
    """

    def __init__(self, shape: Shape, axes: tuple[int, ...]) -> None:
        others = [axis for axis in range(len(shape)) if axis not in axes]
        self._order = (*others, *axes)
        self._permuted = self._order != tuple(range(len(shape)))
        self._shape = tuple(shape[axis] for axis in self._order)
        self.channels = math.prod(shape[axis] for axis in axes)
        each = math.prod(shape[axis] for axis in others[1:])  # values of a row of the batch
        self.values = shape[0] * each
        self._copies = math.gcd(
            each, 1 << max(_ROW_NUMBERS // max(self.channels, 1), 1).bit_length() - 1
        )
        self.rows = each // self._copies

    def matrix(self, x: Array, xp: Namespace) -> Array:
        """Return the array as a matrix."""
        if self._permuted:
            x = xp.permute_dims(x, self._order)
        width = self._copies * self.channels
        return xp.reshape(x, (self._shape[0] * self.rows, width))

    def array(self, matrix: Array, xp: Namespace) -> Array:
        """Return a matrix as an array of the first shape."""
        x = xp.reshape(matrix, self._shape)
        if not self._permuted:
            return x
        return xp.permute_dims(x, tuple(map(self._order.index, range(len(self._order)))))

    def spread(self, numbers: Array, xp: Namespace) -> Array:
        """Return a number for each channel as a row of the matrix."""
        return numbers if self._copies == 1 else xp.tile(numbers, (self._copies,))

    def sum(self, matrix: Array, ctx: Context, weight: Array | None = None) -> Array:
        """Return the sum over each channel; ``weight`` has a factor for each row of the matrix."""
        if weight is not None:
            matrix = matrix * weight
        row = ctx.backend.sum_rows(matrix)
        if self._copies == 1:
            return row
        return ctx.xp.sum(ctx.xp.reshape(row, (self._copies, self.channels)), axis=0)
