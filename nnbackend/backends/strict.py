"""array-api-strict: the standard and nothing but the standard, to prove that code keeps to it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.device import import_library
from nnbackend.backends.host import host_numbers
from nnbackend.core.precision import Precision
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import BackendUnavailableError


class StrictBackend(Backend):
    """array-api-strict. ``device`` is one of its simulated devices, such as ``"device1"``."""

    name = "array-api-strict"
    distribution = "array-api-strict"
    install = "pip install array-api-strict"

    def _namespace(self) -> Namespace:
        return import_library(type(self), "array_api_strict")

    def _device(self, device: Any) -> Any:
        if isinstance(device, self.xp.Device):
            return device
        try:
            return self.xp.Device("CPU_DEVICE" if device in (None, "cpu") else device)
        except ValueError as error:
            raise BackendUnavailableError(str(error)) from error

    def unsupported_reason(self, precision: Precision) -> str:
        """Return why it does not have a precision: it has what the standard has."""
        if precision.half is not None:
            return f"the array API standard has no {precision.half}"
        return super().unsupported_reason(precision)

    def owns(self, x: Any) -> bool:
        return hasattr(x, "__array_namespace__") and x.__array_namespace__() is self.xp

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Bring numbers here; an array on another of the simulated devices is moved."""
        if self.owns(x) and x.device != self.device:
            x = self.xp.astype(x, self.dtype if dtype is None else dtype).to_device(self.device)
        return super().asarray(x, dtype)

    def _import(self, x: Any, dtype: str | None) -> Array:
        return self._from_host(host_numbers(x, dtype))

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context without NumPy's warnings: overflow shows in results, and fit says so."""
        return np.errstate(over="ignore", invalid="ignore", divide="ignore")

    def to_numpy(self, x: Array) -> Any:
        return np.asarray(x.to_device(self.xp.Device("CPU_DEVICE")))

    def device_name(self) -> str:
        return str(self.device).split("'")[1]
