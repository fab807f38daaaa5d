"""Convolutions as products with windows, on any backend.

A convolution is linear in its input and in its weight. So there are three functions: the convolution
itself, and its adjoints with respect to the input and to the weight. The forward pass of a transposed
convolution is the adjoint with respect to the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from nnbackend.core.types import Array, Shape

if TYPE_CHECKING:
    from nnbackend.backends.primitives import Primitives, Sizes

__all__ = ["Geometry", "convolve", "input_gradient", "weight_gradient"]


class Geometry(NamedTuple):
    """How windows lie in an input.

    Attributes:
        stride: the distance from one window to the next along each spatial axis.
        padding: the number of zeros put before and after along each spatial axis.
        dilation: the distance from one number of a window to the next along each spatial axis.
        groups: the number of parts of channels and outputs, each with its own weights.
    """

    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes
    groups: int = 1

    def padded(self, lengths: Sizes) -> Sizes:
        """Return the lengths of spatial axes with their padding."""
        sides = zip(lengths, self.padding, strict=True)
        return tuple(low + length + high for length, (low, high) in sides)

    def inside(self, lengths: Sizes) -> tuple[Any, ...]:
        """Return the key of a batch's numbers within the padding."""
        sides = zip(lengths, self.padding, strict=True)
        return (slice(None), *(slice(low, low + length) for length, (low, _) in sides), ...)


def convolve(backend: Primitives, x: Array, weight: Array, how: Geometry) -> Array:
    """Return a convolution, of shape (rows, *counts, outputs).

    Args:
        backend: the backend.
        x: the array, of shape (rows, *lengths, channels).
        weight: the weight, of shape (*size, channels / groups, outputs).
        how: how windows lie in ``x``.
    """
    windows = _windows(backend, x, weight.shape[:-2], how)
    axes, (rows, outputs) = len(how.stride), (x.shape[0], weight.shape[-1])
    y = _matrices(backend, windows, how.groups) @ _weights(backend, weight, how.groups)
    return _from_matrices(backend, y, (rows, *windows.shape[1 : 1 + axes], outputs), how.groups)


def input_gradient(
    backend: Primitives, dy: Array, weight: Array, lengths: Sizes, how: Geometry
) -> Array:
    """Return the gradient with respect to ``x``, of shape (rows, *lengths, channels), for that of y.

    Args:
        backend: the backend.
        dy: the gradient, of shape (rows, *counts, outputs).
        weight: the weight, of shape (*size, channels / groups, outputs).
        lengths: the lengths of the spatial axes of ``x``.
        how: how windows lie in ``x``.
    """
    xp, axes, size = backend.xp, len(how.stride), weight.shape[:-2]
    channels = weight.shape[-2] * how.groups
    weights = xp.matrix_transpose(_weights(backend, weight, how.groups))
    d = _outputs(backend, dy, how.groups) @ weights  # (groups, rows counts, size channels)
    d = xp.reshape(d, (how.groups, *dy.shape[: 1 + axes], *size, weight.shape[-2]))
    last = 1 + 2 * axes
    d = xp.permute_dims(d, (*range(1, last + 1), 0, last + 1))
    d = xp.reshape(d, (*dy.shape[: 1 + axes], *size, channels))
    shape = (dy.shape[0], *how.padded(lengths), channels)
    return backend.windows_adjoint(d, shape, size, how.stride, how.dilation)[how.inside(lengths)]


def weight_gradient(backend: Primitives, x: Array, dy: Array, size: Sizes, how: Geometry) -> Array:
    """Return the gradient with respect to the weight, (*size, channels / groups, outputs).

    Args:
        backend: the backend.
        x: the array, of shape (rows, *lengths, channels).
        dy: the gradient, of shape (rows, *counts, outputs).
        size: the numbers in a window along each spatial axis.
        how: how windows lie in ``x``.
    """
    xp, groups, outputs = backend.xp, how.groups, dy.shape[-1]
    windows = _matrices(backend, _windows(backend, x, size, how), groups)
    d = xp.matrix_transpose(windows) @ _outputs(backend, dy, groups)  # (groups, size channels, ...)
    shape = (*size, x.shape[-1] // groups, outputs)
    return xp.reshape(xp.permute_dims(d, (1, 0, 2)), shape)


def _windows(backend: Primitives, x: Array, size: Sizes, how: Geometry) -> Array:
    wide = backend.pad(x, how.padding) if any(map(any, how.padding)) else x
    return backend.windows(wide, size, how.stride, how.dilation)


def _matrices(backend: Primitives, windows: Array, groups: int) -> Array:
    """Return windows as rows of a matrix for each group, (groups, rows counts, size channels)."""
    xp, shape = backend.xp, windows.shape
    axes, inner = (len(shape) - 2) // 2, shape[-1] // groups
    parts = (
        xp.reshape(windows, (*shape[:-1], groups, inner)) if groups > 1 else windows[..., None, :]
    )
    last = len(shape) - 1
    parts = xp.permute_dims(parts, (last, *range(last), last + 1))
    count = math.prod(shape[: 1 + axes])
    return xp.reshape(parts, (groups, count, math.prod(shape[1 + axes : -1]) * inner))


def _weights(backend: Primitives, weight: Array, groups: int) -> Array:
    """Return the weight as a matrix for each group, (groups, size channels, outputs / groups)."""
    count, outputs = math.prod(weight.shape[:-1]), weight.shape[-1]
    matrices = backend.xp.reshape(weight, (count, groups, outputs // groups))
    return backend.xp.permute_dims(matrices, (1, 0, 2))


def _outputs(backend: Primitives, y: Array, groups: int) -> Array:
    """Return an output as a matrix for each group, (groups, rows counts, outputs / groups)."""
    count, outputs = math.prod(y.shape[:-1]), y.shape[-1]
    matrices = backend.xp.reshape(y, (count, groups, outputs // groups))
    return backend.xp.permute_dims(matrices, (1, 0, 2))


def _from_matrices(backend: Primitives, y: Array, shape: Shape, groups: int) -> Array:
    """Return the matrices of all groups as an output of that shape."""
    return backend.xp.reshape(backend.xp.permute_dims(y, (1, 0, 2)), shape)
