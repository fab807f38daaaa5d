"""Targets, checked against what the loss takes and brought to a backend in that form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.checks import named
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.tree import arrays_in, count_rows, map_arrays
from nnbackend.core.types import Array, Arrays, Shape
from nnbackend.data.input_spec import InputSpec, arrange, is_tree, name_arrays
from nnbackend.data.validate import check_finite, hand_over, inputs, look_at, weights
from nnbackend.errors import counted
from nnbackend.losses import LOSSES, EachMember, Loss, PerOutput, trait
from nnbackend.losses.each_member import shape_of_a_member
from nnbackend.losses.preconditions import TARGET_KINDS, TargetKind, check_targets, kind_of

__all__ = ["RowCheck", "takes_classes", "targets"]

_FEW_CLASSES = 64  # of more, and of more than features, rows of 0 and a 1 would be too long


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

    Of several outputs with a loss each, the targets of each are as its loss takes them. With a loss of
    the user's for all of them together they are a tree of numbers, in the shapes they have.

    Raises:
        TypeError: ``y`` does not hold numbers.
        ValueError: lengths or shapes do not match, or values are outside what the loss allows.
    """
    if isinstance(loss, PerOutput):
        return _targets_of_each(y, backend, loss, output_shape, x, name, first)
    if isinstance(loss, EachMember):
        loss, output_shape = loss.parts[0], shape_of_a_member(output_shape)
    rows = count_rows(x)
    if is_tree(y) or not is_shape(output_shape):
        _check_takes_several(y, loss, output_shape, name)
        arranged = arrange(y, None, name)
        names = name_arrays(arranged, name)
        return map_arrays(lambda a, n: _numbers(a, backend, n, rows, first), arranged, names)
    kind = kind_of(trait(loss, "targets"))
    few = kind.classes and _are_few(output_shape, x)
    if kind.classes and few and len(output_shape) == 1:
        labels = _class_numbers(y, backend, (rows, *output_shape))
        if labels is not None:
            return backend.one_hot(labels, output_shape[-1])
    try:
        given, near = look_at(y, backend, name)
    except TypeError as error:
        if kind in (TARGET_KINDS["numbers"], TARGET_KINDS["counts"]):
            raise
        hint = "number the classes from 0, for instance with np.unique(y, return_inverse=True)"
        raise TypeError(f"{error}; {hint}") from error
    array = given
    _check_length(array, rows, name)
    check_finite(array, near, name, first)
    array, numbered = _arranged(array, near, (rows, *output_shape), name, kind)
    outputs = output_shape[-1] if output_shape else 1
    check_targets(kind, array, outputs, numbered, near.xp, name)
    if numbered:
        array = near.xp.astype(array, near.xp.int32)
        if few and len(array.shape) == 1:
            return backend.one_hot(array, outputs)
    return hand_over(array, given, y, near, backend)


def _targets_of_each(
    y: Any,
    backend: Backend,
    loss: PerOutput,
    output_shape: Shapes,
    x: Arrays,
    name: str,
    first: int,
) -> Arrays:
    """Return the targets of several outputs, nested as these are; see :func:`targets`."""
    in_order = isinstance(output_shape, tuple)
    if in_order and isinstance(y, dict) and y.keys() == set(loss.by_name):
        y = tuple(y[own] for own in loss.by_name)  # a graph's outputs in order have names too
    given = arrange(y, output_shape, name)
    places = output_shape if isinstance(output_shape, dict) else range(len(output_shape))
    found = {}
    for place, own in zip(places, loss.by_name, strict=True):
        what, shape = f"{name}[{place!r}]", output_shape[place]
        part = loss.by_name[place if isinstance(output_shape, dict) else own]
        with named(what):
            found[place] = targets(given[place], backend, part, shape, x, what, first)
    return found if isinstance(output_shape, dict) else tuple(found.values())


def _are_few(output_shape: tuple[int, ...], x: Arrays) -> bool:
    """Return whether classes are few enough for rows of 0 and a 1."""
    features = sum(math.prod(array.shape[1:]) for array in arrays_in(x))
    return output_shape != () and output_shape[-1] <= max(features, _FEW_CLASSES)


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
    return kind_of(trait(loss, "targets")).classes


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
        got = "a single number" if len(array.shape) == 0 else counted(array.shape[0], "row")
        inputs_name = f"{name.partition('y')[0]}X"
        raise ValueError(
            f"{inputs_name} and {name} must have the same length, got {counted(rows, 'row')} and {got}"
        )


def _class_numbers(y: Any, backend: Backend, shape: Shape) -> Any:
    """Return class numbers that are whole and in range, one a row, or None."""
    if backend.owns(y):
        y = backend.host_view(y)
    if type(y) is not np.ndarray or y.dtype.kind not in "iu" or (*y.shape, shape[-1]) != shape:
        return None
    in_range = y.min() >= 0 and y.max() < shape[-1]
    return y.astype(np.int32, copy=False) if in_range else None


def _arranged(
    array: Array, backend: Backend, shape: Shape, name: str, kind: TargetKind
) -> tuple[Array, bool]:
    """Return targets in the shape of the outputs, or class numbers without the last axis; and which.

    Where a loss takes -1 and 1, 0 and 1 become these.
    """
    xp, same = backend.xp, tuple(array.shape) == shape
    if kind.classes and not (same and shape[-1] > 1):
        also = f" (class numbers) or {shape} (one-hot)"
        return _reshaped(array, shape[:-1], name, backend, also), True
    array = array if same else _reshaped(array, shape, name, backend)
    if kind.signs and bool(xp.all((array == 1.0) | (array == 0.0))):
        array = 2.0 * array - 1.0
    return array, False


def _reshaped(array: Array, shape: Shape, name: str, backend: Backend, also: str = "") -> Array:
    """Return the array in ``shape`` if they differ by axes of length 1 only."""
    if tuple(n for n in array.shape[1:] if n > 1) != tuple(n for n in shape[1:] if n > 1):
        hint = ""
        if len(array.shape) == 1 and not also:
            hint = "; for class numbers take a loss like softmax_cross_entropy"
        raise ValueError(f"{name} must have shape {shape}{also}, got {tuple(array.shape)}{hint}")
    return backend.xp.reshape(array, shape)
