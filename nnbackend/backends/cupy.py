"""CuPy, on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import operator
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from nnbackend.backends.base import Backend, register_kernel
from nnbackend.backends.cuda import cublas, installation, kernels
from nnbackend.backends.cuda.fused_rule import FusedRule
from nnbackend.backends.cuda.library import CuPyLibrary
from nnbackend.backends.cuda.player import GraphProgram
from nnbackend.backends.cuda.tf32 import cupy_products
from nnbackend.backends.device import Device, Memory, import_library, not_a_device
from nnbackend.backends.replay.recording import MapArrays
from nnbackend.backends.replay.replayed import replayed_step, step_function
from nnbackend.core.functional import is_half
from nnbackend.core.precision import Precision
from nnbackend.core.registry import is_pure
from nnbackend.core.types import Array, Arrays, Namespace, Step
from nnbackend.errors import BackendUnavailableError

_AMPERE_CAPABILITY = (
    80  # the compute capability, times ten, of the first GPUs with tf32 and bfloat16
)
_BFLOAT16 = (12, 2)  # the CUDA whose compiler takes CuPy's kernels of it
_STEP_MODES = ("plain", "graph")
_copies: dict[tuple[int, int], Any] = {}  # streams for copies, by device and stream of the steps


def _step_mode() -> str:
    """Return the way in which training steps run: ``"plain"`` or ``"graph"``."""
    mode = os.environ.get("NNBACKEND_CUPY_STEP", "plain")
    if mode not in _STEP_MODES:
        raise ValueError(f"NNBACKEND_CUPY_STEP must be plain or graph, got {mode!r}")
    return mode


class CuPyBackend(Backend):
    """CuPy, on an NVIDIA GPU. ``device`` is a number, ``"cuda:1"`` or a ``cupy.cuda.Device``."""

    name = "cupy"
    distribution = "cupy-cuda13x cupy-cuda12x cupy"
    install = "pip install 'nnbackend[cuda12]' (or cuda13, for the CUDA version of your driver)"
    slices_are_views = True

    def _namespace(self) -> Namespace:
        self._cupy = self._imported()
        installation.check_devices(self._cupy)
        installation.check_libraries(self._cupy)
        installation.warn_of_two()
        kernel = partial(kernels.softmax_loss, self._cupy)
        register_kernel(self._cupy.ndarray, "softmax_loss", kernel)
        return import_library(type(self), "array_api_compat.cupy")

    def _imported(self) -> Any:
        """Import CuPy; say why that fails, and what helps."""
        try:
            with installation.no_banner():
                return import_library(type(self), "cupy")
        except BackendUnavailableError as error:
            if isinstance(error.__cause__, ModuleNotFoundError):
                raise
            raise installation.explained(error.__cause__ or error) from error

    def _device(self, device: Any) -> Any:
        cuda = self._cupy.cuda
        number = self._number(device)
        count = cuda.runtime.getDeviceCount()
        if not 0 <= number < count:
            hidden = installation.hiding()
            raise BackendUnavailableError(
                f"there is no CUDA device {number}: this machine has {count}, numbered from 0"
                + (f" ({hidden})" if hidden else "")
            )
        return cuda.Device(number)

    def _number(self, device: Any) -> int:
        """Return the number of the device that was named."""
        if device is None:
            return 0
        if isinstance(device, self._cupy.cuda.Device):
            return int(device.id)
        if isinstance(device, str):
            match = re.fullmatch(r"(?:(?:cuda|gpu)(?::(\d+))?|(\d+))", device)
            if match is None:
                raise BackendUnavailableError(
                    f"no CUDA device is called {device!r}; say 0, 1 or 'cuda:1'"
                )
            return int(match[1] or match[2] or 0)
        if isinstance(device, bool) or not hasattr(device, "__index__"):
            raise not_a_device(device, "a number, a name like 'cuda:1' or a cupy.cuda.Device")
        return operator.index(device)

    def _portable_device(self) -> Any:
        return int(self.device.id)

    def unsupported_reason(self, precision: Precision) -> str:
        """Return why this device, or this installation, does not have a precision."""
        needs = precision.name if precision.tf32 or precision.half == "bfloat16" else None
        if needs is None:
            return super().unsupported_reason(precision)
        if precision.half is not None and self._half(precision.half) is None:
            return "CuPy has bfloat16 from the package ml_dtypes; run: pip install ml_dtypes"
        compiler = self._cupy.cuda.nvrtc.getVersion()
        if precision.half is not None and compiler < _BFLOAT16:
            return "CuPy compiles bfloat16 with CUDA 12.2 or newer; here it is {}.{}".format(
                *compiler
            )
        capability = int(self.device.compute_capability)
        if capability < _AMPERE_CAPABILITY:
            return (
                f"{needs} needs a GPU of compute capability 8.0 (Ampere) or higher, and "
                f"{self.device_name()} has {capability // 10}.{capability % 10}"
            )
        return ""

    def _half(self, name: str) -> Any:
        if name != "bfloat16":
            return super()._half(name)
        try:
            ml_dtypes = import_library(type(self), "ml_dtypes")
        except BackendUnavailableError:
            return None
        return self._cupy.dtype(ml_dtypes.bfloat16)

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of CuPy on this backend's device."""
        return isinstance(x, self._cupy.ndarray) and bool(x.device == self.device)

    def _import(self, x: Any, dtype: str | None) -> Array:
        if not isinstance(x, self._cupy.ndarray):
            x = super()._import(x, dtype)
        if x.device != self.device:  # what the other card is still at comes first
            x.device.synchronize()
        return x

    def _from_host(self, x: Any) -> Array:
        with self.device:
            return self._cupy.asarray(x)

    def uploader(self) -> Callable[[Sequence[Any]], list[Array | None]]:
        """Return a function that copies from pinned memory, while the device computes.

        The copies have a separate stream. Device memory allocated for them may have been released by
        steps that are still under way on the stream of this thread: those come first.
        """
        cupy, steps = self._cupy, self._cupy.cuda.get_current_stream()
        # The pool keeps memory for the stream that allocated it: the next epoch uses the same one.
        key = self.device.id, steps.ptr
        with self.device:
            copies = _copies.setdefault(key, cupy.cuda.Stream(non_blocking=True))

        def stage(arrays: Sequence[Any]) -> list[Array | None]:
            from cupyx import empty_pinned

            with self.device, copies:
                there = [None if a is None else cupy.empty(a.shape, a.dtype) for a in arrays]
                copies.wait_event(steps.record())
                pinned = []  # kept until the copies are done
                for target, array in zip(there, arrays, strict=True):
                    if target is not None:
                        pinned.append(empty_pinned(array.shape, array.dtype))
                        pinned[-1][...] = array
                        target.set(pinned[-1], stream=copies)
                copies.synchronize()
            return there

        return stage

    def scan(
        self,
        step: Step,
        map_carry: MapArrays | None = None,
        step_on: Callable[[Backend], Step] | None = None,
        parts: tuple[Any, ...] = (),
    ) -> Callable[..., tuple[Any, Any, Any, Arrays | None]]:
        """Return the loop over steps; with NNBACKEND_CUPY_STEP=graph each is played as a graph."""
        if _step_mode() == "plain" or map_carry is None or step_on is None:
            return super().scan(step)
        from nnbackend.backends.numpy import NumPyBackend

        with self.device:
            reason = cublas.available(self.device.id)
        if reason or self._precision.half == "bfloat16":
            warnings.warn(
                f"training steps are not played as graphs: {reason or 'NumPy has no bfloat16'}",
                stacklevel=2,
            )
            return super().scan(step)
        precision = "float32" if self.tf32 else self.precision
        host = NumPyBackend(precision=precision)  # a step is recorded there
        with self.device:
            library = CuPyLibrary(self._cupy, self.tf32)
        host_step = step_function(step_on(host))
        new = partial(GraphProgram, library=library, host_function=host_step, parts=parts)
        return super().scan(replayed_step(step, map_carry, self.dtype, new))

    def nccl(self) -> Any:
        """Return ``cupy.cuda.nccl``, which sends from card to card; None: this CuPy has none."""
        module = getattr(self._cupy.cuda, "nccl", None)
        return module if getattr(module, "available", False) else None

    def sum_by_nccl(self, links: Any, array: Array, kind: int) -> tuple[Array, Array, Any]:
        """Start a sum over processes on the current stream.

        Args:
            links: the ``NcclCommunicator`` that connects them.
            array: what this process has.
            kind: NCCL's number of its dtype.

        Returns:
            what is sent, which has to stay until then; the sum; and the event after which it is there.
        """
        cupy, nccl = self._cupy, self.nccl()
        with self.device:
            sent, stream = cupy.ascontiguousarray(array), cupy.cuda.get_current_stream()
            total = cupy.empty_like(sent)
            places = sent.data.ptr, total.data.ptr
            links.allReduce(*places, sent.size, kind, nccl.NCCL_SUM, stream.ptr)
            return sent, total, stream.record()

    def to_numpy(self, x: Array) -> Any:
        """Return ``x`` copied to the host."""
        return self._cupy.asnumpy(x)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Enter the context of this backend's device, with products in the backend's precision."""
        with self.device, cupy_products(self._cupy._core, self.tf32):
            yield

    def fetch(self, numbers: Any) -> Any:
        """Return the numbers of many steps on the host in float64."""
        if isinstance(numbers, self._cupy.ndarray):  # a program's losses
            return self.to_numpy(numbers).astype("float64")
        return super().fetch(numbers)

    def erf(self, x: Array) -> Array:
        """Return the error function, by CUDA's own."""
        from cupyx.scipy.special import erf

        if is_half(x.dtype):  # it gives float64 for float16, and does not know bfloat16
            return self.xp.astype(erf(self.xp.astype(x, self.dtype)), x.dtype)
        return erf(x)

    def random_bits(self, key: tuple[int, int], step: Any, count: int, first: Any = 0) -> Array:
        """Return words of random bits, by a kernel."""
        if all(isinstance(word, int) for word in (step, first, *key)):
            with self.device:
                return kernels.random_bits(self._cupy, key, step, count, first)
        return super().random_bits(key, step, count, first)

    def random_mask(
        self, key: tuple[int, int], step: Any, like: Array, threshold: int, first: Any = 0
    ) -> Array:
        """Return zeros and ones at random, by a kernel."""
        if all(isinstance(word, int) for word in (step, first, *key)):
            with self.device:
                return kernels.random_mask(self._cupy, key, step, like, threshold, first)
        return super().random_mask(key, step, like, threshold, first)

    def fuse_rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Return an optimizer's rule as one kernel, if ``cupy.fuse`` takes it."""
        owner = getattr(rule, "__self__", None)
        return FusedRule(self._cupy, rule) if is_pure(owner) else rule

    def synchronize(self) -> None:
        """Wait for the device."""
        self.device.synchronize()

    def device_name(self) -> str:
        """Return the name of the card and its number."""
        return f"{self._model(self.device.id)} (cuda:{self.device.id})"

    def _model(self, number: int) -> str:
        name: bytes = self._cupy.cuda.runtime.getDeviceProperties(number)["name"]
        return name.decode()

    def devices(self) -> list[Device]:
        """Return the cards of this machine."""
        cuda, found = self._cupy.cuda, []
        for number in range(cuda.runtime.getDeviceCount()):
            with cuda.Device(number):
                free, total = cuda.runtime.memGetInfo()
            properties = cuda.runtime.getDeviceProperties(number)
            capability = f"{properties['major']}.{properties['minor']}"
            found.append(Device(f"cuda:{number}", self._model(number), total, free, capability))
        return found

    def versions(self) -> dict[str, str]:
        """Return the CUDA that the driver supports, and the CUDA that CuPy was built with."""
        runtime = self._cupy.cuda.runtime
        return {
            "driver": f"CUDA {installation.cuda_version(runtime.driverGetVersion())}",
            "runtime": f"CUDA {installation.cuda_version(runtime.runtimeGetVersion())}",
        }

    def memory(self) -> Memory:
        """Return the memory counts of the device and of CuPy's pool on it."""
        pool = self._cupy.get_default_memory_pool()
        with self.device:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            used, held = pool.used_bytes(), pool.total_bytes()
        # The pool gives nothing back by itself: what it holds is the most it ever needed at a time.
        return Memory(used, held, free + held - used, total, peak=held)

    def free_memory(self) -> None:
        """Give what CuPy's pools keep for new arrays back: the card's memory, and pinned memory."""
        with self.device:
            self._cupy.get_default_memory_pool().free_all_blocks()
        self._cupy.get_default_pinned_memory_pool().free_all_blocks()

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether CuPy, or CUDA or cuBLAS below it, had too little memory."""
        text = str(error)  # the classes of CUDA's own errors are not for the public
        return (
            super().is_out_of_memory(error) or "MemoryAllocation" in text or "ALLOC_FAILED" in text
        )
