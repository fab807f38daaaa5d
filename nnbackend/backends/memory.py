"""Devices and their memory, as the libraries report them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Device", "Memory", "in_words"]


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
