"""Numbers from anywhere (lists, frames, arrays of any library) as NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnbackend.errors import given

__all__ = ["finite_on_host", "host_numbers", "is_on_device", "to_host", "view_on_host"]

_DLPACK_CPU = 1  # the number of the CPU in DLPack


def host_numbers(x: Any, dtype: str | None = None) -> np.ndarray[Any, Any]:
    """Return ``x`` as a NumPy array of real numbers, of ``dtype`` if one is given."""
    try:
        array = to_host(x)
    except ValueError as error:
        raise TypeError(f"the rows have different lengths, or are not numbers: {error}") from error
    if array.dtype.kind == "O":
        if hasattr(x, "toarray"):
            raise TypeError(
                "expected an array, got a sparse one: x.toarray() makes it dense, and the "
                "scikit-learn estimators take it as it is"
            )
        array = _from_objects(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected real numbers, got an array of dtype {array.dtype}")
    # Converted here, before it travels: fewer bytes, and some devices have no float64.
    with np.errstate(over="ignore"):  # numbers too large become infinite, and are refused later
        return array if dtype is None else array.astype(dtype, copy=False)


def is_on_device(x: Any) -> bool:
    """Return whether an array is in a device's memory rather than the host's."""
    device = getattr(x, "__dlpack_device__", None)
    return device is not None and device()[0] != _DLPACK_CPU


def finite_on_host(x: np.ndarray[Any, Any]) -> bool:
    """Return whether no number of a NumPy array is NaN or infinite."""
    # A finite sum of squares proves it in one fast pass; an infinite one may be an overflow.
    return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())


def view_on_host(x: Any) -> np.ndarray[Any, Any] | None:
    """Return an array as NumPy's, without a copy; None if it is elsewhere, traced or recorded."""
    if type(x) is np.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray):  # what is hidden is missing
        return np.ma.filled(x.astype(np.float64), np.nan)
    if isinstance(x, np.ndarray):
        return x.view(np.ndarray) if isinstance(x, np.memmap) else None
    try:
        return None if is_on_device(x) else np.from_dlpack(x)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        return None


def _from_objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the numbers of an object array (a pandas frame of mixed columns), None as NaN."""
    for position, value in np.ndenumerate(array):
        if isinstance(value, str):
            raise TypeError(f"expected numbers, got the text {value!r} at {position}")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"expected numbers, got {_no_number(array)}") from error


def _no_number(array: np.ndarray[Any, Any]) -> str:
    """Return the first object that is no number, and where it is."""
    for position, value in np.ndenumerate(array):
        try:
            np.asarray(value, dtype=object).astype(np.float64)
        except OverflowError:
            return f"{given(value)}{_place(position)}, which float64 does not hold"
        except (TypeError, ValueError):
            return f"{given(value)}{_place(position)}"
    return "an array of objects"


def _place(position: tuple[int, ...]) -> str:
    return f" at {position}" if position else ""


def to_host(x: Any) -> np.ndarray[Any, Any]:
    """Return ``x`` as a NumPy array, whatever library it is from."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach") and hasattr(x, "cpu"):  # torch; open files have the first
        return np.asarray(x.detach().cpu())
    if hasattr(x, "__cuda_array_interface__") and hasattr(x, "get"):  # CuPy
        return np.asarray(x.get())
    if hasattr(x, "to_numpy"):  # pandas, polars
        return np.asarray(x.to_numpy())
    return np.asarray(x)
