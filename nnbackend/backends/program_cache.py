"""Programs that are shared: what was compiled once serves all that is described alike.

Compiling a step takes as long as thousands of steps. A program depends on descriptions alone (layers,
loss, optimizer, backend), not on parameters and data, which are handed to it. So it is kept by what
describes it, and found again when another network, or another fit, is described by the same values.

A description is a value if it is made of plain data, tuples, frozen dataclasses and functions: the
classes and functions of this library, and of users' modules. Those that are made inside a function see
its variables, which nobody can compare, and keep them alive, and so may any other object: a program with
one of those in it is made anew each time. What else a function or a method reads is, as everywhere under
a compiler, read when the program is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from types import FunctionType
from typing import Any, TypeVar

from nnbackend.backends.base import Backend

__all__ = ["cached_program"]

T = TypeVar("T")

_MOST = 64  # programs of a kind that are kept


def cached_program(build: Callable[..., T]) -> Callable[..., T]:
    """Return ``build(backend, *description)``, which gives what it gave before for equal values.

    Only where the backend compiles for static shapes: elsewhere there is nothing to be saved, and a step
    that is recorded belongs to the arrays of one network. The latest of each kind are kept.
    """

    @lru_cache(maxsize=_MOST)
    def kept(description: CacheKey) -> T:
        return build(*description.values)

    @wraps(build)
    def find(backend: Backend, *values: Any) -> T:
        if not backend.static_shapes:
            return build(backend, *values)
        try:
            description = CacheKey(backend, *values)
        except _NoValueError:
            return build(backend, *values)
        found: T = kept(description)
        return found

    find.forget = kept.cache_clear  # type: ignore[attr-defined]
    return find


class _NoValueError(Exception):
    """Something is not described by values alone."""


class CacheKey:
    """Values that describe a program, to be looked up by."""

    __slots__ = ("_hash", "_key", "values")

    def __init__(self, backend: Backend, *values: Any) -> None:
        self.values = (backend, *values)
        self._key = (backend, *map(_key, values))
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheKey) and self._key == other._key


def _key(value: Any) -> Hashable:
    """Return what is equal for equal descriptions only, in type and value: not for 0.0 and -0.0.

    Raises:
        _NoValueError: the description is more than values.
    """
    kind: Any = type(value)
    if value is None or kind in (bool, int, str):
        return kind, value
    if kind is float:
        return float.hex(value)
    if kind is tuple:
        return tuple(map(_key, value))
    if kind is FunctionType and not value.__closure__ and "<locals>" not in value.__qualname__:
        return value  # type: ignore[no-any-return]
    return (kind, *[_key(getattr(value, name)) for name in _fields(kind)])


@lru_cache(maxsize=256)
def _fields(kind: Any) -> tuple[str, ...]:
    """Return the fields that make up an object of a class; what it sets itself follows from them.

    Raises:
        _NoValueError: it is no frozen dataclass, or its methods may look at a function's variables.
    """
    parameters = vars(kind).get("__dataclass_params__")
    if parameters is None or not parameters.frozen or "<locals>" in kind.__qualname__:
        raise _NoValueError
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)
