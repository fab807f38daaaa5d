"""PyTorch, on the CPU or a GPU. Its tape is off: gradients are this library's own."""

from __future__ import annotations

import contextlib
from typing import Any

from nnbackend.backend import Backend, import_library
from nnbackend.backends.tf32 import Both, TorchProducts
from nnbackend.errors import BackendUnavailableError
from nnbackend.precision import Precision
from nnbackend.types import Array, Namespace


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
        try:
            chosen = self._torch.device("cpu" if device is None else device)
            self._torch.empty(0, device=chosen)
        except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
            first = str(error).partition("\n")[0]
            raise BackendUnavailableError(
                f"the device {device!r} is not usable: {first}"
            ) from error
        return chosen

    def lacks(self, precision: Precision) -> str:
        """Return why this device does not have a precision."""
        if precision.tf32 and self.device.type == "cuda":
            return ""
        return super().lacks(precision)

    def _owns(self, x: Any) -> bool:
        return False  # tensors pass through _import, which takes them off the tape

    def _import(self, x: Any, dtype: str | None) -> Array:
        if isinstance(x, self._torch.Tensor):
            return x.detach()
        return super()._import(x, dtype)

    def _from_host(self, x: Any) -> Array:
        # torch cannot share read-only memory, nor read backwards.
        shareable = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return self._torch.from_numpy(x if shareable and x.dtype.isnative else _writable(x))

    def to_numpy(self, x: Array) -> Any:
        """Return ``x`` as a NumPy array, which shares memory with a tensor on the CPU."""
        return x.detach().cpu().numpy()

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context without a tape, in which products are as precise as asked for."""
        return Both(self._torch.no_grad(), TorchProducts(self._torch, self.tf32))

    def erf(self, x: Array) -> Array:
        """Return the error function, by torch's own."""
        return self._torch.special.erf(x)

    def synchronize(self) -> None:
        """Wait for the device, where it is one that computes on its own."""
        if self.device.type == "cuda":
            self._torch.cuda.synchronize(self.device)

    def device_name(self) -> str:
        """Return the device, with the name of the card for a GPU."""
        if self.device.type == "cuda":
            return f"{self._torch.cuda.get_device_name(self.device)} ({self.device})"
        return str(self.device)


def _writable(x: Any) -> Any:
    """Return a contiguous copy in the machine's byte order."""
    return x.astype(x.dtype.newbyteorder("="), order="C", copy=True)
