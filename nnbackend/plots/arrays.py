"""What figures take (arrays of any library, lists, columns of frames) as NumPy arrays that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.backends.host import host_numbers, to_host
from nnbackend.core.text import in_short, number
from nnbackend.errors import given, listed

__all__ = [
    "class_numbers",
    "escape_text",
    "number_column",
    "number_matrix",
    "probability_table",
    "value_column",
]

_SUM = 1e-2  # how far from 1 the probabilities of a row may sum, in 16 bits


def value_column(name: str, values: Any) -> NDArray[Any]:
    """Return values of any kind, one for each row, of shape (rows,); (rows, 1) counts as that."""
    return _column(name, to_host(values))


def number_column(name: str, values: Any) -> NDArray[np.float64]:
    """Return finite numbers, one for each row, of shape (rows,); (rows, 1) counts as that."""
    return _finite(name, _column(name, _numbers(name, values)))


def number_matrix(name: str, values: Any, of: str) -> NDArray[np.float64]:
    """Return finite numbers of two axes, which ``of`` names in messages: ``"(rows, columns)"``."""
    numbers = _numbers(name, values)
    if numbers.ndim != 2 or not numbers.size:
        raise ValueError(f"{name} must be numbers of shape {of}, got shape {numbers.shape}")
    return _finite(name, numbers)


def probability_table(
    name: str, values: Any, classes: Sequence[Any] | None
) -> tuple[NDArray[np.float64], list[Any]]:
    """Return the probabilities of all classes, shape (rows, classes), and the classes (None: 0, 1, ...).

    Raises:
        ValueError: a row does not sum to 1, or there is another number of classes.
    """
    table = number_matrix(name, values, "(rows, classes)")
    known = list(range(table.shape[1])) if classes is None else list(classes)
    if len(known) != table.shape[1]:
        raise ValueError(
            f"{name} has {table.shape[1]} columns, one for each class; classes are {len(known)}"
        )
    sums = table.sum(axis=1)
    wrong = np.flatnonzero((np.abs(sums - 1.0) > _SUM) | (table < 0.0).any(axis=1))
    if len(wrong):
        raise ValueError(
            f"{name} of several classes must be their probabilities, from 0 to 1 and with the sum 1 in "
            f"each row; row {wrong[0]} has the sum {number(float(sums[wrong[0]]))}. Outputs without an "
            "activation become probabilities by a softmax"
        )
    return table, known


def class_numbers(
    columns: dict[str, NDArray[Any]], classes: Sequence[Any] | None
) -> tuple[list[NDArray[np.int64]], list[Any]]:
    """Return columns of classes as the numbers of the classes, and the classes.

    Args:
        columns: the columns by the names that they have in messages.
        classes: the classes, in order; where they are texts, a column may hold their numbers, from 0.
            None: those that occur, sorted.

    Raises:
        ValueError: a value is no class, or the columns have different lengths.
    """
    if len({len(values) for values in columns.values()}) > 1:
        lengths = " and ".join(f"{len(v)} in {name}" for name, v in columns.items())
        raise ValueError(f"a class is needed for each row in each; there are {lengths}")
    found = {name: [_class(name, v) for v in values.tolist()] for name, values in columns.items()}
    known = _occurring(found) if classes is None else list(classes)
    if len(set(known)) < len(known):
        raise ValueError(f"classes must differ, got {listed(known)}")
    places = {value: i for i, value in enumerate(known)}
    by_number = all(isinstance(value, str) for value in known)
    numbers = []
    for name, values in found.items():
        if by_number and not any(isinstance(value, str) for value in values):
            places_here: dict[Any, int] = {i: i for i in range(len(known))}
        else:
            places_here = places
        strange = next((value for value in values if value not in places_here), None)
        if strange is not None:
            raise ValueError(f"{name} has the class {given(strange)}; classes: {listed(known)}")
        numbers.append(np.array([places_here[value] for value in values], np.int64))
    return numbers, known


def escape_text(value: object) -> str:
    """Return a name from data as a text that matplotlib shows as it is, in short: no formula."""
    from matplotlib import rcParams

    text = in_short(value)
    if rcParams["text.parse_math"]:
        text = text.replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text  # legends leave out what begins so


def _numbers(name: str, values: Any) -> NDArray[np.float64]:
    if isinstance(values, np.ma.MaskedArray):  # what is hidden is missing
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        return host_numbers(values, "float64")
    except TypeError as error:
        raise TypeError(f"{name} must be numbers: {error}") from error


def _column(name: str, values: NDArray[Any]) -> NDArray[Any]:
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if flat.ndim != 1 or not len(flat):
        several = " Take one output at a time, values[:, i]." if values.ndim == 2 else ""
        raise ValueError(
            f"{name} must have one value for each of some rows, shape (rows,); got shape "
            f"{values.shape}.{several}"
        )
    return flat


def _finite(name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        place = ", ".join(map(str, wrong[0]))
        raise ValueError(f"{name} must be finite numbers; {name}[{place}] is not")
    return numbers


def _class(name: str, value: Any) -> Any:
    """Return a value as a class: a float that is whole as an int, which it equals."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, float) or value is None:
        raise ValueError(
            f"{name} must be classes, whole numbers or texts, got {value}. Of a network's outputs take "
            "the class: outputs.argmax(axis=1), or outputs > 0.5 for a single probability"
        )
    return value


def _occurring(found: dict[str, list[Any]]) -> list[Any]:
    """Return the classes that occur, sorted."""
    every = {value for values in found.values() for value in values}
    if len({isinstance(value, str) for value in every}) > 1:
        raise ValueError(
            f"{' and '.join(found)} mix texts and numbers; give classes=, the texts in the order of "
            "the numbers"
        )
    return sorted(every)
