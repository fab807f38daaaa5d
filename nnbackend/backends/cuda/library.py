"""CuPy, as far as recorded steps need it: memory by address, functions, products, a graph.

Tests put NumPy in its place. Nothing here has run on a card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.backends.cuda.cublas import new_workspace, product
from nnbackend.backends.cuda.graph import Captured
from nnbackend.core.types import Array

__all__ = ["CuPyLibrary"]


class CuPyLibrary:
    """CuPy on the current device.

    Args:
        cupy: the module.
        tf32: whether products of float32 are computed in tf32.

    Attributes:
        functions: the module of functions with NumPy's names.
    """

    def __init__(self, cupy: Any, tf32: bool) -> None:
        self.functions = self._cupy = cupy
        self._tf32 = tf32
        self._workspace: Any = None
        # Temporary memory of functions comes from a separate pool: a graph goes on using it.
        self._pool = cupy.cuda.MemoryPool()

    def address(self, array: Array) -> int:
        """Return the address of an array's first element on the device."""
        return int(array.data.ptr)

    def whole(self, array: Array) -> Array:
        """Return the bytes of the piece of memory that an array lies in."""
        memory = array.data.mem
        start = self._cupy.cuda.MemoryPointer(memory, 0)
        return self._cupy.ndarray((memory.size,), np.uint8, start)

    def view(
        self, base: Array, offset: int, shape: tuple[int, ...], strides: Any, dtype: Any
    ) -> Array:
        """Return an array in the memory of another one, ``offset`` bytes after its first element."""
        return self._cupy.ndarray(shape, dtype, base.data + offset, strides)

    def empty(self, size: int) -> Array:
        """Return memory of that many bytes."""
        return self._cupy.empty(size, np.uint8)

    def to_host(self, array: Array) -> Any:
        """Return a copy as a NumPy array."""
        return self._cupy.asnumpy(array)

    def from_host(self, array: Any) -> Array:
        """Return a copy on the device."""
        return self._cupy.asarray(array)

    def product(self, a: Array, b: Array, out: Array) -> Callable[[], None]:
        """Return a function that computes ``out = a @ b``, which a graph can hold."""
        if self._workspace is None:
            self._workspace = new_workspace(self._cupy)
        return product(self._cupy, a, b, out, self._workspace, self._tf32)

    def row_products(self, a: Array, b: Array, out: Array) -> Callable[[], None]:
        """Return a function that computes ``out = sum(a * b)`` along the last axis."""
        products = self._cupy.empty(np.broadcast_shapes(a.shape, b.shape), out.dtype)

        def launch() -> None:
            self._cupy.multiply(a, b, out=products)
            self._cupy.sum(products, axis=-1, out=out)

        return launch

    def graph(self, launches: list[Callable[[], Any]]) -> Any:
        """Return a runner of launches as one graph."""

        def launch_all(stream: Any) -> None:
            with self._cupy.cuda.using_allocator(self._pool.malloc):
                for launch in launches:
                    launch()

        return Captured(self._cupy, launch_all)
