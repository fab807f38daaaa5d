"""Parameters and labels of estimators as JSON can hold them, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.registry import describe, rebuild
from nnbackend.errors import ModelFileError

__all__ = ["label_array", "plain", "rebuilt"]

_MAX_BYTES = 2**30  # of the labels; a file may name a dtype of texts of any length


def label_array(dtype: str, values: list[Any]) -> NDArray[Any]:
    """Return the labels of classes that a file describes.

    Raises:
        ModelFileError: the dtype is none of labels or too large, or the values are no list of such.
    """
    kind, found = np.dtype(dtype), [rebuilt(value) for value in values]
    if kind.kind not in "biufUO" or kind.itemsize * len(found) > _MAX_BYTES:
        raise ModelFileError(f"its classes have the dtype {kind}")
    labels = np.array(found, dtype=kind)
    if labels.ndim != 1:
        raise ModelFileError("its classes are no list")
    return labels


def plain(value: Any, name: str) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {"pairs": [[plain(k, name), plain(v, name)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [plain(item, name) for item in value]}
    if isinstance(value, list):
        return [plain(item, name) for item in value]
    try:
        return describe(value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error


def rebuilt(value: Any) -> Any:
    """Return the object that :func:`plain` described."""
    if isinstance(value, list):
        return [rebuilt(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"number"}:
        return float(value["number"])
    if value.keys() == {"pairs"}:
        return {rebuilt(k): rebuilt(v) for k, v in value["pairs"]}
    if value.keys() == {"tuple"}:
        return tuple(rebuilt(item) for item in value["tuple"])
    return rebuild(value)
