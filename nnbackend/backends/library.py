"""The library of a backend: import it, or say why that fails, and ask for its version."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from nnbackend.errors import BackendUnavailableError

if TYPE_CHECKING:
    from nnbackend.backends.device import DeviceInfo

__all__ = ["import_library", "installed_version", "not_a_device"]


def not_a_device(device: Any, wanted: str) -> TypeError:
    """Return the error for a ``device`` that is nothing a device could be called."""
    return TypeError(f"device must be {wanted}; got {device!r}, of type {type(device).__name__}")


def import_library(cls: type[DeviceInfo], module: str) -> Any:
    """Import the library of a backend; when it cannot be, say so with the command that helps."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise BackendUnavailableError(f"{module} is broken: {error}") from error
        raise BackendUnavailableError(f"it is not installed; run: {cls.install}") from error
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"{module} is installed but cannot be imported: {error}"
        ) from error


def installed_version(cls: type[DeviceInfo]) -> str:
    """Return the version of a backend's library; an empty text if it is not installed."""
    import importlib.metadata  # takes as long as a tenth of this library

    for distribution in cls.distribution.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return ""
