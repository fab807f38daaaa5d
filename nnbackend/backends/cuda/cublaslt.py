"""Matrix products by cuBLASLt, through the bindings of NVIDIA's nvmath-python.

Why not ``cupy.matmul``: CuPy refuses its own cuBLAS calls while a stream is captured into a CUDA graph.
A call here allocates nothing, waits for nothing and records no event: it may be captured.

cuBLASLt is driven in three steps, and only the third is done again and again:

1. *Describe.* A descriptor of the product (arithmetic, transpositions), and a layout for each matrix
   (dtype, rows, columns, leading dimension).
2. *Choose.* The heuristic names algorithms that can do it, the one it thinks fastest first.
3. *Launch.* One call with the addresses, the algorithm and a stream.

cuBLASLt's matrices are column-major: element (i, j) is at ``i + j * ld``. A row-major matrix is,
number for number, its transpose stored column-major. So ``out = a @ b`` is computed as
``out.T = b.T @ a.T``: ``b`` goes where cuBLASLt expects its first matrix and ``a`` where it expects its
second, and nothing is copied.

Reference: NVIDIA, cuBLAS, "Using the cuBLASLt API", https://docs.nvidia.com/cuda/cublas.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.core.types import Array

__all__ = ["WORKSPACE_BYTES", "Product", "ProductError", "available", "new_workspace"]

WORKSPACE_BYTES = 32 << 20
"""Scratch memory an algorithm may ask for: NVIDIA's advice for Hopper; others ask for less."""

_MAX_ALGORITHMS = 8  # algorithms that the heuristic is asked for
_OLDEST_VERSION = 12_00_00  # cuBLASLt 12.0


class ProductError(ValueError):
    """cuBLASLt cannot compute this product; the message says why."""


@dataclass(frozen=True)
class _Arithmetic:
    """How a product is computed.

    Attributes:
        inputs: the dtype of both factors.
        outputs: dtypes that the result may have.
        compute: the name of cuBLAS's compute type.
        scale: the dtype of the factors alpha and beta, on the host.
    """

    inputs: str
    outputs: tuple[str, ...]
    compute: str
    scale: str


# Half precision is multiplied by the tensor cores and added up in float32.
_COMPUTE_TYPES = {
    "float32": _Arithmetic("float32", ("float32",), "COMPUTE_32F", "float32"),
    "tf32": _Arithmetic("float32", ("float32",), "COMPUTE_32F_FAST_TF32", "float32"),
    "float64": _Arithmetic("float64", ("float64",), "COMPUTE_64F", "float64"),
    "float16": _Arithmetic("float16", ("float16", "float32"), "COMPUTE_32F", "float32"),
}

_DATA_TYPES = {  # cudaDataType of each dtype
    "float32": "CUDA_R_32F",
    "float64": "CUDA_R_64F",
    "float16": "CUDA_R_16F",
}


def _bindings() -> Any:
    """Return the module with cuBLASLt's functions."""
    from nvmath.bindings import cublasLt

    return cublasLt


def _enums() -> tuple[Any, Any, Any]:
    """Return the numbers of cuBLAS's compute types and operations, and of CUDA's data types."""
    from nvmath import CudaDataType
    from nvmath.bindings import cublas

    return cublas.ComputeType, cublas.Operation, CudaDataType


def available() -> str:
    """Return why cuBLASLt cannot be used here, or "" if it can."""
    try:
        version = _bindings().get_version()
    except ImportError as error:
        return (
            "products for CUDA graphs need nvmath-python: pip install 'nnbackend[cuda12]' "
            f"(or cuda13, for the CUDA version of your driver); {error}"
        )
    except Exception as error:  # no driver, no library: each version of nvmath has its own errors
        return f"cuBLASLt cannot be loaded: {error}"
    if version < _OLDEST_VERSION:
        return (
            f"cuBLASLt {version} is too old: {_OLDEST_VERSION} is the oldest that is known to serve"
        )
    return ""


def new_workspace(cupy: Any) -> Array:
    """Return scratch memory for products on the current device.

    Products that run one after the other, in one stream, can share it. Two streams must not.
    """
    return cupy.empty(WORKSPACE_BYTES, dtype=np.uint8)


@functools.cache
def _handle(device: int) -> int:
    """Return cuBLASLt's handle for a device, which must be the current one.

    There is one for each device and process: a handle keeps no state that a launch changes, so that
    threads may share it. It goes with the process.
    """
    return int(_bindings().create())


@dataclass(frozen=True)
class _Matrix:
    """A matrix in memory.

    Attributes:
        array: the array.
        by_rows: whether the elements of a row are neighbors; otherwise those of a column are.
        ld: the leading dimension: elements from the start of one row (or column) to the next.
    """

    array: Array
    by_rows: bool
    ld: int

    @classmethod
    def of(cls, array: Array, name: str) -> _Matrix:
        """Return the place of a two-dimensional array in memory, by rows where both are true."""
        if array.ndim != 2:
            raise ProductError(f"{name} must have two dimensions, it has {array.ndim}")
        if 0 in array.shape:
            raise ProductError(f"{name} has no elements: its shape is {array.shape}")
        for by_rows in (True, False):
            outer, inner = (0, 1) if by_rows else (1, 0)
            length = array.shape[inner]
            side_by_side = length == 1 or array.strides[inner] == array.itemsize
            # The stride along an axis of length 1 means nothing.
            step = length * array.itemsize if array.shape[outer] == 1 else array.strides[outer]
            ld, rest = divmod(step, array.itemsize)
            if side_by_side and ld >= length and not rest:
                return cls(array, by_rows, ld)
        raise ProductError(
            f"{name} must be contiguous along its rows or its columns; shape {array.shape}, strides "
            f"{array.strides}, {array.itemsize} bytes an element"
        )

    @property
    def transposed(self) -> _Matrix:
        """The transpose, in the same memory."""
        return _Matrix(self.array.T, not self.by_rows, self.ld)

    @property
    def stored(self) -> tuple[int, int]:
        """Rows and columns of the column-major matrix in this memory."""
        rows, columns = self.array.shape
        return (columns, rows) if self.by_rows else (rows, columns)


def _address(array: Array) -> int:
    """Return the address of an array's first element on the device."""
    return int(array.data.ptr)


def _alignment(array: Array) -> int:
    """Return the largest power of two that divides the address, up to 256: more is of no use."""
    return min(256, _address(array) & -_address(array))


class Product:
    """``out = a @ b``, prepared once for these arrays and launched many times.

    It is computed in the memory of these arrays, whatever is in it by then; they are kept alive. Make it
    and launch it while their device is the current one. Products do not disturb each other unless they
    share a workspace and run at the same time.

    Args:
        cupy: the module.
        a: shape (m, k). Each matrix is contiguous, or the transpose of one that is, or some of the
            columns of one.
        b: shape (k, n), of the same dtype.
        out: shape (m, n).
        workspace: from :func:`new_workspace`.
        compute: ``"float64"``, ``"float32"`` (true float32), ``"tf32"`` (float32 arrays, multiplied with
            10 bits of mantissa) or ``"float16"`` (added up in float32, into ``out`` of either dtype).
            Default: the dtype of ``a``.

    Raises:
        ProductError: the arrays do not fit together, or cuBLASLt has no algorithm for them.
    """

    def __init__(
        self,
        cupy: Any,
        a: Array,
        b: Array,
        out: Array,
        workspace: Array,
        compute: str | None = None,
    ) -> None:
        self._cupy, self._lt = cupy, _bindings()
        arithmetic = _arithmetic(compute, a, b, out)
        self._arrays, self._workspace = (a, b, out), workspace  # their memory is kept
        with out.device:
            self._device_handle = _handle(out.device.id)
        matrices = _column_major(a, b, out)
        self._alpha, self._beta = np.ones((), arithmetic.scale), np.zeros((), arithmetic.scale)
        made: list[tuple[Any, int]] = []  # descriptors, each with the function that destroys it
        weakref.finalize(self, _destroy, made)
        self._description = _describe(self._lt, made, arithmetic, *matrices[:2])
        self._layouts = [_layout(self._lt, made, matrix) for matrix in matrices]
        self._addresses = [_address(matrix.array) for matrix in matrices]
        self._algorithm = self._best_algorithm(
            [_alignment(matrix.array) for matrix in (*matrices, matrices[2])], arithmetic.inputs
        )
        self._arguments = self._launch_arguments()

    def launch(self) -> None:
        """Queue the product on the current stream."""
        self._lt.matmul(*self._arguments, self._cupy.cuda.get_current_stream().ptr)

    def _best_algorithm(self, alignments: list[int], dtype: str) -> Any:
        """Return the algorithm that the heuristic thinks fastest, in an array of one."""
        lt, found = self._lt, np.zeros(1, np.int32)
        results = np.zeros(_MAX_ALGORITHMS, dtype=lt.matmul_heuristic_result_dtype)
        wanted = {"MAX_WORKSPACE_BYTES": self._workspace.nbytes}
        wanted |= {
            f"MIN_ALIGNMENT_{matrix}_BYTES": alignment
            for matrix, alignment in zip("ABCD", alignments, strict=True)
        }
        if dtype == "float16":  # partial sums are added up in float32 as well
            wanted["REDUCTION_SCHEME_MASK"] = lt.ReductionScheme.COMPUTE_TYPE
        preference = lt.matmul_preference_create()
        try:
            for name, value in wanted.items():
                attribute = lt.MatmulPreferenceAttribute[name]
                dtype = lt.get_matmul_preference_attribute_dtype(attribute)
                _set(lt.matmul_preference_set_attribute, preference, attribute, value, dtype)
            a, b, out = self._layouts
            lt.matmul_algo_get_heuristic(
                self._device_handle,
                self._description,
                *(a, b, out, out),
                preference,
                _MAX_ALGORITHMS,
                results.ctypes.data,
                found.ctypes.data,
            )
        except lt.cuBLASLtError as error:
            raise ProductError(f"cuBLASLt has no algorithm for this product: {error}") from error
        finally:
            lt.matmul_preference_destroy(preference)
        results = results[: found[0]]
        results = results[results["state"] == 0]
        if not len(results):
            raise ProductError("cuBLASLt has no algorithm for this product")
        return results[:1]

    def _launch_arguments(self) -> tuple[Any, ...]:
        """Return the arguments of a launch but for the stream."""
        (a, b, out), (a_layout, b_layout, out_layout) = self._addresses, self._layouts
        return (
            self._device_handle,
            self._description,
            self._alpha.ctypes.data,
            *(a, a_layout),
            *(b, b_layout),
            self._beta.ctypes.data,
            *(out, out_layout),  # what beta is multiplied with
            *(out, out_layout),  # where the result goes
            self._algorithm.ctypes.data,  # the first field is the algorithm
            _address(self._workspace),
            int(self._workspace.nbytes),
        )


def _arithmetic(compute: str | None, a: Array, b: Array, out: Array) -> _Arithmetic:
    """Return how the product is computed; raise where the arrays do not fit together."""
    compute = str(a.dtype) if compute is None else compute
    if compute not in _COMPUTE_TYPES:
        raise ProductError(f"no product in {compute}; known: {', '.join(_COMPUTE_TYPES)}")
    arithmetic = _COMPUTE_TYPES[compute]
    for name, array in (("a", a), ("b", b)):
        if str(array.dtype) != arithmetic.inputs:
            raise ProductError(
                f"a product in {compute} takes {arithmetic.inputs}, {name} is {array.dtype}"
            )
    if str(out.dtype) not in arithmetic.outputs:
        raise ProductError(
            f"a product in {compute} gives {' or '.join(arithmetic.outputs)}, out is {out.dtype}"
        )
    shapes = (a.shape, b.shape, out.shape)
    if all(len(shape) == 2 for shape in shapes) and (
        a.shape[1] != b.shape[0] or out.shape != (a.shape[0], b.shape[1])
    ):
        raise ProductError(f"shapes {a.shape} @ {b.shape} do not give {out.shape}")
    return arithmetic


def _column_major(a: Array, b: Array, out: Array) -> tuple[_Matrix, _Matrix, _Matrix]:
    """Return three matrices whose product is ``out``, the third stored column by column.

    ``out`` by rows: ``out.T = b.T @ a.T``. By columns: ``out = a @ b`` as it stands.
    """
    first, second, result = _Matrix.of(a, "a"), _Matrix.of(b, "b"), _Matrix.of(out, "out")
    if result.by_rows:
        return second.transposed, first.transposed, result.transposed
    return first, second, result


def _describe(
    lt: Any,
    made: list[tuple[Any, int]],
    arithmetic: _Arithmetic,
    first: _Matrix,
    second: _Matrix,
) -> int:
    """Return a descriptor of ``first @ second``."""
    compute_types, operations, data_types = _enums()
    description = lt.matmul_desc_create(
        compute_types[arithmetic.compute], data_types[_DATA_TYPES[arithmetic.scale]]
    )
    made.append((lt.matmul_desc_destroy, description))
    # A matrix stored by rows is, to cuBLASLt, the transpose of the one to multiply.
    values = {
        "TRANSA": operations.T if first.by_rows else operations.N,
        "TRANSB": operations.T if second.by_rows else operations.N,
    }
    for name, value in values.items():
        attribute = lt.MatmulDescAttribute[name]
        dtype = lt.get_matmul_desc_attribute_dtype(attribute)
        _set(lt.matmul_desc_set_attribute, description, attribute, value, dtype)
    return int(description)


def _set(setter: Callable[..., None], thing: int, attribute: int, value: int, dtype: Any) -> None:
    """Set an attribute of a descriptor, which is read from memory on the host."""
    number = np.array(value, dtype)
    setter(thing, attribute, number.ctypes.data, number.nbytes)


def _layout(lt: Any, made: list[tuple[Any, int]], matrix: _Matrix) -> int:
    """Return a descriptor of a matrix as it is stored."""
    data_type = _enums()[2][_DATA_TYPES[str(matrix.array.dtype)]]
    layout = lt.matrix_layout_create(data_type, *matrix.stored, matrix.ld)
    made.append((lt.matrix_layout_destroy, layout))
    return int(layout)


def _destroy(made: list[tuple[Any, int]]) -> None:
    """Give back descriptors."""
    while made:
        destroy, descriptor = made.pop()
        destroy(descriptor)
