"""What layers compute that the array API standard lacks.

Each has an implementation in functions of the standard; a library that does better overrides it.

=================== ================================ ==============================================
method              for                              without a library's own
=================== ================================ ==============================================
``loop``            recurrent layers, accumulation   a loop in Python, its outputs stacked
``windows``         convolution and pooling          slices, stacked
``windows_adjoint`` their backward passes            slices, added to
``scatter_add``     embeddings' gradients            values sorted by row, summed in pairs
``convolution``     whole convolutions               None: a product with ``windows``
``erf``             GELU                             a rational approximation
``random_bits``     random numbers                   a counter-based generator
``random_mask``     dropout                          24 of the random bits, compared
=================== ================================ ==============================================

All of them may be used inside a step: compiled, and recorded by :mod:`nnbackend.backends.replay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from nnbackend.backends import portable
from nnbackend.backends.portable import Sizes
from nnbackend.core import functional, random
from nnbackend.core.types import Array, Namespace, Shape

__all__ = ["Primitives", "Pullback"]

Pullback: TypeAlias = Callable[..., tuple[Array | None, Array]]
"""``pullback(dy, input_grad=True) -> (dx, dw)``: the gradients of a convolution."""


class Primitives:
    """The part of :class:`~nnbackend.backends.base.Backend` that layers compute with."""

    xp: Namespace
    device: Any
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
        return portable.loop(body, carry, count, reverse, self.xp)

    def windows(
        self, x: Array, size: Sizes, stride: Sizes | None = None, dilation: Sizes | None = None
    ) -> Array:
        """Return all windows of an array, for convolutions and pooling; read only, it may be a view.

        ``y[n, i, j, a, b, c] = x[n, i stride + a dilation, j stride + b dilation, c]``, here for two
        spatial axes.

        Args:
            x: the array, of shape (rows, *lengths, channels); any padding is the caller's.
            size: the numbers in a window along each spatial axis.
            stride: the distance from one window to the next; None: 1 along each axis.
            dilation: the distance from one number of a window to the next; None: 1 along each axis.

        Returns:
            an array of shape (rows, *counts, *size, channels), with
            ``count = (length - dilation (size - 1) - 1) // stride + 1``.

        Raises:
            ValueError: no window fits, or the arguments do not have an entry for each spatial axis.
        """
        ones = (1,) * len(size)
        return self._windows(x, size, stride or ones, dilation or ones)

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
        return portable.windows_adjoint(
            d, tuple(shape), size, stride or ones, dilation or ones, self._zeros, self._add_at
        )

    def _windows(self, x: Array, size: Sizes, stride: Sizes, dilation: Sizes) -> Array:
        return portable.windows(x, size, stride, dilation, self.xp)

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
        return portable.scatter_add(rows, index, values, self.xp, self.device)

    def convolution(
        self,
        x: Array,
        weight: Array,
        stride: Sizes,
        padding: tuple[tuple[int, int], ...],
        dilation: Sizes,
        groups: int = 1,
    ) -> tuple[Array, Pullback] | None:
        """Return a convolution and its backward pass if the library has whole convolutions, else None.

        ``y[n, i, j, o] = sum_{a, b, c} x[n, i stride + a dilation, j stride + b dilation, c]
        weight[a, b, c, o]`` for ``x`` padded with zeros: a product with :meth:`windows`.

        Args:
            x: the array, of shape (rows, *lengths, channels), with one to three spatial axes.
            weight: the weight, of shape (*size, channels / groups, outputs).
            stride: the distance from one window to the next along each spatial axis.
            padding: the number of zeros put before and after along each spatial axis.
            dilation: the distance from one number of a window to the next along each spatial axis.
            groups: the number of parts of channels and outputs, each with its own weights; default 1.

        Returns:
            ``y`` of shape (rows, *counts, outputs), and ``pullback(dy, input_grad=True) -> (dx, dw)``:
            the gradients of ``x`` (None without ``input_grad``) and ``weight``.
        """
        return None

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
