"""PyTorch, on the CPU or a GPU. Its tape is off: gradients are this library's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.convolution import Geometry
from nnbackend.backends.cuda.tf32 import torch_products
from nnbackend.backends.device import Device, Memory, import_library
from nnbackend.backends.primitives import Pullback, Sizes, check_scatter
from nnbackend.core.precision import Precision
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import BackendUnavailableError


class TorchBackend(Backend):
    """PyTorch. ``device`` is anything that ``torch.device`` takes: ``"cpu"``, ``"cuda:0"`` ..."""

    name = "torch"
    distribution = "torch"
    install = "pip install 'nnbackend[torch]'"
    slices_are_views = True

    def _namespace(self) -> Namespace:
        self._torch = import_library(type(self), "torch")
        return import_library(type(self), "array_api_compat.torch")

    def _device(self, device: Any) -> Any:
        if isinstance(device, str) and device.isdecimal():
            device = int(device)
        try:
            chosen = self._torch.device("cpu" if device is None else device)
            # As its arrays will name it: "cuda" is "cuda:0".
            return self._torch.empty(0, device=chosen).device
        except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
            first = str(error).partition("\n")[0]
            raise BackendUnavailableError(
                f"the device {device!r} is not usable: {first}"
            ) from error

    def unsupported_reason(self, precision: Precision) -> str:
        if precision.tf32 and self.device.type == "cuda":
            return ""
        return super().unsupported_reason(precision)

    def owns(self, x: Any) -> bool:
        return isinstance(x, self._torch.Tensor)

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Bring numbers here; tensors are taken off the tape."""
        return super().asarray(x.detach() if self.owns(x) else x, dtype)

    def _from_host(self, x: Any) -> Array:
        # torch cannot share read-only memory, nor read backwards.
        shareable = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return self._torch.from_numpy(x if shareable and x.dtype.isnative else _writable(x))

    def to_numpy(self, x: Array) -> Any:
        """Return ``x`` as a NumPy array, which shares memory with a tensor on the CPU."""
        return x.detach().cpu().numpy()

    @property
    def in_host_memory(self) -> bool:
        return self.device.type == "cpu"  # type: ignore[no-any-return]

    def host_view(self, x: Any) -> np.ndarray[Any, Any] | None:
        """Return numbers as a NumPy array; None from a GPU, and for bfloat16, which NumPy has not."""
        if not self.owns(x):
            return super().host_view(x)
        seen = x.device.type == "cpu" and x.dtype != self._torch.bfloat16
        return x.detach().numpy() if seen else None

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Enter the context without a tape, in which products have the backend's precision."""
        with self._torch.no_grad(), torch_products(self._torch, self.tf32):
            yield

    def erf(self, x: Array) -> Array:
        return self._torch.special.erf(x)

    def _windows(
        self, x: Array, counts: Sizes, size: Sizes, stride: Sizes, dilation: Sizes
    ) -> Array:
        first, *spatial, last = x.stride()
        outer = (s * step for s, step in zip(spatial, stride, strict=True))
        inner = (s * step for s, step in zip(spatial, dilation, strict=True))
        shape = (x.shape[0], *counts, *size, x.shape[-1])
        return x.as_strided(shape, (first, *outer, *inner, last), x.storage_offset())

    def pad(self, x: Array, padding: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
        sides = (0, 0, *(side for pair in reversed(padding) for side in pair))
        return self._torch.nn.functional.pad(x, sides, value=value)

    def scatter_add(self, rows: int, index: Array, values: Array) -> Array:
        check_scatter(rows, index, values)
        y = self._torch.zeros((rows, values.shape[1]), dtype=values.dtype, device=self.device)
        return y.index_add_(0, index, values)

    def convolution(
        self,
        x: Array,
        weight: Array,
        stride: Sizes,
        padding: tuple[tuple[int, int], ...],
        dilation: Sizes,
        groups: int = 1,
    ) -> tuple[Array, Pullback]:
        """Return a convolution by torch, which sees channels first: its weights are transposed."""
        aten, axes = self._torch.ops.aten, len(stride)
        wide = self.pad(x, padding).movedim(-1, 1)
        kernel = weight.movedim((-1, -2), (0, 1))
        none = [0] * axes
        settings = (stride, none, dilation, False, none, groups)
        y = aten.convolution(wide, kernel, None, *settings)

        def pullback(dy: Array, input_grad: bool = True) -> tuple[Array | None, Array]:
            wanted = [input_grad, True, False]
            dx, dw, _ = aten.convolution_backward(
                dy.movedim(-1, 1), wide, kernel, None, *settings, wanted
            )
            if input_grad:
                cuts = zip(padding, x.shape[1:-1], strict=True)
                inside = tuple(slice(low, low + length) for (low, _), length in cuts)
                dx = dx.movedim(1, -1)[(slice(None), *inside)]
            return dx if input_grad else None, dw.movedim((0, 1), (-1, -2))

        return y.movedim(1, -1), pullback

    def transposed_convolution(
        self,
        x: Array,
        weight: Array,
        lengths: Sizes,
        stride: Sizes,
        padding: tuple[tuple[int, int], ...],
        dilation: Sizes,
        groups: int = 1,
    ) -> tuple[Array, Pullback]:
        aten, axes = self._torch.ops.aten, len(stride)
        how = Geometry(stride, padding, dilation, groups)
        spans = (d * (k - 1) + 1 for k, d in zip(weight.shape[:-2], dilation, strict=True))
        reached = zip(x.shape[1:-1], stride, spans, strict=True)
        least = ((count - 1) * step + span for count, step, span in reached)
        more = [n - m for n, m in zip(how.padded(lengths), least, strict=True)]
        first, kernel = x.movedim(-1, 1), weight.movedim((-1, -2), (0, 1))
        settings = (stride, [0] * axes, dilation, True, more, groups)
        wide = aten.convolution(first, kernel, None, *settings).movedim(1, -1)
        y = wide[how.inside(lengths)]

        def pullback(dy: Array, input_grad: bool = True) -> tuple[Array | None, Array]:
            d = self.pad(dy, padding).movedim(-1, 1)
            wanted = [input_grad, True, False]
            dx, dw, _ = aten.convolution_backward(d, first, kernel, None, *settings, wanted)
            return dx.movedim(1, -1) if input_grad else None, dw.movedim((0, 1), (-1, -2))

        return y, pullback

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            self._torch.cuda.synchronize(self.device)

    def device_name(self) -> str:
        if self.device.type == "cuda":
            return f"{self._torch.cuda.get_device_name(self.device)} ({self.device})"
        return str(self.device)

    def devices(self) -> list[Device]:
        """Return the CPU, and the cards if this is a torch for CUDA that finds any."""
        cuda, found = self._torch.cuda, [Device("cpu", "cpu")]
        for number in range(cuda.device_count() if cuda.is_available() else 0):
            card = cuda.get_device_properties(number)
            free, total = cuda.mem_get_info(number)
            capability = f"{card.major}.{card.minor}"
            found.append(Device(f"cuda:{number}", card.name, total, free, capability))
        return found

    def versions(self) -> dict[str, str]:
        """Return the CUDA that torch was built with, if any."""
        built = self._torch.version.cuda
        return {"runtime": f"CUDA {built}"} if built else {}

    def memory(self) -> Memory | None:
        if self.device.type != "cuda":
            return None
        cuda = self._torch.cuda
        free, total = cuda.mem_get_info(self.device)
        used, held = cuda.memory_allocated(self.device), cuda.memory_reserved(self.device)
        peak = cuda.max_memory_allocated(self.device)
        return Memory(used, held, free + held - used, total, peak)

    def free_memory(self) -> None:
        if self.device.type == "cuda":
            with self._torch.cuda.device(self.device):
                self._torch.cuda.empty_cache()

    def is_out_of_memory(self, error: BaseException) -> bool:
        lacking = getattr(self._torch, "OutOfMemoryError", self._torch.cuda.OutOfMemoryError)
        on_cpu = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
        return super().is_out_of_memory(error) or isinstance(error, lacking) or on_cpu


def _writable(x: Any) -> Any:
    """Return a contiguous copy in the machine's byte order."""
    return x.astype(x.dtype.newbyteorder("="), order="C", copy=True)
