"""The values that users' code reads from outside its arguments: closures, globals, attributes.

A recorded or compiled step holds such a value as it was when the step was made. So they are looked at
before steps run, and where one is another, the step is made again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["OutsideValues"]

_MAX_DEPTH = 4  # functions that call functions, objects in objects
_MAX_ARRAY_SIZE = (
    64  # numbers of an array whose contents are compared; larger ones are read in place
)
_MAX_ITEMS = 1000  # of a container whose items are compared; of a larger one only their number is
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class OutsideValues:
    """The values that the code in a description reads from outside, and whether they changed.

    Seen are the variables that functions close over, the globals that they name, the attributes of
    objects that are no frozen dataclasses, the items of lists, tuples, dictionaries and sets, and small
    arrays. What is deeper inside is not seen; code that reads it says ``pure = False``.

    Args:
        description: layers, losses, optimizers, in tuples. The library's own read nothing from outside.
    """

    def __init__(self, description: Any) -> None:
        self._sources: list[Any] = []
        _add_user_code(description, _MAX_DEPTH, self._sources)
        self._values = self._read()

    def changed(self) -> bool:
        """Return whether a value is another than when this was called last."""
        if not self.differ():
            return False
        self._values = self._read()
        return True

    def differ(self) -> bool:
        """Return whether a value is another than when :meth:`changed` was called last."""
        return bool(self._sources) and self._read() != self._values

    def _read(self) -> list[Any]:
        return [_snapshot(source, _MAX_DEPTH) for source in self._sources]


def _add_user_code(value: Any, depth: int, found: list[Any]) -> None:
    """Add the functions and objects in a description that users wrote."""
    kind: Any = type(value)
    if depth == 0 or isinstance(value, type):
        return
    own, fields = _field_names(kind)
    if kind is tuple or kind is list:
        parts = value
    elif _is_own(value.__module__) if isinstance(value, FunctionType) else own:
        parts, depth = [getattr(value, name) for name in fields], depth - 1
    elif isinstance(value, Mapping):
        parts = value.values()
    else:
        found.append(value)
        return
    for part in parts:
        if type(part) not in _PLAIN:  # most are
            _add_user_code(part, depth, found)


@lru_cache(maxsize=1024)
def _field_names(kind: Any) -> tuple[bool, tuple[str, ...]]:
    """Return whether a class is this library's, and the names of its fields."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return _is_own(kind.__module__), tuple(field.name for field in fields)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


def _snapshot(value: Any, depth: int) -> Any:
    """Return something that is equal as long as a value, and what it reads, stays the same."""
    if isinstance(value, _PLAIN):
        return type(value), value if value == value else "nan"
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, np.ndarray):
        small = value.size <= _MAX_ARRAY_SIZE and value.dtype.kind != "O"
        return id(value), value.tobytes() if small else None
    if depth == 0 or isinstance(value, type | ModuleType | BuiltinFunctionType):
        return id(value)
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        if len(value) > _MAX_ITEMS:
            return id(value), len(value)
        items = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        same = id(value) if type(value) is tuple else None
        return same, [_snapshot(item, depth - 1) for item in items]
    if isinstance(value, partial):
        value = [value.func, *value.args, *value.keywords.values()]
        return [_snapshot(v, depth - 1) for v in value]
    if isinstance(value, MethodType):
        return [_snapshot(value.__self__, depth - 1), _snapshot(value.__func__, depth - 1)]
    if isinstance(value, FunctionType):
        return id(value.__code__), [_snapshot(v, depth - 1) for v in _read_by(value)]
    return id(value), [_snapshot(v, depth - 1) for v in _attributes(value)]


def _read_by(function: FunctionType) -> Iterator[Any]:
    """Yield what a function closes over, and the globals that it names."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet
            yield None
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield function.__globals__[name]


def _attributes(value: Any) -> Iterator[Any]:
    """Yield the attributes of an object, and what the methods of its class read."""
    own = type(value)
    if _is_own(own.__module__):
        return
    yield from vars(value).values() if hasattr(value, "__dict__") else ()
    for name in ("forward", "__call__", "terms", "rule", "numbers", "transform_gradients"):
        method = getattr(own, name, None)
        if isinstance(method, FunctionType):
            yield method
