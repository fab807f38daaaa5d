"""Targets, checked against what the loss takes and brought to a backend in that form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.tree import arrays_in, count_rows, map_arrays
from nnbackend.core.types import Array, Arrays, Shape
from nnbackend.data.input_spec import InputSpec, arrange, is_tree, name_arrays
from nnbackend.data.validate import check_finite, check_range, hand_over, inputs, look_at, weights
from nnbackend.losses import LOSSES, Loss, trait

__all__ = ["RowCheck", "takes_classes", "targets"]

_FEW_CLASSES = 64  # of more, and of more than features, rows of 0 and a 1 would be too long


@dataclass(frozen=True)
class _Kind:
    """What targets are, in the word that a loss says it with.

    Attributes:
        classes: whether they are class numbers, or rows of probabilities.
        sums_to_one: whether such rows have to sum to 1.
        one_hot: whether such rows have to be zeros and a one.
        signs: whether they are -1 and 1.
        low: the smallest number allowed.
        high: the largest number allowed.
        complaint: the message for other targets, after their name.
    """

    classes: bool = False
    sums_to_one: bool = False
    one_hot: bool = False
    signs: bool = False
    low: float = -math.inf
    high: float = math.inf
    complaint: str = ""


_NUMBER_KIND = _Kind()
_TARGET_KINDS = {
    "numbers": _NUMBER_KIND,
    "counts": _Kind(low=0.0, complaint="must not be negative for this loss, which is for counts"),
    "fractions": _Kind(low=0.0, high=1.0, complaint="must be between 0 and 1 for this loss"),
    "signs": _Kind(signs=True),
    "classes": _Kind(classes=True),
    "distributions": _Kind(classes=True, sums_to_one=True),
    "one_hot": _Kind(classes=True, sums_to_one=True, one_hot=True),
}


def targets(
    y: Any,
    backend: Backend,
    loss: Loss,
    output_shape: Shapes,
    x: Arrays,
    name: str = "y",
    first: int = 0,
) -> Arrays:
    """Return the targets for rows ``x`` on the backend, in the form that the loss takes.

    They get the network's dtype and output shape; a column may be given as (rows,) or (rows, 1).
    Class numbers become one-hot rows, once instead of in each step, unless there are very many
    classes (more than features); then they stay whole numbers, of shape (rows,). Where a loss takes
    -1 and 1, 0 and 1 become these.

    A tree of targets, or a network with several outputs, goes with a loss of the user's alone, which
    gets the targets as numbers in the shapes they have.

    Raises:
        TypeError: ``y`` does not hold numbers.
        ValueError: lengths or shapes do not match, or values are outside what the loss allows.
    """
    rows = count_rows(x)
    if is_tree(y) or not is_shape(output_shape):
        _check_takes_several(y, loss, output_shape, name)
        arranged = arrange(y, None, name)
        names = name_arrays(arranged, name)
        return map_arrays(lambda a, n: _numbers(a, backend, n, rows, first), arranged, names)
    kind = _kind_of(loss)
    features = sum(math.prod(array.shape[1:]) for array in arrays_in(x))
    few = output_shape != () and output_shape[-1] <= max(features, _FEW_CLASSES)
    if kind.classes and few and len(output_shape) == 1:
        labels = _class_numbers(y, backend, (rows, *output_shape))
        if labels is not None:
            return backend.one_hot(labels, output_shape[-1])
    try:
        given, near = look_at(y, backend, name)
    except TypeError as error:
        if kind in (_NUMBER_KIND, _TARGET_KINDS["counts"]):
            raise
        hint = "number the classes from 0, for instance with np.unique(y, return_inverse=True)"
        raise TypeError(f"{error}; {hint}") from error
    array = given
    _check_length(array, rows, name)
    check_finite(array, near, name, first)
    if kind.classes:
        array = _class_targets(array, near, (rows, *output_shape), name, kind)
        if few and len(array.shape) == 1:
            return backend.one_hot(array, output_shape[-1])
    elif tuple(array.shape) != (rows, *output_shape):
        array = _reshaped(array, (rows, *output_shape), name, near)
    if kind.complaint:
        check_range(array, kind.low, kind.high, near, f"{name} {kind.complaint}")
    if kind.signs:
        array = _signs(array, near, name)
    return hand_over(array, given, y, near, backend)


@dataclass(frozen=True)
class RowCheck:
    """Checks rows against what a network and its loss take, and brings them to a backend.

    Attributes:
        spec: the inputs that the network takes.
        output_shape: the shape of a row of outputs, or a tree of shapes.
        loss: the loss, which says what targets are.
    """

    spec: InputSpec
    output_shape: Shapes
    loss: Loss

    def __call__(
        self,
        given: tuple[Any, Any, Any],
        backend: Backend,
        prefix: str = "",
        first: int = 0,
        whole: bool = True,
    ) -> tuple[Arrays, Arrays, Array | None]:
        """Return inputs, targets and weights on the backend.

        Rows that are a part of something begin with number ``first``, and are not ``whole``.

        Raises:
            ValueError, TypeError: they do not fit; the message calls them ``prefix`` X and y.
        """
        x, y, weight = given
        x = inputs(x, backend, self.spec, f"{prefix}X", first)
        y = targets(y, backend, self.loss, self.output_shape, x, f"{prefix}y", first)
        return x, y, weights(weight, backend, count_rows(x), first, whole)


def takes_classes(loss: Loss) -> bool:
    """Return whether targets of a loss may be class numbers."""
    return _kind_of(loss).classes


def _kind_of(loss: Loss) -> _Kind:
    """Return the kind of targets that a loss takes; numbers by default."""
    word = trait(loss, "targets")
    return _TARGET_KINDS.get(word, _NUMBER_KIND) if isinstance(word, str) else _NUMBER_KIND


def _check_takes_several(y: Any, loss: Loss, output_shape: Shapes, name: str) -> None:
    """Refuse several targets or outputs for a loss of the library, which takes one array of each."""
    loss_name = LOSSES.name_of(loss)
    if loss_name is None:
        return
    what = f"{name} is a {type(y).__name__} of arrays"
    if not is_tree(y):
        what = f"the network has {len(output_shape)} outputs"
    raise ValueError(
        f"{what}, and the loss {loss_name} takes one array: give your own function, "
        "loss(outputs, targets) -> (value, gradients), with gradients nested as the outputs are"
        + ("; rows that are arrays go into a list" if is_tree(y) else "")
    )


def _numbers(y: Any, backend: Backend, name: str, rows: int, first: int) -> Array:
    """Return one of several targets on the backend, in the shape that it has."""
    array, near = look_at(y, backend, name)
    _check_length(array, rows, name)
    check_finite(array, near, name, first)
    return hand_over(array, array, y, near, backend)


def _check_length(array: Array, rows: int, name: str) -> None:
    """Raise a ValueError if there are not as many targets as rows."""
    if len(array.shape) == 0 or array.shape[0] != rows:
        got = "a single number" if len(array.shape) == 0 else f"{array.shape[0]} rows"
        inputs_name = f"{name.partition('y')[0]}X"
        raise ValueError(
            f"{inputs_name} and {name} must have the same length, got {rows} rows and {got}"
        )


def _class_numbers(y: Any, backend: Backend, shape: Shape) -> Any:
    """Return class numbers that are whole and in range, one a row, or None."""
    if backend.owns(y):
        y = backend.host_view(y)
    if type(y) is not np.ndarray or y.dtype.kind not in "iu" or (*y.shape, shape[-1]) != shape:
        return None
    in_range = y.min() >= 0 and y.max() < shape[-1]
    return y.astype(np.int32, copy=False) if in_range else None


def _class_targets(array: Array, backend: Backend, shape: Shape, name: str, kind: _Kind) -> Array:
    """Return class numbers as integers of shape (rows,), or rows of probabilities as they are."""
    xp = backend.xp
    classes = shape[-1]
    if tuple(array.shape) == shape and classes > 1:
        check_range(array, 0.0, math.inf, backend, f"{name} must hold probabilities, or be one-hot")
        if kind.sums_to_one and float(xp.max(xp.abs(xp.sum(array, axis=-1) - 1.0))) > 1e-3:
            raise ValueError(f"{name} must have rows that sum to 1 for this loss")
        if kind.one_hot and not bool(xp.all((array == 0.0) | (array == 1.0))):
            raise ValueError(f"{name} must be class numbers or one-hot for this loss")
        return array
    labels = _reshaped(array, shape[:-1], name, backend, f" (class numbers) or {shape} (one-hot)")
    if not bool(xp.all(labels == xp.floor(labels))):
        raise ValueError(f"{name} must hold whole class numbers from 0 to {classes - 1}")
    message = f"{name} has labels outside 0 ... {classes - 1}, the network's {classes} classes"
    check_range(labels, 0.0, classes - 1.0, backend, message)
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
