"""Arrays in float64, on any device: for sums over rows, and for answers in users' units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import device

from nnbackend.backends.base import Backend, namespace
from nnbackend.backends.choose import get_backend
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import BackendUnavailableError, given

__all__ = ["float64_sum", "in_float64", "scored_arrays"]


def in_float64(*arrays: Array | None) -> tuple[Any, ...]:
    """Return arrays of one library in float64; whole numbers, booleans and None stay what they are.

    They stay on their device, unless that has no float64: then NumPy's arrays on the host come back.
    """
    for array in arrays:
        if array is not None and not hasattr(array, "dtype"):
            raise TypeError(
                f"expected an array, got {given(array)}; np.asarray makes one of a list"
            )
    like = next((array for array in arrays if array is not None), None)
    if like is None:
        raise TypeError("expected an array, got None")
    if not isinstance(like, np.ndarray):
        backend = _backend(namespace(like), device(like))
        if backend.dtype_name != "float64":
            arrays = tuple(None if a is None else backend.to_numpy(a) for a in arrays)
    return tuple(None if a is None else _widened(a) for a in arrays)


def scored_arrays(
    prediction: Array, target: Array, sample_weight: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return the arguments of a metric in float64; refuse what are no arrays, and weights of others."""
    for name, array in (("prediction", prediction), ("target", target)):
        if not hasattr(array, "dtype"):
            raise TypeError(f"{name} must be an array, got {given(array)}")
    shape = None if sample_weight is None else getattr(sample_weight, "shape", ())
    if shape is not None and (not shape or math.prod(shape) != prediction.shape[0]):
        raise ValueError(
            f"sample_weight must have one number for each of the {prediction.shape[0]} rows, got "
            f"{given(sample_weight)}"
        )
    return in_float64(prediction, target, sample_weight)


def float64_sum(array: Array) -> float:
    """Return the sum of all numbers, added up in float64."""
    (wide,) = in_float64(array)
    return float(namespace(wide).sum(wide))


def _widened(array: Array) -> Array:
    xp = namespace(array)
    if array.dtype == xp.float64 or not xp.isdtype(array.dtype, "real floating"):
        return array
    return xp.astype(array, xp.float64)


def _backend(xp: Namespace, place: Any) -> Backend:
    """Return the backend of a library's device, in float64 if it has that."""
    backend = get_backend(xp, place, "float32")
    try:
        wide = backend.replace(dtype="float64")
        wide.asarray([0.0])  # a device may lack what its library has
    except (BackendUnavailableError, TypeError, ValueError):
        return backend
    return wide
