"""NumPy, on the CPU."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import array_api_compat.numpy
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nnbackend.backends import host_convolution
from nnbackend.backends.base import Backend, Forward, register_namespace
from nnbackend.backends.convolution import Geometry
from nnbackend.backends.primitives import Sizes, check_scatter, window_counts
from nnbackend.backends.replay.program import Program
from nnbackend.backends.replay.recorded_array import RecordedArray, written
from nnbackend.backends.replay.recording import MapArrays
from nnbackend.backends.replay.replayed import ReplayedForward, replayed_step
from nnbackend.core.functional import is_half
from nnbackend.core.precision import Precision
from nnbackend.core.types import Array, Arrays, Layer, Namespace, Shape, Step
from nnbackend.errors import BackendUnavailableError

_add: Any = np.add
_maximum: Any = np.maximum


def _sum(x: Array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
    return _add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _max(x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    return _maximum.reduce(x, axis=axis, keepdims=keepdims)


def _asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Array:
    if not isinstance(x, RecordedArray):
        return array_api_compat.numpy.asarray(x, dtype=dtype, device=device, copy=copy)
    # NumPy's would take the array out of the recording.
    return x.astype(x.dtype if dtype is None else np.dtype(dtype), copy=bool(copy))


def _lean(namespace: Namespace) -> Namespace:
    """Return the namespace with the reductions of a training step straight from their ufuncs.

    ``np.sum`` and ``np.max`` call the same loops, but through a microsecond of Python. And ``asarray``
    leaves an array that is being recorded in the recording.
    """
    lean = ModuleType(namespace.__name__, namespace.__doc__)
    vars(lean).update(vars(namespace), sum=_sum, max=_max, asarray=_asarray)
    return lean


xp = _lean(array_api_compat.numpy)
register_namespace(np.ndarray, xp)
register_namespace(RecordedArray, xp)


class NumPyBackend(Backend):
    """NumPy, on the CPU."""

    name = "numpy"
    distribution = "numpy"
    install = "pip install numpy"
    slices_are_views = True
    block_bytes: ClassVar[int] = 1 << 21  # stays in the cache until it is used
    forward_bytes: ClassVar[int | None] = 1 << 23
    # 64 Ki numbers of a parameter, its gradient and the optimizer's averages fit in a 2 MB L2 cache.
    chunk: ClassVar[int | None] = 1 << 16

    def _namespace(self) -> Namespace:
        return xp

    def _device(self, device: Any) -> Any:
        if device is not None and not (isinstance(device, str) and device == "cpu"):
            raise BackendUnavailableError(f"NumPy computes on the CPU only; got device={device!r}")
        return "cpu"

    def unsupported_reason(self, precision: Precision) -> str:
        """Return why NumPy does not have a precision. It has float16, though slowly, without BLAS."""
        if precision.half == "bfloat16":
            return "it has no bfloat16; torch and jax do, also on the CPU"
        return super().unsupported_reason(precision)

    def owns(self, x: Any) -> bool:
        return isinstance(x, np.ndarray) and x.dtype.kind in "biuf"

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        if type(x) is np.ndarray and x.dtype == (self.dtype if dtype is None else dtype):
            return x
        return super().asarray(x, dtype)

    def scan(
        self,
        step: Step,
        map_carry: MapArrays | None = None,
        step_on: Callable[[Backend], Step] | None = None,
        parts: tuple[Any, ...] = (),
    ) -> Callable[..., tuple[Any, Any, Any, Arrays | None]]:
        """Return the loop over steps; one that may be recorded is, after some steps."""
        if map_carry is not None:
            step = replayed_step(step, map_carry, self.dtype, partial(Program, parts=parts))
        return super().scan(step)

    def compile_forward(self, forward: Callable[..., Arrays], layers: Layer) -> Forward:
        """Return the forward pass; on few rows, again and again, it is played from a recording."""
        return ReplayedForward(forward, layers)

    @property
    def in_host_memory(self) -> bool:
        return True

    def host_view(self, x: Any) -> np.ndarray[Any, Any] | None:
        return x if self.owns(x) else super().host_view(x)

    def take_rows(self, x: Array, rows: Array, out: Array | None = None) -> Array:
        """Return rows by number; with ``out`` in its memory: new memory costs as much as the rows."""
        if out is None:
            return np.take(x, rows, axis=0)
        out = out[: len(rows)]
        if x.flags.c_contiguous:
            # Told to raise an error, it would not write where the result goes.
            return np.take(x, rows, axis=0, out=out, mode="clip")
        out[...] = x[rows]  # `take` would copy all of x first
        return out

    def concat_rows(self, parts: Iterable[Array], rows: int | None = None) -> Array:
        """Return arrays of successive rows as one; with ``rows``, put in their places as they come."""
        if rows is None:
            return super().concat_rows(parts)
        result: Any = None
        done = 0
        for part in parts:
            if result is None:
                result = np.empty((rows, *part.shape[1:]), dtype=part.dtype)
            result[done : done + len(part)] = part
            done += len(part)
        return result

    def _windows(
        self, x: Array, counts: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
    ) -> Array:
        spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
        axes = tuple(range(1, x.ndim - 1))
        view = sliding_window_view(x, spans, axes)  # (rows, *starts, channels, *spans)
        outer = tuple(slice(None, None, step) for step in stride)
        inner = tuple(slice(None, None, step) for step in dilation)
        return np.moveaxis(view[(slice(None), *outer, slice(None), *inner)], x.ndim - 1, -1)

    def _zeros(self, shape: Shape, like: Array) -> Array:
        return np.zeros_like(like, shape=shape)  # of a recorded array it is a recorded array

    def pad(self, x: Array, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
        sides = zip(x.shape[1:-1], padding, strict=True)
        lengths = [low + length + high for length, (low, high) in sides]
        wide = self._zeros((x.shape[0], *lengths, x.shape[-1]), x)
        if value != 0.0:
            wide += value
        pairs = zip(x.shape[1:-1], padding, strict=True)
        inside = [slice(low, low + length) for length, (low, _) in pairs]
        wide[(slice(None), *inside)] = x
        return wide

    def sum_rows(self, x: Array) -> Array:
        """Return the sum over the rows of a matrix, or of each of several.

        As a product: NumPy adds up short rows one by one, fifteen times slower.
        """
        return (xp.ones((1, x.shape[-2]), dtype=x.dtype) @ x)[..., 0, :]

    def _convolve(self, x: Array, weight: Array, how: Geometry) -> Array:
        counts = window_counts(
            (len(x), *how.padded(x.shape[1:-1]), 1), weight.shape[:-2], how.stride, how.dilation
        )
        shape = (len(x), *counts, weight.shape[-1])
        return written(host_convolution.convolve, (x, weight), shape, how)

    def _input_gradient(self, dy: Array, weight: Array, lengths: Sizes, how: Geometry) -> Array:
        shape = (len(dy), *lengths, weight.shape[-2] * how.groups)
        return written(host_convolution.input_gradient, (dy, weight), shape, how)

    def _weight_gradient(self, x: Array, dy: Array, size: Sizes, how: Geometry) -> Array:
        shape = (*size, x.shape[-1] // how.groups, dy.shape[-1])
        return written(host_convolution.weight_gradient, (x, dy), shape, how)

    def add_to_channels(self, x: Array, values: Array) -> Array:
        if x.flags.c_contiguous:  # numbers that are side by side, in long rows
            rows = np.reshape(x, (math.prod(x.shape[:-2]), x.shape[-2] * x.shape[-1]))
            rows += np.tile(values, x.shape[-2])
            return x
        return super().add_to_channels(x, values)

    def channel_sums(self, x: Array) -> Array:
        if is_half(x.dtype):
            return super().channel_sums(x)
        rows = np.reshape(x, (math.prod(x.shape[:-2]), x.shape[-2] * x.shape[-1]))
        return _add.reduce(np.reshape(_add.reduce(rows, axis=0), x.shape[-2:]), axis=0)

    def scatter_add(self, rows: int, index: Array, values: Array) -> Array:
        """Return the sums of values with the same index, by ``add.at`` on a flat array."""
        check_scatter(rows, index, values)
        width = values.shape[1]
        y = self._zeros((rows * width,), values)
        # What is negative would count from the end; beyond the end NumPy raises an IndexError.
        first = np.where(index < 0, rows, index) * np.asarray(width, dtype=np.intp)
        places = first[:, None] + np.arange(width)
        try:
            _add.at(y, np.reshape(places, (-1,)), np.reshape(values, (-1,)))
        except IndexError:
            wrong = index[(index < 0) | (index >= rows)][0]
            raise IndexError(
                f"scatter_add: index must hold numbers from 0 to {rows - 1}, got {wrong}"
            ) from None
        return np.reshape(y, (rows, width))

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context without NumPy's warnings: overflow shows in results, and fit says so."""
        return np.errstate(all="ignore")

    def fetch(self, numbers: Any) -> np.ndarray[Any, Any]:
        return np.asarray(numbers, dtype=np.float64)
