"""A make-believe CuPy on NumPy: what backends/cupy.py and a network on it touch, with strict devices.

It tests this library's logic, not CuPy. What it is strict about is what goes wrong on a machine with
several cards and nowhere else: an array belongs to the device that was current when it was made, the
current device is a thread's own, work with an array of another device is an error, NumPy does not take
such an array, and memory is counted and ends.

``Machine`` is the make-believe machine; ``Machine.install`` puts it in place of CuPy.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.metadata
import operator
import sys
import threading
import types
import weakref
from typing import Any

import array_api_compat.numpy
import fake_cuda
import fake_fuse
import host_kernels
import numpy as np

import nnbackend as nnb
from nnbackend.backends.cuda import installation


class _Current(threading.local):
    def __init__(self) -> None:
        self.device = 0
        self.stack: list[int] = []


class Machine:
    """A machine with cards.

    Args:
        cards: how many.
        total: the memory of each, in bytes.
        driver: the CUDA that the driver supports, as CUDA numbers it; 0: there is no driver.
        runtime: the CUDA that CuPy was built for.
    """

    def __init__(
        self, cards: int = 2, total: int = 1 << 30, driver: int = 12040, runtime: int = 12090
    ) -> None:
        self.cards, self.total, self.driver, self.runtime = cards, total, driver, runtime
        self.failure: str | None = None  # what asking for devices fails with
        self.missing: dict[str, str] = {}  # libraries that do not load, and what loading says
        self.current = _Current()
        self.compute_type = 1  # of products of float32, as CuPy numbers them; of the whole process
        self.used = [0] * cards
        self.held = [0] * cards
        self.pinned = 0
        self.lock = threading.RLock()
        self.made: list[int] = []  # the device of every array that was made
        self.fused: list[fake_fuse.Fused] = []  # every function that was fused
        self.launched: list[str] = []  # the names of the kernels that were launched
        self.cupy = _module(self)
        self.xp = _namespace(self)

    def install(self, monkeypatch: Any) -> None:
        """Put the make-believe in place of CuPy, and let programs be what Backend makes of them."""
        from nnbackend.backends import base, choose
        from nnbackend.backends import cupy as module
        from nnbackend.backends.base import Backend

        modules = {
            "cupy": self.cupy,
            "cupyx": self.cupyx,
            "array_api_compat.cupy": self.xp,
        }
        for name, fake in modules.items():
            monkeypatch.setitem(sys.modules, name, fake)
        monkeypatch.setitem(base._namespaces, self.cupy.ndarray, self.xp)
        # CuPy's own functions are not what is tested here; its kernels need a C compiler.
        names = ["scan", "erf"]
        if host_kernels.COMPILER is None:
            names += ["random_bits", "random_mask"]
        # The kernel of the loss does not give the bits of NumPy; see test_kernels.py.
        monkeypatch.setattr(module, "register_kernel", lambda *_: None)
        for name in names:
            monkeypatch.setattr(module.CuPyBackend, name, getattr(Backend, name))
        monkeypatch.setattr(module, "_copies", {})
        choose._status.cache_clear()

    def allocated(self, size: int) -> int:
        """Take memory of the current device from the pool, or from the card; return its number."""
        device, size = self.current.device, -(-size // 512) * 512
        with self.lock:
            self.used[device] += size
            if self.used[device] > self.total:
                self.used[device] -= size
                raise fake_cuda.OutOfMemoryError(
                    f"Out of memory allocating {size:,} bytes (allocated so far: "
                    f"{self.held[device]:,} bytes)."
                )
            self.held[device] = max(self.held[device], self.used[device])
        self.made.append(device)
        return device

    def freed(self, device: int, size: int) -> None:
        """Let the pool have memory back."""
        with self.lock:
            self.used[device] -= -(-size // 512) * 512

    def check(self, *arrays: Any) -> None:
        """Refuse work with arrays of another device than the current one."""
        here = self.current.device
        for array in arrays:
            if isinstance(array, list | tuple):
                self.check(*array)
            elif isinstance(array, self.cupy.ndarray) and array._number != here:
                raise ValueError(
                    f"Array device must be same as the current device: array device = "
                    f"{array._number} while current = {here}"
                )


quiet = np.errstate(all="ignore")  # CuPy does not warn of numbers that are not finite


def _plain(value: Any) -> Any:
    """Return what NumPy computes with."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value._host if hasattr(value, "_host") else value


def _module(machine: Machine) -> Any:
    """Return the module ``cupy``."""
    current, cuda = machine.current, fake_cuda.cuda_module(machine)

    class Pointer:
        """Where an array begins, or some bytes further."""

        def __init__(self, array: Any, offset: int) -> None:
            self.array, self._offset = array, offset
            self.ptr = array._host.__array_interface__["data"][0] + offset

        @property
        def mem(self) -> Any:
            owner = self.array._host
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            return Memory(self.array, owner)

        def __add__(self, offset: int) -> Pointer:
            return Pointer(self.array, self._offset + offset)

        def bytes_for(self, dtype: Any) -> Any:
            memory = (ctypes.c_char * np.dtype(dtype).itemsize).from_address(self.ptr)
            return np.frombuffer(memory, dtype)

    class Memory:
        """The piece of memory that an array lies in."""

        def __init__(self, array: Any, owner: Any) -> None:
            self.array, self.ptr, self.size = array, owner.ctypes.data, owner.nbytes

    def memory_pointer(memory: Memory, offset: int) -> Pointer:
        return Pointer(memory.array, memory.ptr - memory.array.data.ptr + offset)

    class ndarray:
        """An array on the device that was current when its memory was taken; views share that."""

        __array_ufunc__ = None
        __array_priority__ = 100

        def __init__(
            self, host: Any, base: Any = None, pointer: Any = None, strides: Any = None
        ) -> None:
            if pointer is not None:  # as CuPy's: shape, dtype, where it begins, strides
                host = np.lib.stride_tricks.as_strided(pointer.bytes_for(base), host, strides)
                base = pointer.array
            self._host = host
            if base is None:
                self._number = machine.allocated(host.nbytes)
                weakref.finalize(self, machine.freed, self._number, host.nbytes)
            else:
                self._number, self._base = base._number, base

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

        def __array_namespace__(self, *, api_version: Any = None) -> Any:
            return machine.xp

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, self._number

        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("a make-believe array has no memory on a card")

        device = property(lambda self: cuda.Device(self._number))
        shape = property(lambda self: self._host.shape)
        dtype = property(lambda self: self._host.dtype)
        ndim = property(lambda self: self._host.ndim)
        size = property(lambda self: self._host.size)
        nbytes = property(lambda self: self._host.nbytes)
        itemsize = property(lambda self: self._host.itemsize)
        strides = property(lambda self: self._host.strides)
        flags = property(lambda self: self._host.flags)
        data = property(lambda self: Pointer(self, 0))
        T = property(lambda self: ndarray(self._host.T, self))
        mT = property(lambda self: ndarray(self._host.mT, self))

        def get(self) -> Any:
            return self._host.copy()

        def copy(self) -> Any:
            return ndarray(self._host.copy())

        def fill(self, value: Any) -> None:
            machine.check(self)
            self._host.fill(value)

        def reshape(self, shape: Any) -> Any:
            return ndarray(self._host.reshape(shape), self)

        def set(self, array: Any, stream: Any = None) -> None:
            machine.check(self)
            self._host[...] = array

        def item(self) -> Any:
            return self._host.item()

        def __len__(self) -> int:
            return len(self._host)

        def __float__(self) -> float:
            return float(self._host)

        def __int__(self) -> int:
            return int(self._host)

        def __bool__(self) -> bool:
            return bool(self._host)

        def __getitem__(self, key: Any) -> Any:
            found = np.asarray(self._host[_plain(key)])
            return ndarray(found, self) if found.base is not None else ndarray(found)

        def __setitem__(self, key: Any, value: Any) -> None:
            machine.check(self, value)
            self._host[_plain(key)] = _plain(value)

    def binary(function: Any, swapped: bool = False) -> Any:
        @quiet
        def method(self: Any, other: Any) -> Any:
            machine.check(self, other)
            a, b = _plain(self), _plain(other)
            return ndarray(np.asarray(function(b, a) if swapped else function(a, b)))

        return method

    def in_place(function: Any) -> Any:
        @quiet
        def method(self: Any, other: Any) -> Any:
            machine.check(self, other)
            self._host = function(self._host, _plain(other))
            return self

        return method

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or",
                 "xor", "lshift", "rshift"):  # fmt: skip
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(ndarray, f"__{name}__", binary(function))
        setattr(ndarray, f"__r{name}__", binary(function, swapped=True))
        setattr(ndarray, f"__i{name}__", in_place(getattr(operator, f"i{name}")))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__{name}__", binary(getattr(operator, name)))
    for name in ("neg", "abs", "invert"):
        function = getattr(operator, name)
        setattr(ndarray, f"__{name}__", lambda self, f=function: ndarray(np.asarray(f(self._host))))

    class Pool:
        def used_bytes(self) -> int:
            return machine.used[current.device]

        def total_bytes(self) -> int:
            return machine.held[current.device]

        def free_all_blocks(self) -> None:
            machine.held[current.device] = machine.used[current.device]

    class PinnedPool:
        def free_all_blocks(self) -> None:
            machine.pinned = 0

    def asarray(x: Any, dtype: Any = None) -> Any:
        """As CuPy: an array of another device is copied to the current one."""
        if isinstance(x, ndarray):
            same = x._number == current.device and dtype in (None, x.dtype)
            return x if same else ndarray(x._host.astype(dtype or x.dtype))
        return ndarray(np.array(_plain(x), dtype=dtype))

    def empty(shape: Any, dtype: Any = float) -> Any:
        return ndarray(np.empty(shape, dtype))

    class Core:
        def get_compute_type(self, dtype: Any) -> int:
            return machine.compute_type

        def set_compute_type(self, dtype: Any, value: int) -> None:
            machine.compute_type = value

    def elementwise_kernel(*texts: str) -> Any:
        kernel = host_kernels.ElementwiseKernel(*texts)

        def launch(*args: Any) -> Any:
            machine.check(args)
            machine.launched.append(kernel.name)
            kernel(*map(_plain, args))
            return args[-1]

        return launch

    cuda.MemoryPointer = memory_pointer
    module = types.ModuleType("cupy")
    module.ElementwiseKernel = elementwise_kernel
    module.fuse = lambda function: fake_fuse.Fused(machine, function)
    module.int32, module.uint32 = np.int32, np.uint32
    module._core, module.dtype = Core(), np.dtype
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.__version__ = "14.2.0"
    module.cuda, module.ndarray, module.asarray, module.empty = cuda, ndarray, asarray, empty
    module.asnumpy = lambda x: x.get()
    module.dtype = np.dtype
    module.generic = ()  # CuPy has no scalars of its own
    pool, pinned = Pool(), PinnedPool()
    module.get_default_memory_pool = lambda: pool
    module.get_default_pinned_memory_pool = lambda: pinned

    def empty_pinned(shape: Any, dtype: Any = float) -> Any:
        array = np.empty(shape, dtype)
        machine.pinned += array.nbytes
        return array

    machine.cupyx = types.ModuleType("cupyx")
    machine.cupyx.empty_pinned = empty_pinned
    return module


def _namespace(machine: Machine) -> Any:
    """Return the module ``array_api_compat.cupy``: NumPy's functions, on arrays of the machine."""
    cupy = machine.cupy
    host = array_api_compat.numpy

    def on_device(function: Any) -> Any:
        @quiet
        def run(*args: Any, device: Any = None, **kwargs: Any) -> Any:
            if any(isinstance(arg, fake_fuse.Variable) for arg in args):
                return fake_fuse.record(function, args, kwargs)
            with contextlib.nullcontext() if device is None else cupy.cuda.Device(device):
                machine.check(args, list(kwargs.values()))
                given = _plain(args), {name: _plain(v) for name, v in kwargs.items()}
                found = function(*given[0], **given[1])
                return wrapped(found, args)

        return run

    def wrapped(found: Any, args: Any) -> Any:
        if isinstance(found, tuple) and not hasattr(found, "_fields"):
            return tuple(wrapped(f, args) for f in found)
        if not isinstance(found, np.ndarray | np.generic):
            return found
        found = np.asarray(found)
        # What NumPy gives as a view is a view of CuPy's as well.
        for array in args:
            if isinstance(array, cupy.ndarray) and np.shares_memory(found, array._host):
                return cupy.ndarray(found, array)
        return cupy.ndarray(found)

    def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Any:
        with cupy.cuda.Device(device):
            array = cupy.asarray(x, dtype)
            return cupy.ndarray(array._host.copy()) if copy and array is x else array

    def from_dlpack(x: Any, /, **_: Any) -> Any:
        if x.__dlpack_device__()[0] != 2:
            raise TypeError("CPU arrays cannot be directly imported to CuPy.")
        return cupy.asarray(x)

    module = types.ModuleType("array_api_compat.cupy")
    for name in dir(host):
        value = getattr(host, name)
        plain = name.startswith("__") or isinstance(value, type | types.ModuleType)
        if not plain and callable(value):
            setattr(module, name, on_device(value))
        elif not name.startswith("__"):
            setattr(module, name, value)
    module.linalg = types.ModuleType("linalg")
    for name in dir(host.linalg):
        value = getattr(host.linalg, name)
        if callable(value) and not isinstance(value, type):
            setattr(module.linalg, name, on_device(value))
    module.asarray, module.from_dlpack = asarray, from_dlpack
    # The functions of the module cupy itself.
    cupy.__getattr__ = lambda name: on_device(getattr(np, name))
    module.result_type = host.result_type
    return module


X = np.random.default_rng(0).normal(size=(60, 5))
LABELS = np.arange(60) % 3
TASK = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0}


def packages(monkeypatch, *names):
    """Make it seem that these distributions of CuPy are installed."""

    real = importlib.metadata.distribution

    def distribution(name):
        if not name.startswith("cupy"):
            return real(name)
        if name in names:
            return types.SimpleNamespace(version="14.2.0")
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.importlib.metadata, "distribution", distribution)
    installation.installed.cache_clear()


def small_network(device=1, **given):
    layers = [nnb.Dense(8, "relu"), nnb.Dropout(0.1), nnb.Dense(3)]
    return nnb.Network(layers, backend="cupy", device=device, **given)
