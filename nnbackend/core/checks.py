"""Checks of arguments, which return them as plain values: an int, a float, a list, a path.

Each message names the argument, and says what it must be and what was given. A NumPy number in the place
of a plain one would turn float32 arithmetic into float64 on some backends, and could not be written to a
model file.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from nnbackend.errors import given

__all__ = [
    "check_arrays",
    "check_choice",
    "check_flag",
    "check_fraction",
    "check_items",
    "check_network",
    "check_number",
    "check_path",
    "check_size",
    "check_takes",
    "check_text",
    "convert_fields",
    "named",
    "set_flag",
    "set_number",
    "set_positive",
    "set_size",
]

_LARGEST_SIZE = 2**63 - 1


def check_size(name: str, value: Any, least: int = 1) -> int:
    """Return ``value``, a whole number of at least ``least`` (also NumPy's), as an int.

    Raises:
        ValueError: ``value`` is something else.
    """
    try:
        size = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        size = least - 1
    if not least <= size <= _LARGEST_SIZE:
        what = f"a whole number of at least {least}" if size < least else "below 2**63"
        raise ValueError(f"{name} must be {what}, got {given(value)}")
    return size


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value``, a finite number with ``low <= value < high`` (also NumPy's), as a float.

    Args:
        name: the name of the value in messages.
        value: the value.
        low: the smallest value; default: none.
        high: the bound that it stays below; default: none.

    Raises:
        ValueError: ``value`` is something else.
    """
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an int may be larger than any float
            number = math.inf
    if not math.isfinite(number) or not low <= number < high:
        bound = ""
        if low > -math.inf:
            bound = f", from {low:g} to below {high:g}" if high < math.inf else f", {low:g} or more"
        raise ValueError(f"{name} must be a number{bound}; got {given(value)}")
    return number


def check_fraction(name: str, value: Any) -> float:
    """Return ``value``, a number above 0 and below 1, as a float.

    Raises:
        ValueError: ``value`` is something else.
    """
    fraction = check_number(name, value)
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"{name} must be above 0 and below 1, got {given(value)}")
    return fraction


def check_flag(name: str, value: Any) -> bool:
    """Return ``value``, True or False (also NumPy's), as a bool.

    Raises:
        ValueError: ``value`` is something else.
    """
    is_array = str(getattr(value, "dtype", "")) == "bool" and value.shape == ()
    if not isinstance(value, bool) and not is_array:
        raise ValueError(f"{name} must be True or False, got {given(value)}")
    return bool(value)


def check_text(name: str, value: Any) -> str:
    """Return ``value``, a text that is not empty.

    Raises:
        TypeError: ``value`` is no text.
        ValueError: it is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {given(value)}")
    if not value:
        raise ValueError(f"{name} must not be empty")
    return value


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return ``value``, one of several texts.

    Raises:
        ValueError: ``value`` is something else.
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {given(value)}")
    return value


def check_path(name: str, value: Any) -> Path:
    """Return the path of a file or a folder.

    Raises:
        TypeError: ``value`` is no path.
        ValueError: it is empty, or has a zero byte in it.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name} must be a path, a text or a pathlib.Path; got {given(value)}")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise ValueError(f"{name} must be the path of a file or a folder, got {given(value)}")
    return Path(text)


def check_items(name: str, value: Any, what: str) -> list[Any]:
    """Return the items of ``value``, an iterable but no text and no mapping, as a list.

    Args:
        name: the name of the value in messages.
        value: the value.
        what: what it must be, for the message: ``"a sequence of layers"``.

    Raises:
        TypeError: ``value`` is something else.
    """
    one = isinstance(value, str | bytes | type | Mapping)
    if one or not isinstance(value, Iterable) or getattr(value, "shape", None) == ():
        raise TypeError(f"{name} must be {what}, got {given(value)}")
    return list(value)


def check_network(value: Any) -> None:
    """Raise a TypeError if the argument ``network`` is no Network, which this package does not know."""
    if isinstance(value, type) or not all(hasattr(value, n) for n in ("predict", "fit", "backend")):
        raise TypeError(f"network must be a Network, got {given(value)}")


def check_arrays(name: str, value: Any) -> None:
    """Raise a TypeError if this is not a dictionary of arrays by name, nested in any way."""
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dictionary of arrays by name, got {given(value)}")
    for key, array in value.items():
        if not isinstance(key, str):
            raise TypeError(
                f"{name} must be a dictionary of arrays by name; a name is {given(key)}"
            )
        if isinstance(array, dict):
            check_arrays(f"{name}[{key!r}]", array)
        elif array is None or isinstance(array, str | type) or callable(array):
            raise TypeError(f"{name}[{key!r}] must be an array, got {given(array)}")


def check_takes(name: str, function: Any, *arguments: str, **named: Any) -> None:
    """Raise a TypeError if what a user gave for a function cannot be called with such arguments."""
    if type(function).__module__.startswith("nnbackend."):
        return
    from inspect import signature  # of functions of users alone

    try:
        signature(function).bind(*arguments, **named)
    except TypeError as error:
        given_names = [*arguments, *(f"{key}={value}" for key, value in named.items())]
        call = f"{getattr(function, '__name__', 'it')}({', '.join(given_names)})"
        raise TypeError(f"{name} is called as {call}: {error}") from None
    except ValueError:  # some of C's have no signature
        return


class named:  # used like a function; one with `yield` takes longer
    """Put the name of an argument in front of the message of an error in it, if it is not there."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, TypeError | ValueError):
            return
        name, message = self._name, str(error)
        if (
            error.args
            and error.args[0] == message
            and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)
        ):
            error.args = (f"{name}: {message}", *error.args[1:])


def set_number(owner: Any, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Check the field ``name`` of a frozen dataclass and make it a float, see :func:`check_number`."""
    object.__setattr__(owner, name, check_number(name, getattr(owner, name), low, high))


def set_positive(owner: Any, name: str) -> None:
    """Check that the field ``name`` is a number above 0 and make it a float; for ``__post_init__``."""
    set_number(owner, name, 0.0)
    if getattr(owner, name) == 0.0:
        raise ValueError(f"{name} must be above 0, got 0")


def set_flag(owner: Any, name: str) -> None:
    """Check the field ``name`` of a frozen dataclass and make it a bool; for ``__post_init__``."""
    object.__setattr__(owner, name, check_flag(name, getattr(owner, name)))


def set_size(owner: Any, name: str) -> None:
    """Check the field ``name`` of a frozen dataclass and make it an int; for ``__post_init__``."""
    object.__setattr__(owner, name, check_size(name, getattr(owner, name)))


def convert_fields(owner: Any, **functions: Callable[[Any], Any]) -> None:
    """Apply functions to fields of a frozen dataclass; for ``__post_init__``.

    ``convert_fields(self, activation=activations.get)`` turns a name into the object it stands for.
    """
    for name, function in functions.items():
        with named(name):
            value = function(getattr(owner, name))
        object.__setattr__(owner, name, value)
