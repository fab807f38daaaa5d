"""Matrix products by cuBLAS, through the bindings of NVIDIA's nvmath-python.

Why not ``cupy.matmul``: CuPy refuses its own cuBLAS calls while a stream is captured into a CUDA graph.
cuBLAS itself allows it, and with memory of ours to work in it allocates nothing.

cuBLAS's matrices are column-major: element (i, j) is at ``i + j * ld``. A row-major matrix is, number
for number, its transpose stored column-major. So a row-major ``out = a @ b`` is computed as
``out.T = b.T @ a.T``, and nothing is copied.

Reference: NVIDIA, cuBLAS, ``cublasGemmEx``, https://docs.nvidia.com/cuda/cublas.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.core.types import Array

__all__ = ["WORKSPACE_BYTES", "ProductError", "available", "new_workspace", "product"]

WORKSPACE_BYTES = 32 << 20
"""Scratch memory for products: NVIDIA's advice for Hopper; others need less."""

# Of each dtype of the factors: the compute type, the dtype of alpha and beta, and cudaDataType. Half
# precision is multiplied by the tensor cores and added up in float32.
_ARITHMETIC = {
    "float32": ("COMPUTE_32F", "float32", "CUDA_R_32F"),
    "float64": ("COMPUTE_64F", "float64", "CUDA_R_64F"),
    "float16": ("COMPUTE_32F", "float32", "CUDA_R_16F"),
}

_lock = threading.Lock()  # a handle's stream is set, and then used


class ProductError(ValueError):
    """cuBLAS cannot compute this product; the message says why."""


def _bindings() -> tuple[Any, Any]:
    """Return the module with cuBLAS's functions, and the numbers of CUDA's data types."""
    from nvmath import CudaDataType
    from nvmath.bindings import cublas

    return cublas, CudaDataType


@functools.cache
def _handle(device: int) -> int:
    """Return cuBLAS's handle for a device, which must be the current one; it goes with the process."""
    blas, _ = _bindings()
    handle = int(blas.create())
    # Partial sums of half precision are added up in float32 as well.
    blas.set_math_mode(handle, blas.Math.DISALLOW_REDUCED_PRECISION_REDUCTION)
    return handle


def available(device: int) -> str:
    """Return why cuBLAS cannot be used on the current device, or "" if it can."""
    try:
        _handle(device)
    except ImportError as error:
        return (
            "products for CUDA graphs need nvmath-python: pip install 'nnbackend[cuda12]' "
            f"(or cuda13, for the CUDA version of your driver); {error}"
        )
    except Exception as error:  # no driver, no library: each version of nvmath has its own errors
        return f"cuBLAS cannot be loaded: {error}"
    return ""


def new_workspace(cupy: Any) -> Array:
    """Return scratch memory for products on the current device.

    Products that run one after the other, in one stream, can share it. Two streams must not.
    """
    return cupy.empty(WORKSPACE_BYTES, dtype=np.uint8)


def product(
    cupy: Any, a: Array, b: Array, out: Array, workspace: Array, tf32: bool = False
) -> Callable[[], None]:
    """Return a function that queues ``out = a @ b`` on the current stream.

    It computes in the memory of these arrays, whatever is in it by then, and keeps them alive. Make and
    call it while their device is the current one.

    Args:
        cupy: the module.
        a: shape (m, k). Each matrix is contiguous, or the transpose of one that is, or some of the
            columns of one.
        b: shape (k, n), of the same dtype.
        out: shape (m, n), of the same dtype, or float32 for float16.
        workspace: from :func:`new_workspace`.
        tf32: whether factors of float32 are rounded to 10 bits of mantissa; default: they are not.

    Raises:
        ProductError: the arrays do not fit together, or are not contiguous.
    """
    _check(a, b, out)
    blas, data_types = _bindings()
    dtype = str(a.dtype)
    compute, scale, kind = _ARITHMETIC[dtype]
    if tf32 and dtype == "float32":
        compute = "COMPUTE_32F_FAST_TF32"
    alpha, beta = np.ones((), scale), np.zeros((), scale)
    (a_by_rows, lda), (b_by_rows, ldb) = _layout(a, "a"), _layout(b, "b")
    out_by_rows, ldo = _layout(out, "out")
    (m, n), k = out.shape, a.shape[1]
    first, second = (a, lda), (b, ldb)
    turned = a_by_rows, b_by_rows  # by rows is, to cuBLAS, the transpose of the one to multiply
    if out_by_rows:
        m, n, first, second, turned = n, m, second, first, (not b_by_rows, not a_by_rows)
    operations = [blas.Operation.T if turn else blas.Operation.N for turn in turned]
    with out.device:
        handle = _handle(out.device.id)

    def launch() -> None:
        with _lock:
            blas.set_stream(handle, cupy.cuda.get_current_stream().ptr)
            # A new stream resets it.
            blas.set_workspace(handle, _address(workspace), int(workspace.nbytes))
            blas.gemm_ex_64(
                handle,
                *operations,
                *(m, n, k),
                alpha.ctypes.data,
                *(_address(first[0]), data_types[kind], first[1]),
                *(_address(second[0]), data_types[kind], second[1]),
                beta.ctypes.data,
                *(_address(out), data_types[_ARITHMETIC[str(out.dtype)][2]], ldo),
                blas.ComputeType[compute],
                blas.GemmAlgo.DEFAULT,
            )

    return launch


def _address(array: Array) -> int:
    """Return the address of an array's first element on the device."""
    return int(array.data.ptr)


def _check(a: Array, b: Array, out: Array) -> None:
    """Raise a ProductError where the arrays do not fit together."""
    for name, array in (("a", a), ("b", b), ("out", out)):
        if array.ndim != 2:
            raise ProductError(f"{name} must have two dimensions, it has {array.ndim}")
        if 0 in array.shape:
            raise ProductError(f"{name} has no elements: its shape is {array.shape}")
    if a.shape[1] != b.shape[0] or out.shape != (a.shape[0], b.shape[1]):
        raise ProductError(f"shapes {a.shape} @ {b.shape} do not give {out.shape}")
    dtype = str(a.dtype)
    if dtype not in _ARITHMETIC:
        raise ProductError(f"no product in {dtype}; known: {', '.join(_ARITHMETIC)}")
    if b.dtype != a.dtype:
        raise ProductError(f"the factors are {dtype} and {b.dtype}; they must be of one dtype")
    results = [dtype, "float32"] if dtype == "float16" else [dtype]
    if str(out.dtype) not in results:
        raise ProductError(f"a product in {dtype} gives {' or '.join(results)}, out is {out.dtype}")


def _layout(array: Array, name: str) -> tuple[bool, int]:
    """Return whether a matrix lies by rows, else by columns, and its leading dimension.

    That is the number of elements from the start of one row (or column) to the next.
    """
    for outer, inner in ((0, 1), (1, 0)):
        length = array.shape[inner]
        side_by_side = length == 1 or array.strides[inner] == array.itemsize
        # The stride along an axis of length 1 means nothing.
        step = length * array.itemsize if array.shape[outer] == 1 else array.strides[outer]
        ld, rest = divmod(step, array.itemsize)
        if side_by_side and ld >= length and not rest:
            return inner == 1, ld
    raise ProductError(
        f"{name} must be contiguous along its rows or its columns; shape {array.shape}, strides "
        f"{array.strides}, {array.itemsize} bytes an element"
    )
