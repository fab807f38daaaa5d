"""Inputs and weights, checked once and brought to a backend, before anything computes with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.host import host_numbers
from nnbackend.core.shapes import Shapes
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays, Shape
from nnbackend.data.host_data import host_backend, is_on_device
from nnbackend.data.input_spec import InputSpec, arrange, check_same_rows, name_arrays
from nnbackend.losses.preconditions import check_weights

__all__ = [
    "bring_named",
    "check_finite",
    "check_positive_weight",
    "check_row_shapes",
    "hand_over",
    "inputs",
    "look_at",
    "to_backend",
    "to_host",
    "weights",
]


def inputs(x: Any, backend: Backend, spec: InputSpec, name: str = "X", first: int = 0) -> Arrays:
    """Return inputs on the backend: numbers in its dtype, indices as integers.

    They are array-like of shape ``(rows, *shape)``, or a tree of these; see
    :func:`nnbackend.data.input_spec.is_tree`. ``first`` is the number of their first row, where they are
    a part of something.

    Raises:
        TypeError: they do not hold numbers.
        ValueError: there are no rows, or not as many in each array; they have another shape or nesting,
            numbers that are not finite, or indices that are fractions or out of range.
    """

    def bring(x: Any, spec: InputSpec, name: str) -> Array:
        if spec.indices:
            return _to_indices(x, spec, name, backend, first)
        array = to_backend(x, backend, name)
        _row_shape(tuple(array.shape), spec, name)
        check_finite(array, backend, name, first)
        return array

    if spec.is_one and not isinstance(
        x, (tuple, dict, type(None))
    ):  # a short way for most networks
        return bring(x, spec, name)
    arranged = _arrange_given(x, spec, name)
    names = name_arrays(arranged, name)
    arrays = map_arrays(bring, arranged, spec.of_each(arranged, name), names)
    check_same_rows(arrays, name)
    return arrays


def check_row_shapes(x: Arrays, spec: InputSpec, name: str = "X") -> Shapes:
    """Return the shape of a row of each array; the numbers in it are not looked at.

    Raises:
        ValueError: they do not hold rows of the shapes that the network takes, or not as many each.
    """
    arranged = _arrange_given(x, spec, name)

    def row_shape(x: Any, spec: InputSpec, name: str) -> Shape:
        array = x if hasattr(x, "shape") else bring_named(host_numbers, x, name)
        return _row_shape(tuple(array.shape), spec, name)

    shapes = map_arrays(
        row_shape,
        arranged,
        spec.of_each(arranged, name),
        name_arrays(arranged, name),
    )
    check_same_rows(arranged, name)
    return shapes


def _arrange_given(x: Any, spec: InputSpec, name: str) -> Arrays:
    if x is None:
        raise TypeError(f"{name} is None: there are no data")
    return arrange(x, spec.shape, name)


def _row_shape(shape: Shape, spec: InputSpec, name: str) -> Shape:
    """Return the shape of a row of an array of that shape; raise a ValueError if it is another."""
    if len(shape) < (1 if spec.indices else 2):
        raise ValueError(
            f"{name} must have one row for each sample, as shape (rows, features); got shape {shape}. "
            f"One sample is {name}[None, :], one feature {name}[:, None]"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} has no rows")
    if spec.shape is not None and shape[1:] != spec.shape:
        raise ValueError(
            f"{name} has rows of shape {shape[1:]}, but the network was built for {spec.shape}"
        )
    return shape[1:]


def _to_indices(x: Any, spec: InputSpec, name: str, backend: Backend, first: int) -> Array:
    """Return indices on the backend, as integers of 32 bits, or of 64 where these are too few."""
    kind, owned = ("int32" if spec.stop <= 1 << 31 else "int64"), backend.owns(x)
    if owned and is_on_device(x) and backend.xp.isdtype(x.dtype, "integral"):
        array, xp = x, backend.xp
    else:
        array, xp = backend.to_numpy(x) if owned else bring_named(host_numbers, x, name), np
    _row_shape(tuple(array.shape), spec, name)
    if math.prod(array.shape) > 0:
        # Compared as Python's integers: 32 bits cannot hold every limit.
        if xp is np and array.dtype.kind == "f":
            whole = np.isfinite(array) & (array == np.floor(array))
            if not bool(whole.all()):
                raise _bad_index(array, ~whole, spec, name, first)
        if int(xp.min(array)) < 0 or int(xp.max(array)) >= spec.stop:
            host = array if xp is np else backend.to_numpy(array)
            raise _bad_index(host, (host < 0) | (host >= spec.stop), spec, name, first)
    dtype = getattr(backend.xp, kind)
    return backend.asarray(x if owned else array.astype(kind, copy=False), dtype=dtype)


def _bad_index(
    array: np.ndarray[Any, Any], wrong: Any, spec: InputSpec, name: str, first: int
) -> ValueError:
    """Return the error for the first index that is wrong."""
    position = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = ", ".join(map(str, (position[0] + first, *position[1:])))
    return ValueError(
        f"{name} must hold whole numbers from 0 to {spec.stop - 1}, which are indices; "
        f"got {array[position]} at {name}[{place}]"
    )


def weights(
    w: Any, backend: Backend, rows: int, first: int = 0, whole: bool = True
) -> Array | None:
    """Return sample weights on the backend, or None.

    A part, whose first row has the number ``first``, is not ``whole``: all of it may have weight zero.

    Raises:
        ValueError: not one for each row, negative, not finite, or all zero.
    """
    if w is None:
        return None
    array, near = look_at(w, backend, "sample_weight")
    if tuple(array.shape) != (rows,):
        raise ValueError(
            f"sample_weight must have one number for each of the {rows} rows, "
            f"got shape {tuple(array.shape)}"
        )
    check_finite(array, near, "sample_weight", first)
    check_weights(array, near.xp)
    if whole:
        check_positive_weight(array, near)
    return hand_over(array, array, w, near, backend)


def check_positive_weight(weight: Array | None, backend: Backend, where: str = "") -> None:
    """Raise a ValueError if no row has a weight; ``where`` ends the message."""
    if weight is None:
        return
    if float(backend.xp.max(weight)) == 0.0:
        raise ValueError(f"sample_weight must not be zero for all rows{where}")
    check_weights(weight, backend.xp, where)


def check_finite(array: Array, backend: Backend, name: str, first: int = 0) -> None:
    """Raise a ValueError that gives the place of the first number that is NaN or infinite.

    ``first`` is the number of the first row, where the array is a part of something.
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
    """Return ``x`` on the backend; a TypeError, if it holds no numbers, calls it ``name``."""
    return bring_named(backend.asarray, x, name)


def bring_named(bring: Callable[[Any], Array], x: Any, name: str) -> Array:
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


def look_at(x: Any, backend: Backend, name: str) -> tuple[Array, Backend]:
    """Return numbers where they can be checked fastest, and the backend there.

    In the host's memory that is NumPy: it begins at once, and does not wait for a device.
    """
    host = bring_named(backend.host_view, x, name)
    if host is None:
        return bring_named(backend.asarray, x, name), backend
    near = backend if backend.owns(host) else host_backend(backend)
    return near.asarray(host), near


def hand_over(array: Array, given: Array, x: Any, near: Backend, backend: Backend) -> Array:
    """Return the array made of ``x`` on the backend; it was checked as ``given`` on ``near``."""
    if near is backend:
        return array
    if array is given and backend.owns(x):  # it is not copied there and back
        return backend.asarray(x)
    return backend.asarray(array, dtype=getattr(backend.xp, array.dtype.name))
