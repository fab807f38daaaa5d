"""What layers compute that the array API standard lacks.

Each has an implementation in functions of the standard; a library that does better overrides it.

=================== ================================ ==============================================
method              for                              without a library's own
=================== ================================ ==============================================
``loop``            recurrent layers, accumulation   a loop in Python, its outputs stacked
``windows``         convolution and pooling          slices, stacked
``windows_adjoint`` their backward passes            slices, added to
``places_adjoint``  pooling's backward pass          slices, added to
``pad``             the same                         ends, concatenated
``scatter_add``     embeddings' gradients            values sorted by row, summed in pairs
``set_rows``        embeddings' lazy updates         the rows of a table looked up again
``convolution``     whole convolutions               None: a product with ``windows``
``sum_rows``        normalization                    a sum along the axis before the last
``convolution``     convolution                      a product with ``windows``
``erf``             GELU                             a rational approximation
``random_bits``     random numbers                   a counter-based generator
``random_mask``     dropout                          24 of the random bits, compared
=================== ================================ ==============================================

All of them may be used inside a step: compiled, and recorded by :mod:`nnbackend.backends.replay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

from nnbackend.backends import convolution
from nnbackend.backends.convolution import Geometry
from nnbackend.core import functional, random
from nnbackend.core.checks import check_size
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Namespace, Shape

__all__ = ["Primitives", "Pullback", "Sizes", "check_count", "window_counts"]

Sizes: TypeAlias = tuple[int, ...]
"""A number for each spatial axis."""

Pullback: TypeAlias = Callable[..., tuple[Array | None, Array]]
"""``pullback(dy, input_grad=True) -> (dx, dw)``: the gradients of a convolution."""


class Primitives:
    """The part of :class:`~nnbackend.backends.base.Backend` that layers compute with."""

    xp: Namespace
    device: Any
    dtype: Any
    slices_are_views: ClassVar[bool] = False
    """Whether ``x[a:b]`` shares memory with ``x``; then parameters live in one vector."""

    def loop(
        self,
        body: Callable[[Any, Any], tuple[Any, Any]],
        carry: Any,
        count: int,
        *,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        """Run ``carry, output = body(carry, i)`` for ``i`` from 0 to ``count - 1``, inside a step.

        Args:
            body: the function; its outputs are arrays, or tuples and dictionaries of arrays and None.
            carry: the input of the first call; arrays of the same shapes and dtypes are returned.
            count: the number of calls, at least 1.
            reverse: whether ``i`` goes from ``count - 1`` down to 0.

        Returns:
            the last carry, and the outputs, stacked along a new first axis in the order of ``i``.
        """
        check_count(count)
        outputs = []
        for i in reversed(range(count)) if reverse else range(count):
            carry, output = body(carry, i)
            outputs.append(output)
        if reverse:
            outputs.reverse()
        return carry, map_arrays(lambda *arrays: self.xp.stack(arrays), *outputs)

    def windows(
        self, x: Array, size: Sizes, stride: Sizes | None = None, dilation: Sizes | None = None
    ) -> Array:
        """Return all windows of an array, for convolutions and pooling; read only, it may be a view.

        ``y[n, i, j, a, b, c] = x[n, i stride + a dilation, j stride + b dilation, c]``, here for two
        spatial axes.

        Args:
            x: the array, of shape ``(rows, *lengths, channels)``; any padding is the caller's.
            size: the numbers in a window along each spatial axis.
            stride: the distance from one window to the next; None: 1 along each axis.
            dilation: the distance from one number of a window to the next; None: 1 along each axis.

        Returns:
            an array of shape ``(rows, *counts, *size, channels)``, with
            ``count = (length - dilation (size - 1) - 1) // stride + 1``.

        Raises:
            ValueError: no window fits, or the arguments do not have an entry for each spatial axis.
        """
        ones = (1,) * len(size)
        stride, dilation = stride or ones, dilation or ones
        return self._windows(
            x, window_counts(x.shape, size, stride, dilation), size, stride, dilation
        )

    def windows_adjoint(
        self,
        d: Array,
        shape: Shape,
        size: Sizes,
        stride: Sizes | None = None,
        dilation: Sizes | None = None,
    ) -> Array:
        """Return the gradient with respect to ``x`` for that of ``windows(x, ...)``.

        Each number of ``x`` gets the sum of the gradients of all places in windows that it is in.

        Args:
            d: the gradient, of the shape that :meth:`windows` returns.
            shape: the shape of ``x``.
            size: see :meth:`windows`, as the next two.
            stride: None: 1 along each axis.
            dilation: None: 1 along each axis.
        """
        ones = (1,) * len(size)
        shape, stride, dilation = tuple(shape), stride or ones, dilation or ones
        counts = window_counts(shape, size, stride, dilation)
        expected = (shape[0], *counts, *size, shape[-1])
        if tuple(d.shape) != expected:
            raise ValueError(
                f"the windows of an input of shape {shape} have shape {expected}, got {tuple(d.shape)}"
            )
        places = (slice(None),) * (1 + len(size))
        for axis in range(1, 1 + len(size)):
            lengths = (*shape[1 : axis + 1], *counts[axis:])
            wide = self._zeros((shape[0], *lengths, *size[axis:], shape[-1]), d)
            for place, key in enumerate(_slices(axis, counts, size, stride, dilation)):
                wide = self._add_at(wide, key, d[(*places, place, ...)])
            d = wide
        return d

    def places_adjoint(
        self, parts: Sequence[Array], length: int, stride: int, dilation: int
    ) -> Array:
        """Return the gradient of an array for those of the slices of it that windows are made of.

        ``part[j] = x[:, j dilation : ... : stride]`` has number j of each window along axis 1.

        Args:
            parts: the gradients of the slices, each of shape (rows, count, width).
            length: the length of axis 1 of the array, whose shape is (rows, length, width).
            stride: the distance from one window to the next.
            dilation: the distance from one number of a window to the next.
        """
        rows, count, width = parts[0].shape
        if stride == len(parts) and dilation == 1 and count * stride == length:
            return self.xp.reshape(self.xp.stack(parts, axis=2), (rows, length, width))
        dx = self._zeros((rows, length, width), parts[0])
        keys = _slices(1, (count,), (len(parts),), (stride,), (dilation,))
        for part, key in zip(parts, keys, strict=True):
            dx = self._add_at(dx, key, part)
        return dx

    def _windows(
        self, x: Array, counts: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
    ) -> Array:
        """Return all windows, axis by axis: a slice for each place in a window, stacked."""
        for axis in reversed(
            range(1, 1 + len(size))
        ):  # so that more and more numbers stay together
            slices = [x[key] for key in _slices(axis, counts, size, stride, dilation)]
            x = self.xp.stack(slices, axis=1 + len(size))
        return x

    def _zeros(self, shape: Shape, like: Array) -> Array:
        """Return zeros of the dtype of another array, from which a step may be computed on."""
        return self.xp.zeros(shape, dtype=like.dtype, device=self.device)

    def _add_at(self, x: Array, key: Any, values: Array) -> Array:
        """Return ``x`` with values added to ``x[key]``, a key of slices; ``x`` may be changed."""
        if self.slices_are_views:
            part = x[key]
            part += values
        else:
            x[key] += values
        return x

    def pad(self, x: Array, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
        """Return an array with one number put before and after along its spatial axes.

        Args:
            x: the array, of shape ``(rows, *lengths, channels)``.
            padding: how many numbers before and after along each spatial axis.
            value: the number; default 0.
        """
        for axis, (low, high) in enumerate(padding, 1):
            if low or high:
                before, after = (
                    self.xp.full(
                        (*x.shape[:axis], count, *x.shape[axis + 1 :]),
                        value,
                        dtype=x.dtype,
                        device=self.device,
                    )
                    for count in (low, high)
                )
                x = self.xp.concat([before, x, after], axis=axis)
        return x

    def scatter_add(self, rows: int, index: Array, values: Array) -> Array:
        """Return ``y`` with ``y[r]`` the sum of the values whose index is ``r``: the adjoint of a take.

        Args:
            rows: the number of rows of the result.
            index: integers from 0 to ``rows - 1``, of shape (count,), in any order, also repeated.
            values: floating-point numbers of shape (count, width).

        Returns:
            an array of shape (rows, width); rows that no index names are 0.

        Raises:
            IndexError: an index is out of range. Where it cannot be checked in time (in a compiled
                step, on a device), a row becomes NaN instead.
        """
        check_scatter(rows, index, values)
        # Values are sorted by index, then summed in pairs: each sum takes its own values only, as a
        # difference of cumulative sums would not.
        xp, device, count = self.xp, self.device, index.shape[0]
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
            sums = xp.concat(
                [sums[:step, :], sums[step:, :] + xp.where(same, sums[:-step, :], none)]
            )
            step *= 2
        numbers = xp.arange(rows, dtype=index.dtype, device=device)
        end = xp.searchsorted(index, numbers, side="right")
        start = xp.searchsorted(index, numbers, side="left")
        zero = xp.zeros((1, values.shape[1]), dtype=values.dtype, device=device)
        # Of rows without values the last entry is taken, which is zero.
        last = xp.where(end > start, end - 1, xp.full_like(end, count))
        return xp.take(xp.concat([sums, zero]), last, axis=0)

    def set_rows(self, table: Array, index: Array, values: Array) -> Array:
        """Return a table with other rows, which where slices are views is ``table``, changed in place.

        Args:
            table: an array of shape (rows, width).
            index: integers from 0 to ``rows - 1``, of shape (count,); where one is repeated, its values
                must be the same. ``count`` is 1 or more.
            values: the rows to put there, of shape (count, width).
        """
        if self.slices_are_views:
            table[index] = values
            return table
        xp, count = self.xp, index.shape[0]
        order = xp.argsort(index)
        index, values = xp.take(index, order), xp.take(values, order, axis=0)
        numbers = xp.arange(table.shape[0], dtype=index.dtype, device=self.device)
        place = xp.searchsorted(index, numbers)
        place = xp.where(place < count, place, xp.zeros_like(place))
        found = xp.take(index, place) == numbers
        return xp.where(found[:, None], xp.take(values, place, axis=0), table)

    def convolution(
        self,
        x: Array,
        weight: Array,
        stride: Sizes,
        padding: tuple[tuple[int, int], ...],
        dilation: Sizes,
        groups: int = 1,
    ) -> tuple[Array, Pullback]:
        """Return a convolution and its backward pass.

        ``y[n, i, j, o] = sum_{a, b, c} x[n, i stride + a dilation, j stride + b dilation, c]
        weight[a, b, c, o]`` for ``x`` padded with zeros: a product with :meth:`windows`.

        Args:
            x: the array, of shape ``(rows, *lengths, channels)``, with one to three spatial axes.
            weight: the weight, of shape ``(*size, channels / groups, outputs)``.
            stride: the distance from one window to the next along each spatial axis.
            padding: the number of zeros put before and after along each spatial axis.
            dilation: the distance from one number of a window to the next along each spatial axis.
            groups: the number of parts of channels and outputs, each with its own weights; default 1.

        Returns:
            ``y`` of shape ``(rows, *counts, outputs)``, and ``pullback(dy, input_grad=True)``, which
            returns the gradients of ``x`` (None without ``input_grad``) and ``weight``.
        """
        how = Geometry(stride, padding, dilation, groups)

        def pullback(dy: Array, input_grad: bool = True) -> tuple[Array | None, Array]:
            dw = self._weight_gradient(x, dy, weight.shape[:-2], how)
            if not input_grad:
                return None, dw
            return self._input_gradient(dy, weight, tuple(x.shape[1:-1]), how), dw

        return self._convolve(x, weight, how), pullback

    def transposed_convolution(
        self,
        x: Array,
        weight: Array,
        lengths: Sizes,
        stride: Sizes,
        padding: tuple[tuple[int, int], ...],
        dilation: Sizes,
        groups: int = 1,
    ) -> tuple[Array, Pullback]:
        """Return the adjoint of a convolution as a function, and its backward pass.

        ``y`` is what :meth:`convolution` of an input of these lengths gives for ``dx`` when ``dy`` is
        ``x``.

        Args:
            x: the array, of shape ``(rows, *counts, channels)``.
            weight: the weight, of shape ``(*size, outputs / groups, channels)``.
            lengths: the lengths of the spatial axes of ``y``, for which a convolution gives ``counts``.
            stride: see :meth:`convolution`, as the next three.
            padding: what is cut off ``y`` before and after.
            dilation: the distance from one number of a window to the next.
            groups: the number of parts of channels and outputs.

        Returns:
            ``y`` of shape ``(rows, *lengths, outputs)``, and the pullback as of :meth:`convolution`.
        """
        how = Geometry(stride, padding, dilation, groups)

        def pullback(dy: Array, input_grad: bool = True) -> tuple[Array | None, Array]:
            dw = self._weight_gradient(dy, x, weight.shape[:-2], how)
            return (self._convolve(dy, weight, how) if input_grad else None), dw

        return self._input_gradient(x, weight, lengths, how), pullback

    def _convolve(self, x: Array, weight: Array, how: Geometry) -> Array:
        return convolution.convolve(self, x, weight, how)

    def _input_gradient(self, dy: Array, weight: Array, lengths: Sizes, how: Geometry) -> Array:
        return convolution.input_gradient(self, dy, weight, lengths, how)

    def _weight_gradient(self, x: Array, dy: Array, size: Sizes, how: Geometry) -> Array:
        return convolution.weight_gradient(self, x, dy, size, how)

    def add_to_channels(self, x: Array, values: Array) -> Array:
        """Return ``x`` with one number added to each channel, the last axis; ``x`` may be changed."""
        x += values
        return x

    def channel_sums(self, x: Array) -> Array:
        """Return the sum of each channel, the last axis; of 16 bits in the dtype of parameters."""
        wide = self.dtype if functional.is_half(x.dtype) else None
        return self.xp.sum(x, axis=tuple(range(len(x.shape) - 1)), dtype=wide)

    def sum_rows(self, x: Array) -> Array:
        """Return the sum over the rows of a matrix, or of each of several matrices."""
        return self.xp.sum(x, axis=-2)

    def erf(self, x: Array) -> Array:
        """Return the error function of each element."""
        return functional.erf(x, self.xp)

    def random_bits(self, key: tuple[int, int], step: Any, count: int, first: Any = 0) -> Array:
        """Return words of random bits; see :func:`nnbackend.core.random.bits`."""
        return random.bits(key, step, count, self.xp, self.device, first)

    def random_mask(
        self, key: tuple[int, int], step: Any, like: Array, threshold: int, first: Any = 0
    ) -> Array:
        """Return zeros and ones: a zero where a random number of 24 bits is below the threshold.

        Args:
            key: see :func:`nnbackend.core.random.bits`, as ``step`` and ``first``.
            step: the number of the step.
            like: an array of the shape and dtype of the mask.
            threshold: the threshold, from 0 to 2**24.
            first: the number of the first word of random bits.
        """
        words = random.uniform_bits24(key, step, math.prod(like.shape), self, first)
        return self.xp.reshape(self.xp.astype(words >= threshold, like.dtype), like.shape)


def window_counts(shape: Shape, size: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    """Return the number of windows along each spatial axis.

    ``count = (length - dilation (size - 1) - 1) // stride + 1``

    Args:
        shape: ``(rows, *lengths, channels)``.
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


def _slices(
    axis: int, counts: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
) -> Iterator[tuple[Any, ...]]:
    """Yield for each place in a window along an axis the key of the numbers there, in all windows."""
    count, step = counts[axis - 1], stride[axis - 1]
    for place in range(size[axis - 1]):
        start = place * dilation[axis - 1]
        cut = slice(start, start + (count - 1) * step + 1, step)
        yield (*(slice(None),) * axis, cut, ...)


def check_scatter(rows: int, index: Array, values: Array) -> None:
    """Raise a ValueError for arrays that ``scatter_add`` cannot add up."""
    check_size("scatter_add: rows", rows)
    if len(index.shape) != 1 or len(values.shape) != 2 or index.shape[0] != values.shape[0]:
        raise ValueError(
            "scatter_add: index must have the shape (count,) and values (count, width); got "
            f"{tuple(index.shape)} and {tuple(values.shape)}"
        )


def check_count(count: int) -> None:
    """Raise a ValueError for a loop that never runs: the shapes of its outputs are unknown."""
    if count < 1:
        raise ValueError(f"a loop must run at least 1 time; got count={count}")
