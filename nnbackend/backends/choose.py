"""Choose a backend: by name, by array namespace, or whichever can be used here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.backends.device import installed_version
from nnbackend.core.precision import resolve
from nnbackend.errors import BackendUnavailableError, PrecisionError, given, unknown_name

__all__ = ["BACKENDS", "BackendStatus", "available_backends", "get_backend", "host_backend"]

_BACKEND_CLASSES = {
    "numpy": "nnbackend.backends.numpy:NumPyBackend",
    "cupy": "nnbackend.backends.cupy:CuPyBackend",
    "torch": "nnbackend.backends.torch:TorchBackend",
    "jax": "nnbackend.backends.jax:JAXBackend",
    "array-api-strict": "nnbackend.backends.strict:StrictBackend",
}
BACKENDS = tuple(_BACKEND_CLASSES)
"""The names of the backends."""


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used here.

    Attributes:
        name: as given to ``Network(backend=...)``.
        usable: whether it works on this machine.
        reason: when it does not, why, and what to do about it.
        version: the version of the array library, when it is installed.
        device: the default device, when it is usable.
    """

    name: str
    usable: bool
    reason: str = ""
    version: str = ""
    device: str = ""


def get_backend(
    spec: str | Backend | ModuleType = "auto",
    device: Any = None,
    dtype: str | None = None,
    precision: str | None = None,
) -> Backend:
    """Return the backend that ``spec`` names.

    Args:
        spec: a name, ``"auto"`` (CuPy where a CUDA device is usable, NumPy otherwise), a backend,
            or an array namespace such as ``numpy`` or ``jax.numpy``.
        device: see :class:`Backend`; None keeps the device of a backend that was given.
        dtype: ``"float32"`` or ``"float64"``; None: that of a backend that was given, or of the
            precision, or float32.
        precision: ``"float64"``, ``"float32"``, ``"tf32"``, ``"float16"`` or ``"bfloat16"``; None: that
            of the dtype, or of a backend that was given without another dtype.

    Raises:
        UnknownNameError: no backend has that name.
        BackendUnavailableError: it cannot be used here; the message says why and which ones can.
        PrecisionError: the backend does not have the precision; the message says why.
        ValueError: a name is not known, or dtype and precision contradict each other.
    """
    if isinstance(spec, Backend):
        wanted = None if dtype is None and precision is None else resolve(dtype, precision).name
        same = device is None and wanted in (None, spec.precision)
        return spec if same else spec.replace(device, dtype, precision)
    resolve(dtype, precision)  # a contradiction is found before a library is imported
    if isinstance(spec, str) and spec == "auto":
        spec = "cupy" if _status("cupy").usable else "numpy"
    if isinstance(spec, str):
        return _create(spec, device, dtype, precision)
    if isinstance(spec, ModuleType) and hasattr(spec, "asarray"):
        name = _library(spec)
        if name in _BACKEND_CLASSES:
            return _create(name, device, dtype, precision)
        return Backend(device, dtype, spec, precision)
    raise TypeError(f"backend must be a name, a Backend or an array namespace; got {given(spec)}")


def host_backend(backend: Backend) -> Backend:
    """Return NumPy's backend in the dtype of another."""
    return _numpy(backend.dtype_name)


@cache
def _numpy(dtype: str) -> Backend:
    return get_backend("numpy", dtype=dtype)


def available_backends() -> list[BackendStatus]:
    """Return for each backend whether it is usable here and, if not, why not.

    Each library that is installed is imported to find out; that can take seconds the first time.
    """
    return [_status(name) for name in _BACKEND_CLASSES]


def _class(name: str) -> type[Backend]:
    if name not in _BACKEND_CLASSES:
        raise unknown_name("backend", name, [*_BACKEND_CLASSES, "auto"])
    module, _, attribute = _BACKEND_CLASSES[name].partition(":")
    cls: type[Backend] = getattr(importlib.import_module(module), attribute)
    return cls


def _create(name: str, device: Any, dtype: str | None, precision: str | None = None) -> Backend:
    cls = _class(name)
    try:
        return cls(device, dtype, precision=precision)
    except PrecisionError:
        raise
    except BackendUnavailableError as error:
        usable = ", ".join(s.name for s in available_backends() if s.usable)
        raise BackendUnavailableError(
            f"backend {name!r} cannot be used: {error}. Usable here: {usable}."
        ) from error


@cache
def _status(name: str) -> BackendStatus:
    cls = _class(name)
    try:
        backend = cls()
    except BackendUnavailableError as error:
        return BackendStatus(name, False, str(error), installed_version(cls))
    return BackendStatus(name, True, "", installed_version(cls), backend.device_name())


def _library(xp: ModuleType) -> str:
    """Return the backend name for a namespace: ``array_api_compat.torch`` is ``torch``."""
    parts = xp.__name__.removeprefix("array_api_compat.").split(".")
    return parts[0].replace("_", "-")
