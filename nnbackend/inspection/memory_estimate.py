"""How much memory a network's work takes, counted on the host.

The passes and the optimizer's update themselves are run with NumPy, on arrays as large as the backend's
would be, and the memory is counted: of passes on batches of some 16 and some 48 rows, whose peaks differ
by the rows between, and of an update of parameters of those shapes, scaled down if they are large. So
mixed precision counts as what it is: parameters, the optimizer's arrays and gradients for the update in
float32; copies of parameters, activations and gradients inside the pass in 16 bits.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import tracemalloc
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core import random
from nnbackend.core.precision import Precision
from nnbackend.core.tree import leaves, tree_map
from nnbackend.core.types import Array, Context, Layer, Params, Shape
from nnbackend.layers.mixed_precision import Mixed, computed
from nnbackend.losses import Loss
from nnbackend.optimizers import LBFGS, Optimizer
from nnbackend.training.accumulation import gradients
from nnbackend.training.layout import layout_for

__all__ = ["Footprint", "parameter_bytes", "predicting", "training"]

_FEW, _MORE = 16, 48  # rows, or a few more
_MOST = 1 << 28  # parameters; beyond, the gradients of the trial would fill the host
_TRIED = 1 << 18  # parameters that an update is tried on


@dataclass(frozen=True)
class Footprint:
    """The bytes that work takes beside the parameters: ``kept + max(passing + rows * row, updating)``.

    It is not too little: gradients and activations are added up, and each reach their most alone.

    Attributes:
        row: for each row of a batch while a pass runs.
        passing: while a pass runs, whatever the batch: gradients, and copies in 16 bits.
        kept: from the first step to the last: the optimizer's arrays, a vector that gradients are
            gathered in, the parameters of the last whole epoch.
        updating: while the optimizer's update runs, and what a pass made is gone but the gradients.
    """

    row: int
    passing: int
    kept: int = 0
    updating: int = 0

    @property
    def fixed(self) -> int:
        """What is taken whatever the batch."""
        return self.kept + max(self.passing, self.updating)

    def rows(self, free: int) -> int:
        """Return how large a batch may be in so many bytes; below 1: not one row fits."""
        if free < self.fixed:
            return 0
        return (free - self.kept - self.passing) // self.row

    def beside(self, size: int) -> Footprint:
        """Return the same with so many bytes more that are kept."""
        return replace(self, kept=self.kept + size)

    def in_parts(self, size: int) -> Footprint:
        """Return that of a batch in parts: sums of gradients, of that size, wait for the next part."""
        return replace(self, passing=self.passing + size)


def parameter_bytes(params: Params, dtype: str) -> int:
    """Return the bytes of parameters, and of gradients as the optimizer takes them."""
    return _count(params) * np.dtype(dtype).itemsize


def predicting(
    layers: Layer, input_shape: Shape, output_shape: Shape, backend: Backend
) -> Footprint | None:
    """Return what a forward pass takes on a backend; None if that cannot be found out."""
    return _found(lambda: _passes(layers, input_shape, output_shape, _Host.like_of(backend), None))


def training(
    layers: Layer,
    input_shape: Shape,
    output_shape: Shape,
    backend: Backend,
    loss: Loss,
    optimizer: Optimizer,
) -> Footprint | None:
    """Return what training takes on a backend, beside parameters; None if that cannot be found out.

    Args:
        layers: what is trained.
        input_shape: of a row.
        output_shape: of a row.
        backend: that computes.
        loss: what is minimized.
        optimizer: how.
    """

    def count() -> Footprint:
        host = _Host.like_of(backend)
        taken = _passes(layers, input_shape, output_shape, host, loss)
        params, _ = layers.init(input_shape, random.ShapeGenerator((0, 0)))
        kept, updating = _update(params, optimizer, host)
        # The parameters in training take the place of those from before.
        return replace(
            taken, kept=kept - parameter_bytes(params, host.dtype_name), updating=updating
        )

    return _found(count)


class _Host(NumPyBackend):
    """NumPy with arrays as large as those of another backend, in the same layout."""

    @classmethod
    def like_of(cls, backend: Backend) -> _Host:
        """Return the one for a backend."""
        host = cls(precision=backend.precision)
        host.chunk, host.slices_are_views = backend.chunk, backend.slices_are_views  # type: ignore[misc]
        return host

    def unsupported_reason(self, precision: Precision) -> str:
        """Return that it lacks nothing: what is computed does not matter."""
        return ""

    def _half(self, name: str) -> Any:
        return np.float16  # as large as bfloat16, which NumPy has not


class _Hollow(np.ndarray[Any, Any]):
    """Arrays whose products are zeros: their memory counts, and NumPy is slow at those of float16.

    Nor does NumPy reuse the memory of what is computed in between, as it does with arrays of its own.

    Attributes:
        free: of this shape, arrays take no memory either.
    """

    __array_priority__ = 1.0  # so that what is made from them is of this kind
    free: frozenset[Shape] = frozenset()

    def __array_finalize__(self, source: Any) -> None:
        self.free = getattr(source, "free", self.free)

    def __matmul__(self, other: Any) -> Any:
        return _product(self, other, self.free)

    def __rmatmul__(self, other: Any) -> Any:
        return _product(other, self, self.free)

    # What mixed precision does with gradients.

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        if self.shape in self.free:
            return _zeros(self.shape, dtype, self.free)
        return super().astype(dtype, *args, **kwargs)

    def __truediv__(self, other: Any) -> Any:
        if self.shape in self.free:
            return _zeros(self.shape, np.result_type(self, other), self.free)
        return super().__truediv__(other)


def _product(a: Any, b: Any, free: frozenset[Shape]) -> Any:
    shape = *np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]
    return _zeros(shape, np.result_type(a, b), free)


def _zeros(shape: Shape, dtype: Any, free: frozenset[Shape]) -> Any:
    """Return zeros; of a free shape the same one everywhere."""
    # Memory that nobody writes to is lent by the system.
    one = shape in free
    zeros = np.broadcast_to(np.zeros((), dtype), shape) if one else np.zeros(shape, dtype)
    array: _Hollow = zeros.view(_Hollow)
    array.free = free
    return array


def _passes(
    layers: Layer, input_shape: Shape, output_shape: Shape, host: Backend, loss: Loss | None
) -> Footprint:
    """Return what passes take: forward alone without a loss.

    Where the peak of a small batch is, there are the gradients of all parameters, and where that of a
    large one is, are most activations. So what rows take is counted with gradients that take nothing.
    """
    shapes, _ = layers.init(input_shape, random.ShapeGenerator((0, 0)))
    if _count(shapes) > _MOST:
        raise MemoryError
    ctx = Context(host, loss is not None, (0, 0))
    network = computed(layers, host)
    if isinstance(network, Mixed) and host.scales_loss:
        network = network.scaled(np.ones((), host.dtype))

    def peak(rows: int, free: frozenset[Shape] = frozenset()) -> int:
        params = tree_map(lambda p: _zeros(p.shape, host.dtype, free), shapes)
        # Rows that are learned from are part of data that are there.
        y = _zeros((rows, *output_shape), host.dtype, free)
        x = None if loss is None else _zeros((rows, *input_shape), host.dtype, free)

        def run() -> Any:
            if loss is not None:
                return gradients(network, loss, params, x, y, None, ctx)
            return network.forward(params, _zeros((rows, *input_shape), host.dtype, free), ctx)[0]

        with host.scope():
            return _peak(run)

    sizes = {size for p in leaves(shapes) for size in p.shape}
    free = frozenset(tuple(p.shape) for p in leaves(shapes))
    few, more = (_no_divisor(rows, sizes) for rows in (_FEW, _MORE))
    row = max(1, (peak(more, free) - peak(few, free)) // (more - few))
    return Footprint(row, peak(1))


def _no_divisor(least: int, sizes: Collection[int]) -> int:
    """Return a number that divides no size: so rows make no array of the shape of a parameter."""
    return next(n for n in itertools.count(least) if all(size % n for size in sizes))


def _update(shapes: Params, optimizer: Optimizer, host: Backend) -> tuple[int, int]:
    """Return what is kept in training, with the parameters, and what an update takes with gradients."""
    shrink = math.sqrt(max(1.0, _count(shapes) / _TRIED))

    def small(p: Array) -> Array:
        shape = tuple(max(1, round(n / shrink)) for n in p.shape)
        return _zeros(shape, host.dtype, frozenset())

    params, grads = tree_map(small, shapes), tree_map(small, shapes)
    rule = optimizer.prepared(params)
    layout = layout_for(host, rule)

    with host.scope(), _tracing():
        before = tracemalloc.get_traced_memory()[0]
        carry = layout.init(params)
        snapshot = layout.snapshot(carry)
        kept = tracemalloc.get_traced_memory()[0] - before
        peak = 0
        if not isinstance(rule, LBFGS):  # which computes on the host
            scalars = tuple(np.asarray(rule.scalars_of(range(1, 2)))[0].tolist())
            peak = _peak(lambda: layout.update(carry, grads, scalars))
        del snapshot
    numbers = _count(params)
    share = _count(shapes) / numbers
    return int(share * kept), int(share * (peak + numbers * np.dtype(host.dtype_name).itemsize))


def _found(count: Callable[[], Footprint]) -> Footprint | None:
    """Return what is counted, or None where a layer, a loss or an optimizer of a user's fails."""
    with contextlib.suppress(Exception):
        return count()
    return None


def _count(params: Params) -> int:
    return sum(math.prod(p.shape) for p in leaves(params))


def _peak(run: Callable[[], Any]) -> int:
    """Return the bytes that NumPy and Python take at the peak of a call."""
    run()  # what is made once and kept is not counted
    with _tracing():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """Count memory inside, whether or not someone else does."""
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        yield
    finally:
        if started:
            tracemalloc.stop()
