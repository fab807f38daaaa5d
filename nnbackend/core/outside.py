"""The values that users' code reads from outside its arguments: closures, globals, attributes.

A recorded or compiled step holds such a value as it was when the step was made. So they are looked at
before steps run, and where one is another, the step is made again.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["OutsideValues"]

_MOST_VALUES = 10_000  # that are looked at: in some milliseconds
_MOST_NUMBERS = 1 << 12  # of an array whose contents are compared; larger ones are read in place
_PLAIN = (bool, int, str, bytes, type(None))
_CONTAINERS = (list, tuple, set, frozenset, dict, deque)
_WRAPPERS = (classmethod, staticmethod)
_LIBRARIES = {"numpy", "scipy", "jax", "torch", "cupy", "cupyx", "array_api_compat"}
_homes: set[str] = set()  # packages that layers, losses and optimizers of users came from


@dataclass(frozen=True)
class Snapshot:
    """Values as they were when they were looked at; equal ones are the same to the code.

    Attributes:
        values: what is compared.
        kept: the objects seen, for the number of an object that is gone may be that of another one.
    """

    values: tuple[Any, ...]
    kept: list[Any] = field(compare=False)


class OutsideValues:
    """The values that the code in a description reads from outside, and whether they changed.

    Seen are the variables that functions close over, their defaults, the globals that they name, also in
    functions inside them and as attributes of modules, the attributes of objects and of their classes,
    the items of containers, and the numbers of arrays, however deep they are. Not seen is what installed
    libraries read, and what hides in objects that are written in C; code that reads such says
    ``pure = False``.

    Args:
        description: layers, losses, optimizers, in tuples. The library's own read nothing from outside.

    Attributes:
        seen: the values when :meth:`changed` was called last.

    Warns:
        UserWarning: there are more values than are looked at.
    """

    def __init__(self, description: Any) -> None:
        self._sources: list[Any] = []
        _add_user_code((description,), self._sources)
        _note_homes(self._sources)
        self.seen = self._read()
        if len(self.seen.kept) > _MOST_VALUES:
            names = ", ".join(getattr(s, "__name__", type(s).__name__) for s in self._sources)
            warnings.warn(
                f"{names}: more than {_MOST_VALUES} values can be read from outside the arguments. A "
                "change in one that is not looked at is not seen by recorded or compiled steps: pass "
                "what changes as an attribute, or say pure = False",
                stacklevel=2,
            )

    def changed(self) -> bool:
        """Return whether a value is another than when this was called last."""
        if not self._sources:
            return False
        before, self.seen = self.seen, self._read()
        return self.seen != before

    def differ(self) -> bool:
        """Return whether a value is another than when :meth:`changed` was called last."""
        return bool(self._sources) and self._read() != self.seen

    def _read(self) -> Snapshot:
        """Return a flat list that stays equal as long as all values do."""
        found: list[Any] = []
        kept: list[Any] = []
        seen: dict[int, int] = {}
        left = [*reversed(self._sources)]
        while left:
            value = left.pop()
            kind = type(value)
            if kind in _PLAIN:
                found.append((kind, value))
                continue
            if kind is float:
                found.append(value.hex())  # NaN is NaN, and -0.0 is not 0.0
                continue
            number = seen.setdefault(id(value), len(kept))
            if number < len(kept):
                found.append(number)
                continue
            kept.append(value)
            if len(kept) > _MOST_VALUES:
                break
            atom, inside = _look(value, kind)
            found.append(atom)
            found.append(len(inside))
            left += reversed(inside)
        return Snapshot(tuple(found), kept)


def _add_user_code(value: Any, found: list[Any]) -> None:
    """Add the functions and objects in a description that users wrote; a fit begins with it."""
    kind: Any = type(value)
    if _holds_none(kind, *map(type, getattr(value, "__dict__", {}).values())):
        return
    own, fields = _field_names(kind)
    if kind is tuple or kind is list:
        parts = value
    elif _is_own(value.__module__) if isinstance(value, FunctionType) else own:
        parts = [getattr(value, name) for name in fields]
    elif isinstance(value, Mapping):
        parts = value.values()
    else:
        found.append(value)
        return
    for part in parts:
        kind = type(part)
        if not (kind in _PLAIN or kind is float or isinstance(part, type)):
            _add_user_code(part, found)


@lru_cache(maxsize=1024)
def _holds_none(kind: Any, *held: Any) -> bool:
    """Return whether an object is the library's and holds nothing of users, by what it is made of."""
    plain = (*_PLAIN, float)
    return _field_names(kind)[0] and all(
        each in plain or _field_names(each) == (True, ()) for each in held
    )


@lru_cache(maxsize=1024)
def _field_names(kind: Any) -> tuple[bool, tuple[str, ...]]:
    """Return whether a class is this library's, and the names of its fields."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return _is_own(kind.__module__), tuple(each.name for each in fields)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


@lru_cache(maxsize=4096)
def _is_library(module: str | None) -> bool:
    """Return whether a module is installed: what it reads does not change from step to step.

    A package is none that a layer, a loss or an optimizer came from.
    """
    if module is None or _is_own(module):
        return True
    package = module.partition(".")[0]
    if package in _LIBRARIES or package in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return package not in _homes and ("site-packages" in file or "dist-packages" in file)


def _note_homes(sources: list[Any]) -> None:
    """Let the packages of what users wrote be no libraries."""
    modules = (getattr(source, "__module__", None) or "" for source in sources)
    new = {module.partition(".")[0] for module in modules} - _homes
    if new:
        _homes.update(new)
        _is_library.cache_clear()
        _slots_of.cache_clear()


def _look(value: Any, kind: Any) -> tuple[Any, list[Any]]:
    """Return something that is equal as long as a value is the same one, and the values inside it."""
    if kind is complex:
        return repr(value), []
    if isinstance(value, np.generic):
        return (kind, value.tobytes()), []
    if isinstance(value, np.ndarray):
        if value.size > _MOST_NUMBERS:
            return (id(value), value.shape), []
        if value.dtype.kind == "O":
            return (id(value), value.shape), [*value.flat]
        return (id(value), value.shape, value.tobytes()), []
    if kind is FunctionType:
        return id(value.__code__), [] if _is_library(value.__module__) else _read_by(value)
    if isinstance(value, _CONTAINERS):
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else [*value]
        return None if kind is tuple else id(value), items + _attributes(value, kind)
    if kind is partial:
        return None, [value.func, *value.args, *value.keywords.items()]
    if kind is MethodType:
        return None, [value.__self__, value.__func__]
    if kind in _WRAPPERS:
        return None, [value.__func__]
    if kind is property:
        return None, [value.fget]
    if isinstance(value, type):
        return id(value), _class_values(value)
    frozen = getattr(kind, "__dataclass_params__", None)
    is_value = frozen is not None and frozen.frozen  # then an equal one is as good
    return None if is_value else id(value), _attributes(value, kind)


def _read_by(function: FunctionType) -> list[Any]:
    """Return what a function closes over, its defaults and attributes, and the globals it names."""
    found = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    found += vars(function).values()
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            found.append(None)
    known, names = function.__globals__, _names_in(function.__code__)
    for name in names:
        if name in known:
            value = known[name]
            found.append(value)
            if type(value) is ModuleType and not _is_library(value.__name__):
                found += [vars(value)[n] for n in names if n in vars(value)]
    return found


@lru_cache(maxsize=4096)
def _names_in(code: CodeType) -> tuple[str, ...]:
    """Return the names in the code of a function and of those inside it."""
    inside = (const for const in code.co_consts if isinstance(const, CodeType))
    return tuple(dict.fromkeys([*code.co_names, *(n for c in inside for n in _names_in(c))]))


def _attributes(value: Any, kind: Any) -> list[Any]:
    """Return the attributes of an object, in slots too, and its class."""
    slots, reads_class = _slots_of(kind)
    found = [getattr(value, name, None) for name in slots]
    if (reads_class or kind is SimpleNamespace) and hasattr(value, "__dict__"):
        found += vars(value).values()
    if not reads_class and callable(value):  # what a library made of a function: cached, compiled
        found.append(getattr(value, "__wrapped__", None))
    return [*found, kind] if reads_class else found


@lru_cache(maxsize=1024)
def _slots_of(kind: Any) -> tuple[tuple[str, ...], bool]:
    """Return the names of a class's slots, or of this library's fields, and whether users wrote it."""
    own, fields = _field_names(kind)
    if _is_library(kind.__module__):
        return (fields if own else ()), False
    names = []
    for each in kind.__mro__:
        slots: Iterable[str] = vars(each).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{each.__name__.lstrip('_')}{name}" if private else name)
    return tuple(n for n in names if n not in ("__dict__", "__weakref__")), True


def _class_values(kind: type) -> list[Any]:
    """Return the attributes and methods of a class that users wrote, and of its bases."""
    if _is_library(kind.__module__):
        return []
    own = [v for name, v in vars(kind).items() if name[:2] != "__" or name == "__call__"]
    return own + [base for base in kind.__bases__ if base is not object]
