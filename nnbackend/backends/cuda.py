"""What runs programs on a card: kernels compiled by NVRTC, products by cuBLASLt, a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnbackend.backends import cublaslt
from nnbackend.backends.capture import Captured
from nnbackend.types import Array

__all__ = ["CudaDevice"]

# Without fused multiply-adds a kernel rounds as its operations do one by one. Memory is the limit.
_OPTIONS = ("--std=c++17", "--fmad=false")


class CudaDevice:
    """A CUDA device, the current one; see :class:`nnbackend.program.run.Device`.

    Args:
        cupy: the module.
        graphs: whether launches are captured, if there are products that may be.
        tf32: whether products of float32 numbers may be rounded to ten bits.

    Attributes:
        refused: why launches are not captured; "" if they are.
        epilogues: what products can do to their result after adding a bias.
    """

    def __init__(self, cupy: Any, graphs: bool = True, tf32: bool = False) -> None:
        self._cupy, self._tf32 = cupy, tf32
        self.refused = cublaslt.available() if graphs else "it was not asked for"
        self._workspace: Array | None = None
        self.epilogues: tuple[str | None, ...] = ()
        if not self.refused:
            self.epilogues = (None, "relu") if self._relu_keeps_nan() else (None,)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return new memory on the device."""
        return self._cupy.empty(shape, dtype)

    def stream(self) -> int:
        """Return the address of the current stream."""
        return int(self._cupy.cuda.get_current_stream().ptr)

    def put(self, target: Array, values: np.ndarray[Any, Any]) -> None:
        """Copy values of the host into an array."""
        target.set(values)

    def kernels(self, source: str, names: Sequence[str]) -> list[Callable[..., Any]]:
        """Return the kernels of a source; CuPy keeps what it has compiled, also on disk."""
        module = self._cupy.RawModule(code=source, options=_OPTIONS)
        return [_launcher(module.get_function(name)) for name in names]

    def product(
        self,
        a: Array,
        b: Array,
        out: Array,
        bias: Array | None = None,
        activation: str | None = None,
    ) -> Callable[[], Any]:
        """Return the launch of a product: cuBLASLt's where launches are captured, else CuPy's."""
        if self.refused:
            return lambda: self._cupy.matmul(a, b, out=out)
        if self._workspace is None:  # one for all: they run one after the other
            self._workspace = cublaslt.new_workspace(self._cupy)
        compute = "tf32" if self._tf32 and a.dtype == np.float32 else None
        shared = {"compute": compute, "workspace": self._workspace}
        try:
            product = cublaslt.Product(
                self._cupy, a, b, out, bias=bias, activation=activation, **shared
            )
        except cublaslt.ProductError:
            if bias is None:
                raise
            # There is no algorithm that does all of it: what comes after the product is done apart.
            product = cublaslt.Product(self._cupy, a, b, out, **shared)
            return partial(self._apart, product.launch, out, bias, activation)
        return product.launch

    def _apart(
        self, product: Callable[[], Any], out: Array, bias: Array, activation: str | None
    ) -> None:
        product()
        self._cupy.add(out, bias, out=out)
        if activation == "relu":
            self._cupy.maximum(out, 0.0, out=out)

    def _relu_keeps_nan(self) -> bool:
        """Return whether a product's ReLU lets NaN through: else a diverged loss would look sound."""
        return all(map(self._relu_keeps_nan_in, (16, 512)))

    def _relu_keeps_nan_in(self, size: int) -> bool:
        cupy, shape = self._cupy, (size, size)
        nan, out = cupy.full(shape, np.nan, np.float32), cupy.empty(shape, np.float32)
        self.product(nan, nan, out, nan[0], "relu")()
        return bool(cupy.isnan(out).all())

    def captured(self, launches: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
        """Return one launch for all, by a CUDA graph where that is possible."""

        def one_by_one(stream: Any = None) -> None:
            for launch in launches:
                launch()

        if self.refused:
            return one_by_one
        graph = Captured(self._cupy, one_by_one)

        def run() -> None:
            graph.replay()
            if graph.refused and not self.refused:
                self.refused = graph.refused
                warnings.warn(
                    f"launches cannot be captured, and are made one by one: {graph.refused}",
                    RuntimeWarning,
                    stacklevel=2,
                )

        return run


def _launcher(function: Any) -> Callable[..., Any]:
    """Return ``kernel(blocks, threads, arrays)``."""
    return lambda blocks, threads, arrays: function((blocks,), threads, tuple(arrays))
