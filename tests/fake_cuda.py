"""``cupy.cuda`` of the make-believe CuPy: devices, streams, and what the runtime says."""

from __future__ import annotations

import contextlib
import types
from typing import Any


class CUDARuntimeError(RuntimeError):
    """As CuPy's: the name of the error, then words."""


class OutOfMemoryError(MemoryError):
    """As CuPy's, with its message."""


def cuda_module(machine: Any) -> Any:
    """Return the module ``cupy.cuda``."""
    current = machine.current

    class Device:
        def __init__(self, device: Any = None) -> None:
            if isinstance(device, Device):
                device = device.id
            self.id = current.device if device is None else int(device)

        def __enter__(self) -> Device:
            current.stack.append(current.device)
            current.device = self.id
            return self

        def __exit__(self, *_: object) -> None:
            current.device = current.stack.pop()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Device) and other.id == self.id

        __hash__ = None  # type: ignore[assignment]  # as CuPy's

        def __repr__(self) -> str:
            return f"<CUDA Device {self.id}>"

        compute_capability = "90"

        def synchronize(self) -> None:
            pass

    class Stream:
        def __init__(self, non_blocking: bool = False) -> None:
            self.device_id = current.device
            self.ptr = id(self) if non_blocking else 0

        def __enter__(self) -> Stream:
            if self.device_id != current.device:
                raise RuntimeError("the stream was created on another device")
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def record(self) -> object:
            return object()

        def wait_event(self, event: object) -> None:
            pass

        def synchronize(self) -> None:
            pass

    class Runtime:
        CUDARuntimeError = CUDARuntimeError

        def getDeviceCount(self) -> int:
            if machine.failure:
                raise CUDARuntimeError(machine.failure)
            return machine.cards

        def getDevice(self) -> int:
            return current.device

        def driverGetVersion(self) -> int:
            return machine.driver

        def runtimeGetVersion(self) -> int:
            return machine.runtime

        def memGetInfo(self) -> tuple[int, int]:
            return machine.total - machine.held[current.device], machine.total

        def getDeviceProperties(self, number: int) -> dict[str, Any]:
            return {"name": b"Make-Believe 9000", "major": 9, "minor": 0,
                    "totalGlobalMem": machine.total}  # fmt: skip

    class Library:
        def __init__(self, name: str) -> None:
            self._name = name

        def getVersion(self) -> tuple[int, int]:
            if self._name in machine.missing:
                raise RuntimeError(machine.missing[self._name])
            return 12, 9

    class Cuda(types.ModuleType):
        @property
        def cublas(self) -> Any:
            if "cublas" in machine.missing:
                raise ImportError(machine.missing["cublas"])
            return Library("cublas")

    cuda = Cuda("cupy.cuda")
    cuda.Device, cuda.Stream, cuda.runtime = Device, Stream, Runtime()
    cuda.nvrtc = Library("nvrtc")
    cuda.is_available = lambda: machine.failure is None and machine.cards > 0
    cuda.get_current_stream = Stream
    cuda.OutOfMemoryError = OutOfMemoryError
    cuda.MemoryPool = lambda: types.SimpleNamespace(malloc=None)
    cuda.using_allocator = lambda malloc: contextlib.nullcontext()
    return cuda
