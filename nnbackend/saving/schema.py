"""What files may hold, said as data and checked as a whole before anything of it is used.

A check takes a value and its name in words; it raises a ModelFileError if the value is not what it
should be. Checks are put together: ``record({"seed": whole(), "frozen": items(text())})``.
"""

from __future__ import annotations

import json
import math
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np

from nnbackend.errors import ModelFileError

__all__ = [
    "anything",
    "array",
    "check_plain",
    "entries",
    "flag",
    "items",
    "number",
    "optional",
    "parse",
    "plain",
    "record",
    "refuse",
    "text",
    "tree",
    "walk",
    "whole",
]

Check: TypeAlias = Callable[[Any, str], None]

MAX_DEPTH = 150
"""Lists and tables inside each other: more than any description has, fewer than exhaust the stack."""


def refuse(value: Any, name: str, wanted: str) -> NoReturn:
    """Raise the error for a value that is not what it should be."""
    raise ModelFileError(f"{name} is {reprlib.repr(value)}, not {wanted}")


def anything(value: Any, name: str) -> None:
    """Accept any value."""


def flag(value: Any, name: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        refuse(value, name, "true or false")


def whole(low: int = 0, high: int = 2**63 - 1) -> Check:
    """Accept whole numbers from ``low`` to ``high``."""

    def check(value: Any, name: str) -> None:
        if type(value) is not int or not low <= value <= high:
            refuse(value, name, f"a whole number from {low} to {high}")

    return check


def number(low: float = -math.inf, *, finite: bool = True) -> Check:
    """Accept numbers from ``low`` to the largest float, or any with ``finite=False``, NaN included."""

    def check(value: Any, name: str) -> None:
        kind = isinstance(value, int | float) and not isinstance(value, bool)
        if not kind or (finite and not low <= value <= sys.float_info.max):
            refuse(value, name, "a number" if low == -math.inf else f"a number of {low:g} or more")

    return check


def text(*options: str) -> Check:
    """Accept texts; if there are options, only those."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, str) or (options and value not in options):
            refuse(value, name, f"one of {', '.join(options)}" if options else "a text")

    return check


def optional(inner: Check) -> Check:
    """Accept null, and what ``inner`` accepts."""
    return lambda value, name: None if value is None else inner(value, name)


def items(inner: Check, fewest: int = 0, most: float = math.inf) -> Check:
    """Accept lists of ``fewest`` to ``most`` items, each accepted by ``inner``."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, list | tuple) or not fewest <= len(value) <= most:
            bounds = f" of {fewest} or more" if most == math.inf else f" of {fewest} to {most:g}"
            refuse(value, name, "a list" + (bounds if fewest or most < math.inf else ""))
        for i, item in enumerate(value):
            inner(item, f"{name}.{i}")

    return check


def entries(inner: Check = anything) -> Check:
    """Accept tables with any names, whose values ``inner`` accepts."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            refuse(value, name, "a table")
        for key, item in value.items():
            inner(item, f"{name}.{key}")

    return check


def record(
    required: Mapping[str, Check], more: Mapping[str, Check] | None = None, *, closed: bool = False
) -> Check:
    """Accept tables with the required entries, and perhaps ``more``; if ``closed``, with no others."""
    known = {**required, **(more or {})}

    def check(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            refuse(value, name, "a table")
        missing, foreign = required.keys() - value.keys(), value.keys() - known.keys()
        if missing or (closed and foreign):
            wrong = f"lacks {min(missing)}" if missing else f"has an unknown entry {min(foreign)!r}"
            raise ModelFileError(f"{name} {wrong}")
        for key, item in value.items():
            known.get(key, anything)(item, f"{name}.{key}")

    return check


def array(
    axes: int | None = None, kinds: str = "biuf", *, finite: bool = False, nan: bool = True
) -> Check:
    """Accept arrays, of so many axes and of these kinds of dtypes, perhaps without NaN or infinity."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
            refuse(value, name, "an array of numbers")
        if axes is not None and value.ndim != axes:
            raise ModelFileError(f"{name} has the shape {value.shape}, not {axes} axes")
        if finite and not np.isfinite(value).all():
            raise ModelFileError(f"{name} holds NaN or infinity")
        if not nan and np.isnan(value).any():
            raise ModelFileError(f"{name} holds NaN")

    return check


def tree(inner: Check) -> Check:
    """Accept what ``inner`` does, and tables of it, nested in any way."""

    def check(value: Any, name: str) -> None:
        if isinstance(value, dict):
            branches(value, name)
        else:
            inner(value, name)

    branches = entries(check)
    return check


def plain(value: Any, name: str) -> None:
    """Accept what JSON holds, and no arrays."""
    if isinstance(value, np.ndarray):
        refuse(value, name, "plain data")
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        plain(item, name)


def check_plain(value: Any, name: str, *, finite: bool = True, depth: int = 0) -> None:
    """Check that data are what JSON holds and what is read again as it was (tuples become lists).

    Raises:
        TypeError: something is no plain data, or a table has a name that is no text.
        ValueError: a number is not finite, or the data are nested deeper than they would be read.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"lists and tables are nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{name} has an entry {key!r}, whose name is no text")
            check_plain(item, f"{name}.{key}", finite=finite, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_plain(item, name, finite=finite, depth=depth + 1)
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"{name} holds {value}, which JSON has not")
    elif not isinstance(value, str | int | None):
        raise TypeError(f"{name} holds {reprlib.repr(value)}, which JSON has not")


def walk(value: Any) -> Iterator[Any]:
    """Yield plain data, and all that is in their lists and tables, however deep."""
    left = [value]
    while left:
        value = left.pop()
        yield value
        left.extend(
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        )


def parse(
    content: str, name: str, *, finite: bool = True, first: Check = anything
) -> dict[str, Any]:
    """Return the table that a text holds as JSON; ``first``, a quick check, comes before the others.

    Raises:
        ModelFileError: it is no table, is nested too deep, or holds NaN or infinity although ``finite``.
    """
    try:
        value = json.loads(content)
        first(value, name)
        check_plain(value, name, finite=finite)
    except ModelFileError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{name} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        refuse(value, name, "a table")
    return value
