"""Compiled programs that networks share.

To compile a step takes as long as thousands of steps. A program depends on descriptions alone (layers,
loss, optimizer, backend), not on parameters and data, which are its arguments. So it is kept under a key
made of these descriptions, and another network, or another fit, with equal descriptions takes it again.

A description is a value if it is made of plain data, tuples, frozen dataclasses and functions: the
classes and functions of this library, and of users' modules. Classes and functions that are made inside
a function see its variables, which cannot be compared, and keep them alive, and so may any other object:
a program with one of those in its description is compiled each time. What else a function or a method
reads (:mod:`nnbackend.core.outside`) is a part of the key: a program holds it as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from types import FunctionType
from typing import Any, TypeVar

from nnbackend.backends.base import Backend
from nnbackend.core.outside import OutsideValues

__all__ = ["cached_program"]

T = TypeVar("T")

MAX_CACHED_PROGRAMS = 64
"""Programs of a kind that are kept, the latest."""


def cached_program(build: Callable[..., T]) -> Callable[..., T]:
    """Return ``build(backend, *description)`` with a cache: equal descriptions get the same program.

    Only a backend that compiles for static shapes has one: elsewhere there is nothing to save, and a
    recorded step belongs to the arrays of one network.
    """
    programs: dict[Any, T] = {}  # the latest last

    @wraps(build)
    def find(backend: Backend, *values: Any) -> T:
        if not backend.static_shapes:
            return build(backend, *values)
        try:
            key = (backend, *map(_comparable, values), OutsideValues(values).seen)
        except _NotAValueError:
            return build(backend, *values)
        found = programs.pop(key, None)
        program = programs[key] = build(backend, *values) if found is None else found
        if len(programs) > MAX_CACHED_PROGRAMS:
            programs.pop(next(iter(programs)), None)
        return program

    find.forget = programs.clear  # type: ignore[attr-defined]
    return find


class _NotAValueError(Exception):
    """A description is made of more than values."""


def _comparable(value: Any) -> Hashable:
    """Return an object that equals another only for the same type and value: 0.0 is not -0.0.

    Raises:
        _NotAValueError: the description is made of more than values.
    """
    kind: Any = type(value)
    if value is None or kind in (bool, int, str):
        return kind, value
    if kind is float:
        return float.hex(value)
    if kind is tuple:
        return tuple(map(_comparable, value))
    if kind is FunctionType and not value.__closure__ and "<locals>" not in value.__qualname__:
        return value  # type: ignore[no-any-return]
    return (kind, *[_comparable(getattr(value, name)) for name in _fields(kind)])


@lru_cache(maxsize=256)
def _fields(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields that objects of a class are made from.

    Raises:
        _NotAValueError: it is not a frozen dataclass, or its methods may read a function's variables.
    """
    parameters = vars(kind).get("__dataclass_params__")
    if parameters is None or not parameters.frozen or "<locals>" in kind.__qualname__:
        raise _NotAValueError
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)
