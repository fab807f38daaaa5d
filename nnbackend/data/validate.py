"""Data at the border: brought to a backend and checked once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.host import host_numbers
from nnbackend.core.types import Array, Shape
from nnbackend.losses import Loss, trait

__all__ = [
    "CLASS_KINDS",
    "check_finite",
    "check_positive_weight",
    "check_rows",
    "inputs",
    "targets",
    "to_backend",
    "to_host",
    "weights",
]


CLASS_KINDS = ("classes", "distributions", "one_hot")
"""The kinds of targets of a loss, see :func:`nnbackend.losses.trait`, that may be class numbers."""


def inputs(
    x: Any, backend: Backend, input_shape: Shape | None, name: str = "X", first: int = 0
) -> Array:
    """Return ``x`` on the backend, as rows of the expected shape.

    Args:
        x: array-like of shape (rows, *input_shape).
        backend: where it goes.
        input_shape: of one row; None: any.
        name: what the messages call it.
        first: the number of its first row, where it is a part of something.

    Raises:
        TypeError: ``x`` does not hold numbers.
        ValueError: it has no rows, another shape, or numbers that are not finite.
    """
    if x is None:
        raise TypeError(f"{name} is None: there are no data")
    array = to_backend(x, backend, name)
    check_rows(tuple(array.shape), input_shape, name)
    check_finite(array, backend, name, first)
    return array


def check_rows(shape: Shape, input_shape: Shape | None, name: str = "X") -> None:
    """Raise a ValueError if an array of that shape does not hold rows of the expected shape."""
    if len(shape) < 2:
        raise ValueError(
            f"{name} must have one row for each sample, as shape (rows, features); got shape {shape}. "
            f"One sample is {name}[None, :], one feature {name}[:, None]"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} has no rows")
    if input_shape is not None and shape[1:] != input_shape:
        raise ValueError(
            f"{name} has rows of shape {shape[1:]}, but the network was built for {input_shape}"
        )


def targets(
    y: Any,
    backend: Backend,
    loss: Loss,
    output_shape: Shape,
    x: Array,
    name: str = "y",
    first: int = 0,
) -> Array:
    """Return the target for rows ``x`` on the backend, in the shape that the loss takes.

    It gets the network's dtype and output shape; a column may be given as (rows,) or (rows, 1).
    Class numbers become one-hot rows, once instead of in each step, unless there are very many
    classes (more than features); then they stay whole numbers, of shape (rows,). Where a loss wants -1
    and 1, so they become of 0 and 1.

    Raises:
        TypeError: ``y`` does not hold numbers.
        ValueError: lengths or shapes do not match, or values are outside what the loss allows.
    """
    kind, rows, near = trait(loss, "targets"), int(x.shape[0]), backend.examiner
    most = max(math.prod(x.shape[1:]), 64)  # of more classes, rows of 0 and a 1 would be too long
    few = kind in CLASS_KINDS and output_shape != () and output_shape[-1] <= most
    if few and near.name == "numpy" and len(output_shape) == 1:
        labels = _class_numbers(y, backend, (rows, *output_shape))
        if labels is not None:
            return backend.one_hot(labels, output_shape[-1])
    try:
        given = array = _named(backend.examined, y, name)
    except TypeError as error:
        if kind not in ("numbers", "counts"):
            hint = (
                "; number the classes from 0, for instance with np.unique(y, return_inverse=True)"
            )
            raise TypeError(f"{error}{hint}") from error
        raise
    if len(array.shape) == 0 or array.shape[0] != rows:
        got = "a single number" if len(array.shape) == 0 else f"{array.shape[0]} rows"
        inputs_name = f"{name.removesuffix('y')}X"
        raise ValueError(
            f"{inputs_name} and {name} must have the same length, got {rows} rows and {got}"
        )
    check_finite(array, near, name, first)
    if kind in CLASS_KINDS:
        array = _class_targets(array, near, (rows, *output_shape), name, kind)
        if few and len(array.shape) == 1:
            return backend.one_hot(array, output_shape[-1])
    elif tuple(array.shape) != (rows, *output_shape):
        array = _reshaped(array, (rows, *output_shape), name, near)
    if kind == "fractions":
        _check_range(array, 0.0, 1.0, near, f"{name} must be between 0 and 1 for this loss")
    elif kind == "counts":
        message = f"{name} must not be negative for this loss, which is for counts"
        _check_range(array, 0.0, math.inf, near, message)
    elif kind == "signs":
        array = _signs(array, near, name)
    return _handed_over(array, given, y, backend)


def weights(
    w: Any, backend: Backend, rows: int, first: int = 0, whole: bool = True
) -> Array | None:
    """Return sample weights on the backend, or None.

    Args:
        w: array-like of shape (rows,), or None.
        backend: where they go.
        rows: how many there have to be.
        first: the number of the first row, where they are a part of something.
        whole: whether they are not a part, which may be of weight zero.

    Raises:
        ValueError: not one for each row, negative, not finite, or all zero.
    """
    if w is None:
        return None
    near = backend.examiner
    array = _named(backend.examined, w, "sample_weight")
    if tuple(array.shape) != (rows,):
        raise ValueError(
            f"sample_weight must have one number for each of the {rows} rows, "
            f"got shape {tuple(array.shape)}"
        )
    check_finite(array, near, "sample_weight", first)
    _check_range(array, 0.0, math.inf, near, "sample_weight must not be negative")
    if whole:
        check_positive_weight(array, near)
    return _handed_over(array, array, w, backend)


def check_positive_weight(weight: Array | None, backend: Backend, where: str = "") -> None:
    """Raise a ValueError if no row has a weight; ``where`` ends the message."""
    if weight is not None and float(backend.xp.sum(weight)) == 0.0:
        raise ValueError(f"sample_weight must not be zero for all rows{where}")


def check_finite(array: Array, backend: Backend, name: str, first: int = 0) -> None:
    """Raise a ValueError that gives the place of the first number that is NaN or infinite.

    Args:
        array: on the backend.
        backend: where it is.
        name: what the message calls it.
        first: the number of its first row, where it is a part of something.
    """
    if backend.all_finite(array):
        return
    host = backend.to_numpy(array)
    position = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    place = (position[0] + first, *position[1:]) if position else position
    count = int((~np.isfinite(host)).sum())
    advice = "remove or impute such rows"
    if np.isinf(host[position]) and host.dtype == np.float32:
        advice += (
            " (what is above 3.4e38 is infinite in float32: scale it, or take dtype='float64')"
        )
    raise ValueError(
        f"{name} has {count} number{'s' if count > 1 else ''} that "
        f"{'are' if count > 1 else 'is'} not finite, the first ({host[position]}) at "
        f"{name}[{', '.join(map(str, place))}]; {advice}"
    )


def to_backend(x: Any, backend: Backend, name: str) -> Array:
    """Return ``x`` on the backend.

    Raises:
        TypeError: it does not hold numbers; the message calls it ``name``.
    """
    return _named(backend.asarray, x, name)


def _named(bring: Callable[[Any], Array], x: Any, name: str) -> Array:
    """Return ``bring(x)``; errors say what ``x`` is called. What a mask hides is missing: NaN."""
    if isinstance(x, np.ma.MaskedArray):
        x = np.ma.filled(x.astype(np.float64), np.nan)
    try:
        return bring(x)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error


def to_host(values: Any) -> np.ndarray[Any, Any]:
    """Return values of any kind, also texts, as a NumPy array."""
    try:
        return host_numbers(values)
    except TypeError:
        return np.asarray(values)


def _handed_over(array: Array, given: Array, x: Any, backend: Backend) -> Array:
    """Return on the backend what its examiner made of ``x``, which it saw as ``given``."""
    if backend.examiner is backend:
        return array
    if array is given and backend.owns(x):  # it is not copied there and back
        return backend.asarray(x)
    return backend.asarray(array, dtype=getattr(backend.xp, array.dtype.name))


def _class_numbers(y: Any, backend: Backend, shape: Shape) -> Any:
    """Return class numbers that are whole and in range as they are given, one a row, or None."""
    if backend.name != "numpy" and backend.owns(y):
        y = backend.to_numpy(y)
    if type(y) is not np.ndarray or y.dtype.kind not in "iu" or (*y.shape, shape[-1]) != shape:
        return None
    in_range = y.min() >= 0 and y.max() < shape[-1]
    return y.astype(np.int32, copy=False) if in_range else None


def _class_targets(array: Array, backend: Backend, shape: Shape, name: str, kind: str) -> Array:
    """Return class numbers as integers of shape (rows,), or rows of probabilities as they are."""
    xp = backend.xp
    classes = shape[-1]
    if tuple(array.shape) == shape and classes > 1:
        _check_range(
            array, 0.0, math.inf, backend, f"{name} must hold probabilities, or be one-hot"
        )
        if kind != "classes" and float(xp.max(xp.abs(xp.sum(array, axis=-1) - 1.0))) > 1e-3:
            raise ValueError(f"{name} must have rows that sum to 1 for this loss")
        if kind == "one_hot" and not bool(xp.all((array == 0.0) | (array == 1.0))):
            raise ValueError(f"{name} must be class numbers or one-hot for this loss")
        return array
    labels = _reshaped(array, shape[:-1], name, backend, f" (class numbers) or {shape} (one-hot)")
    if not bool(xp.all(labels == xp.floor(labels))):
        raise ValueError(f"{name} must hold whole class numbers from 0 to {classes - 1}")
    message = f"{name} has labels outside 0 ... {classes - 1}, the network's {classes} classes"
    _check_range(labels, 0.0, classes - 1.0, backend, message)
    return xp.astype(labels, xp.int32)


def _signs(array: Array, backend: Backend, name: str) -> Array:
    """Return -1 and 1 for 0 and 1, or as they are."""
    xp = backend.xp
    positive = array == 1.0
    if not bool(xp.all(positive | (array == -1.0))):
        if not bool(xp.all(positive | (array == 0.0))):
            raise ValueError(f"{name} must hold -1 and 1, or 0 and 1, for this loss")
        array = 2.0 * array - 1.0
    return array


def _reshaped(array: Array, shape: Shape, name: str, backend: Backend, also: str = "") -> Array:
    """Return the array in ``shape`` if they differ by axes of length 1 only."""
    if tuple(n for n in array.shape[1:] if n > 1) != tuple(n for n in shape[1:] if n > 1):
        hint = ""
        if len(array.shape) == 1 and not also:
            hint = "; for class numbers take a loss like softmax_cross_entropy"
        raise ValueError(f"{name} must have shape {shape}{also}, got {tuple(array.shape)}{hint}")
    return backend.xp.reshape(array, shape)


def _check_range(array: Array, low: float, high: float, backend: Backend, message: str) -> None:
    xp = backend.xp
    least, most = float(xp.min(array)), float(xp.max(array))
    if least < low or most > high:
        raise ValueError(f"{message}; got {least if least < low else most:g}")
