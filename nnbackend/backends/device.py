"""A backend's library, device and precision in words, and its comparison with others."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from nnbackend.core.precision import PRECISIONS, Precision, resolve
from nnbackend.core.types import Namespace
from nnbackend.errors import BackendUnavailableError, given

__all__ = [
    "Device",
    "DeviceInfo",
    "Memory",
    "import_library",
    "in_words",
    "installed_version",
    "not_a_device",
]


@dataclass(frozen=True)
class Memory:
    """The memory of a device, in bytes.

    Attributes:
        used: the memory of this process's arrays.
        held: the memory that this process's library has taken from the device, used or not.
        free: the memory that this process can still get: free on the device, or held and not used.
        total: the memory of the device.
        peak: the most that was used so far. CuPy counts no peak: there it is the most that was held
            since memory was last given back.
    """

    used: int
    held: int
    free: int
    total: int
    peak: int


@dataclass(frozen=True)
class Device:
    """A device that a library can compute on.

    Attributes:
        name: the name, as ``device=`` takes it.
        model: the model, for people.
        total: the memory in bytes; None where the library does not say.
        free: the part of it that no process has taken, in bytes.
        compute_capability: the compute capability of an NVIDIA card: ``"9.0"``; else empty.
    """

    name: str
    model: str
    total: int | None = None
    free: int | None = None
    compute_capability: str = ""


def in_words(count: int) -> str:
    """Return a number of bytes in words, with units of powers of 1000.

    >>> in_words(1_500_000_000)
    '1.5 GB'
    """
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    unit = 0
    while abs(size) >= 999.5 and unit < len(units) - 1:
        size, unit = size / 1000, unit + 1
    return f"{count} {units[0]}" if unit == 0 else f"{size:.3g} {units[unit]}"


class DeviceInfo:
    """The part of :class:`~nnbackend.backends.base.Backend` that computes nothing.

    Two backends are equal if they compute the same: of one class, with one namespace, on one device, in
    one precision. A pickle holds that description, not the library.

    Attributes:
        xp: the array namespace.
        device: the library's device.
        dtype_name: the dtype of parameters: ``"float32"`` or ``"float64"``.
        precision: the number format, a name in :data:`nnbackend.core.precision.PRECISIONS`.
        precision_label: the precision for people: ``"float32"``, ``"mixed float16"``.
        mixed: whether products and activations have 16 bits, and parameters more.
        scales_loss: whether the loss is scaled, so that gradients do not vanish.
        tf32: whether factors of float32 products may be rounded to ten bits.
    """

    name: ClassVar[str] = "array-api"
    distribution: ClassVar[str] = ""
    """The package that holds the library, for its version."""
    install: ClassVar[str] = ""
    """The command that installs it."""

    xp: Namespace
    device: Any

    def __init__(self, xp: Namespace | None, dtype: str | None, precision: str | None) -> None:
        self._given_xp = xp
        self._precision = chosen = resolve(dtype, precision)
        self.dtype_name = chosen.dtype
        self.precision = chosen.name
        self.precision_label = str(chosen)
        self.mixed = chosen.half is not None
        self.scales_loss = chosen.scales_loss
        self.tf32 = chosen.tf32

    @property
    def description(self) -> str:
        """Library, version and device in words."""
        return f"{self.name} {installed_version(type(self))} on {self.device_name()}"

    def device_name(self) -> str:
        """Return the device in words."""
        return str(self.device)

    def devices(self) -> list[Device]:
        """Return the devices that this library can compute on, with their memory."""
        return [Device(self.device_name(), self.device_name())]

    def versions(self) -> dict[str, str]:
        """Return the versions of the driver and of CUDA, where the library uses them."""
        return {}

    def memory(self) -> Memory | None:
        """Return the used and free memory of the device; None where it is not counted."""
        return None

    def free_memory(self) -> None:
        """Give memory that no array uses back to the device; other programs can have it then."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether an error says that there is too little memory."""
        return isinstance(error, MemoryError)

    def unsupported_reason(self, precision: Precision) -> str:
        """Return why this library or device does not have a precision; an empty text if it does."""
        if precision.tf32:
            return (
                "tf32 is a mode of NVIDIA GPUs, for cupy, and for torch and jax on such a device; "
                "precision='float32' is more exact"
            )
        if precision.half is not None and self._half(precision.half) is None:
            return f"it has no {precision.half}"
        return ""

    def _half(self, name: str) -> Any:
        """Return the library's dtype of 16 bits of that name, or None."""
        return getattr(self.xp, name, None)

    def replace(
        self, device: Any = None, dtype: str | None = None, precision: str | None = None
    ) -> Self:
        """Return the same backend on another device, or in another dtype or precision.

        Args:
            device: the device; None: the same.
            dtype: ``"float32"`` or ``"float64"``; None: that of the precision.
            precision: a name in :data:`nnbackend.core.precision.PRECISIONS`; None: that of the dtype, or
                the same if no dtype is given.
        """
        if dtype is None and precision is None:
            precision = self.precision
        device = self.device if device is None else device
        return type(self)(device, dtype, self._given_xp, precision)  # type: ignore[call-arg]

    def with_precision_if_supported(self, precision: str) -> Self:
        """Return the backend in a precision if it has that, else unchanged.

        For networks saved elsewhere: where the precision does not exist, numbers are more exact.
        """
        if precision == self.precision or self.unsupported_reason(PRECISIONS[precision]):
            return self
        return self.replace(precision=precision)

    def __repr__(self) -> str:
        plain = self.precision == self.dtype_name
        precision = "" if plain else f", precision={self.precision!r}"
        return (
            f"Backend({self.name!r}, device={str(self.device)!r}, dtype={self.dtype_name!r}"
            f"{precision})"
        )

    def __copy__(self) -> Self:
        return self  # nothing of it ever changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        name = None if self._given_xp is None else self.xp.__name__
        device = self._portable_device()
        return _unpickle, (type(self), device, self.dtype_name, name, self.precision)

    def _portable_device(self) -> Any:
        """Return the device as it can be pickled and named again."""
        return self.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceInfo) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return type(self), self.xp.__name__, str(self.device), self._precision


def _unpickle(
    cls: Any, device: Any, dtype: str, namespace: str | None, precision: str | None = None
) -> Any:
    """Return a backend that was pickled, with its library imported again."""
    xp = None if namespace is None else importlib.import_module(namespace)
    return cls(device, dtype, xp, precision)


def not_a_device(device: Any, wanted: str) -> TypeError:
    """Return the error for a ``device`` that is nothing a device could be called."""
    return TypeError(
        f"device must be {wanted}; got {given(device)}, of type {type(device).__name__}"
    )


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
