"""cuBLASLt and CuPy's streams on the host: descriptors as cuBLASLt reads them, products by NumPy.

An address is an address: a matrix is found from it, its rows, columns and leading dimension alone, and
column by column, as NVIDIA documents it. An error in the algebra of layouts gives wrong numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

# The numbers of cublasLt.h, cublas_api.h and library_types.h that are in use; test_cublaslt.py compares
# them with nvmath's where that is installed.
MatmulDescAttribute = IntEnum("MatmulDescAttribute", {"TRANSA": 3, "TRANSB": 4})
MatmulPreferenceAttribute = IntEnum(
    "MatmulPreferenceAttribute",
    {
        "MAX_WORKSPACE_BYTES": 1,
        "REDUCTION_SCHEME_MASK": 3,
        "MIN_ALIGNMENT_A_BYTES": 5,
        "MIN_ALIGNMENT_B_BYTES": 6,
        "MIN_ALIGNMENT_C_BYTES": 7,
        "MIN_ALIGNMENT_D_BYTES": 8,
    },
)
ReductionScheme = IntEnum("ReductionScheme", {"COMPUTE_TYPE": 2})
ComputeType = IntEnum(
    "ComputeType", {"COMPUTE_32F": 68, "COMPUTE_64F": 70, "COMPUTE_32F_FAST_TF32": 77}
)
Operation = IntEnum("Operation", {"N": 0, "T": 1})
CudaDataType = IntEnum("CudaDataType", {"CUDA_R_32F": 0, "CUDA_R_64F": 1, "CUDA_R_16F": 2})

DESCRIPTION_DTYPES = {3: np.int32, 4: np.int32}
PREFERENCE_DTYPES = {
    1: np.uint64,
    **dict.fromkeys((3, 5, 6, 7, 8), np.uint32),
}
HEURISTIC = np.dtype(
    [
        ("algo", np.dtype([("data_", np.uint64, (8,))])),
        ("workspace_size", np.uint64),
        ("state", np.int32),
        ("waves_count", np.float32),
        ("reserved", np.int32, (4,)),
    ]
)


def dtype_of(number: int) -> Any:
    """Return the dtype that a cudaDataType means."""
    return np.dtype({0: np.float32, 1: np.float64, 2: np.float16}[number])


def matrix(address: int, layout: tuple[int, int, int, int]) -> Any:
    """Return the column-major matrix at an address; no byte beyond its last element is looked at."""
    number, rows, columns, ld = layout
    assert ld >= rows > 0, "a leading dimension is at least the number of rows"
    assert columns > 0
    size = dtype_of(number).itemsize
    memory = (ctypes.c_char * (((columns - 1) * ld + rows) * size)).from_address(address)
    flat = np.frombuffer(memory, dtype_of(number))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, ld * size), writeable=True)


def multiply(
    attributes: dict[int, int], alpha: float, beta: float, places: list[tuple[int, Any]]
) -> None:
    """Do what cublasLtMatmul is asked for.

    Args:
        attributes: of the product's descriptor.
        alpha: what the product is multiplied with.
        beta: what C is multiplied with.
        places: address and layout of A, B, C and D.
    """
    a, b, c, d = (matrix(address, layout) for address, layout in places)
    wide = np.promote_types(a.dtype, np.float32) if a.dtype.kind == "f" else np.dtype(np.float32)
    first = a.T if attributes[MatmulDescAttribute.TRANSA] else a
    second = b.T if attributes[MatmulDescAttribute.TRANSB] else b
    assert first.shape[1] == second.shape[0]
    assert (first.shape[0], second.shape[1]) == c.shape == d.shape
    result = alpha * (first.astype(wide) @ second.astype(wide))
    if beta:  # otherwise C is not read: what lies there may be anything
        result += beta * c.astype(wide)
    d[...] = result.astype(d.dtype)


class HostCublasLt:
    """The functions of ``nvmath.bindings.cublasLt`` that are in use.

    Attributes:
        descriptors: what is there, by its number.
        algorithms: milliseconds that each one of the heuristic takes; None: it cannot be launched.
        preferences: what the heuristic was last asked for.
        launched: the algorithms of all launches.
        handles: how many were made.
    """

    class cuBLASLtError(Exception):  # nvmath's name
        pass

    MatmulDescAttribute = MatmulDescAttribute
    MatmulPreferenceAttribute = MatmulPreferenceAttribute
    ReductionScheme = ReductionScheme
    matmul_heuristic_result_dtype = HEURISTIC
    get_matmul_desc_attribute_dtype = staticmethod(DESCRIPTION_DTYPES.__getitem__)
    get_matmul_preference_attribute_dtype = staticmethod(PREFERENCE_DTYPES.__getitem__)

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda = cuda
        self.descriptors: dict[int, Any] = {}
        self.algorithms: list[float | None] = [1.0]
        self.preferences: dict[str, int] = {}
        self.launched: list[int] = []
        self.handles = 0
        self._number = 1000

    def get_version(self) -> int:
        return 120903

    def create(self) -> int:
        self.handles += 1
        return self.handles

    def _made(self, thing: Any) -> int:
        self._number += 1
        self.descriptors[self._number] = thing
        return self._number

    def _destroyed(self, number: int) -> None:
        del self.descriptors[number]

    matmul_desc_destroy = matrix_layout_destroy = matmul_preference_destroy = _destroyed

    def matmul_desc_create(self, compute: int, scale: int) -> int:
        return self._made({"compute": ComputeType(compute), "scale": dtype_of(scale), 3: 0, 4: 0})

    def matrix_layout_create(self, dtype: int, rows: int, columns: int, ld: int) -> int:
        return self._made((dtype, rows, columns, ld))

    def matmul_preference_create(self) -> int:
        return self._made({})

    def _set(self, number: int, attribute: int, address: int, size: int, dtypes: Any) -> None:
        dtype = np.dtype(dtypes[attribute])
        assert size == dtype.itemsize
        self.descriptors[number][attribute] = int(
            np.frombuffer(ctypes.string_at(address, size), dtype)[0]
        )

    def matmul_desc_set_attribute(self, *args: int) -> None:
        self._set(*args, DESCRIPTION_DTYPES)

    def matmul_preference_set_attribute(self, *args: int) -> None:
        self._set(*args, PREFERENCE_DTYPES)

    def matmul_algo_get_heuristic(
        self, handle, description, a, b, c, d, preference, count, results, found
    ):
        assert handle
        assert c == d
        wanted = self.descriptors[preference]
        self.preferences = {MatmulPreferenceAttribute(k).name: v for k, v in wanted.items()}
        if not self.algorithms:
            raise self.cuBLASLtError("the operation is not supported")
        n = min(count, len(self.algorithms))
        memory = (ctypes.c_char * (n * HEURISTIC.itemsize)).from_address(results)
        told = np.frombuffer(memory, HEURISTIC)
        told["algo"]["data_"][:, 0] = np.arange(n) + 1
        ctypes.c_int32.from_address(found).value = n

    def matmul(
        self,
        handle, description, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout,
        algorithm, workspace, workspace_bytes, stream,
    ):  # fmt: skip
        attributes, layouts = self.descriptors[description], self.descriptors
        assert handle
        assert workspace_bytes >= self.preferences["MAX_WORKSPACE_BYTES"]
        assert workspace % 16 == 0
        number = ctypes.c_uint64.from_address(algorithm).value - 1
        cost = self.algorithms[number]
        if cost is None:
            raise self.cuBLASLtError("the function failed to launch on the GPU")
        self.launched.append(number)
        # Factors on the host are read at once; matrices when the product runs.
        scalars = [float(matrix(at, (int(attributes["scale"] == np.float64), 1, 1, 1))[0, 0])
                   for at in (alpha, beta)]  # fmt: skip
        places = [
            (a, layouts[a_layout]),
            (b, layouts[b_layout]),
            (c, layouts[c_layout]),
            (d, layouts[d_layout]),
        ]
        self.cuda.at(stream).queue(lambda: multiply(attributes, *scalars, places), cost)


class HostArray(np.ndarray):
    """A NumPy array with what a CuPy array has beside: the address, and a device."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self):
        return HostDevice()


class HostDevice(contextlib.nullcontext):
    """The only device."""

    id = 0


class Stream:
    """A stream: what is queued runs at once, unless it is being captured.

    Attributes:
        ptr: its address; 0 for the default stream, which cannot be captured.
        time: how long all that ran on it took, in milliseconds.
        recorded: what was captured; None: no capture is under way.
        broken: whether the capture is.
    """

    def __init__(self, cuda: HostCuda, non_blocking: bool = False, default: bool = False) -> None:
        self.cuda, self.non_blocking = cuda, non_blocking
        self.ptr = 0 if default else 0x1000 + len(cuda.streams)
        self.time = 0.0
        self.recorded: list[Any] | None = None
        self.broken = False
        cuda.streams.append(self)

    def queue(self, work: Any, cost: float = 0.0) -> None:
        if self.recorded is None:
            work()
            self.time += cost
        else:
            self.recorded.append(work)

    def __enter__(self):
        self.cuda.current.append(self)
        return self

    def __exit__(self, *_):
        assert self.cuda.current.pop() is self

    def synchronize(self) -> None:
        if self.recorded is not None:  # CUDA: not permitted, and the capture is lost
            self.broken = True
            raise self.cuda.runtime.CUDARuntimeError("cudaErrorStreamCaptureUnsupported")

    def begin_capture(self, mode: int) -> None:
        if self.cuda.no_captures:
            raise self.cuda.runtime.CUDARuntimeError("cudaErrorNotSupported")
        assert self.ptr, "the default stream cannot be captured"
        assert mode == self.cuda.runtime.streamCaptureModeRelaxed
        assert self.recorded is None
        self.recorded = []

    def end_capture(self) -> Graph:
        recorded, self.recorded = self.recorded, None
        assert recorded is not None
        if self.broken:
            self.broken = False
            raise self.cuda.runtime.CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(recorded)


class Graph:
    """What was captured.

    Attributes:
        launches: how often it was launched.
        uploads: how often it was brought to the device beforehand.
    """

    def __init__(self, work: list[Any]) -> None:
        self.work, self.launches, self.uploads = work, 0, 0

    def upload(self, stream: Stream) -> None:
        assert self.launches == 0
        self.uploads += 1

    def launch(self, stream: Stream) -> None:
        self.launches += 1
        for one in self.work:
            stream.queue(one)


class HostCuda:
    """``cupy.cuda``, as far as it is in use.

    Attributes:
        no_captures: whether a capture cannot even begin.
    """

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.current = [Stream(self, default=True)]
        self.no_captures = False
        self.runtime = SimpleNamespace(
            streamCaptureModeRelaxed=2,
            CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}),
        )
        self._allocator: list[Any] = [None]

    def Stream(self, non_blocking: bool = False) -> Stream:  # CuPy's name
        return Stream(self, non_blocking)

    def at(self, address: int) -> Stream:
        return next(stream for stream in self.streams if stream.ptr == address)

    def get_current_stream(self) -> Stream:
        return self.current[-1]

    @contextlib.contextmanager
    def using_allocator(self, allocator: Any):
        self._allocator.append(allocator)
        try:
            yield
        finally:
            self._allocator.pop()

    def alloc(self, size: int) -> None:
        if self._allocator[-1] is not None:
            self._allocator[-1](size)


class HostCuPy:
    """``cupy``, as far as it is in use."""

    def __init__(self) -> None:
        self.cuda = HostCuda()

    def empty(self, shape: Any, dtype: Any) -> HostArray:
        array = np.empty(shape, dtype)
        self.cuda.alloc(array.nbytes)
        return array.view(HostArray)

    @staticmethod
    def asarray(array: Any) -> HostArray:
        return np.asarray(array).view(HostArray)
