"""cuBLAS and CuPy's streams on the host: matrices as cuBLAS reads them, products by NumPy.

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

# The numbers of cublas_api.h and library_types.h that are in use; test_cublas.py compares them with
# nvmath's where that is installed.
ComputeType = IntEnum(
    "ComputeType", {"COMPUTE_32F": 68, "COMPUTE_64F": 70, "COMPUTE_32F_FAST_TF32": 77}
)
Operation = IntEnum("Operation", {"N": 0, "T": 1})
Math = IntEnum("Math", {"DISALLOW_REDUCED_PRECISION_REDUCTION": 16})
GemmAlgo = IntEnum("GemmAlgo", {"DEFAULT": -1})
CudaDataType = IntEnum("CudaDataType", {"CUDA_R_32F": 0, "CUDA_R_64F": 1, "CUDA_R_16F": 2})


def matrix(address: int, dtype: int, rows: int, columns: int, ld: int) -> Any:
    """Return the column-major matrix at an address; no byte beyond its last element is looked at."""
    assert ld >= rows > 0, "a leading dimension is at least the number of rows"
    assert columns > 0
    kind = np.dtype({0: np.float32, 1: np.float64, 2: np.float16}[dtype])
    memory = (ctypes.c_char * (((columns - 1) * ld + rows) * kind.itemsize)).from_address(address)
    strides = kind.itemsize, ld * kind.itemsize
    return np.lib.stride_tricks.as_strided(
        np.frombuffer(memory, kind), (rows, columns), strides, writeable=True
    )


class HostCublas:
    """The functions of ``nvmath.bindings.cublas`` that are in use.

    Attributes:
        launched: the compute types of all launches.
        handles: how many were made.
        modes: the mathematical mode of each handle.
    """

    ComputeType, Operation, Math, GemmAlgo = ComputeType, Operation, Math, GemmAlgo

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda = cuda
        self.launched: list[ComputeType] = []
        self.handles = 0
        self.modes: dict[int, int] = {}
        self._stream: int | None = None
        self._workspace_bytes = 0

    def create(self) -> int:
        self.handles += 1
        return self.handles

    def set_math_mode(self, handle: int, mode: int) -> None:
        self.modes[handle] = mode

    def set_stream(self, handle: int, stream: int) -> None:
        self._stream, self._workspace_bytes = stream, 0  # as NVIDIA documents it

    def set_workspace(self, handle: int, address: int, size: int) -> None:
        assert address % 16 == 0
        self._workspace_bytes = size

    def gemm_ex_64(
        self,
        handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc,
        compute, algorithm,
    ):  # fmt: skip
        assert handle in self.modes
        assert algorithm == GemmAlgo.DEFAULT
        assert self._workspace_bytes == 32 * 2**20, "else cuBLAS allocates"
        self.launched.append(ComputeType(compute))
        # Factors on the host are read at once; matrices when the product runs.
        scale = CudaDataType.CUDA_R_64F if compute == 70 else CudaDataType.CUDA_R_32F
        factor, kept = (float(matrix(at, scale, 1, 1, 1)[0, 0]) for at in (alpha, beta))
        wide = np.float64 if compute == 70 else np.float32

        def run() -> None:
            first = matrix(a, atype, k, m, lda).T if transa else matrix(a, atype, m, k, lda)
            second = matrix(b, btype, n, k, ldb).T if transb else matrix(b, btype, k, n, ldb)
            out = matrix(c, ctype, m, n, ldc)
            result = factor * (first.astype(wide) @ second.astype(wide))
            if kept:  # otherwise C is not read: what lies there may be anything
                result += kept * out.astype(wide)
            out[...] = result.astype(out.dtype)

        self.cuda.at(self._stream).queue(run, 1.0)


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
