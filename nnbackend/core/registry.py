"""Names for descriptions, and descriptions as JSON.

Layers, activations and initializers are frozen dataclasses. Each kind has a :class:`Registry` that
knows them by name; so a name can stand for an object (``activation="relu"``), and a network can be
written to a file and built again without executing anything from that file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeVar

from nnbackend.core.checks import check_flag, check_text
from nnbackend.errors import ModelFileError, given, unknown_name

__all__ = [
    "FunctionRegistry",
    "Registry",
    "describe",
    "field_names",
    "is_built_in",
    "is_pure",
    "rebuild",
    "registered_name",
]

Class = TypeVar("Class", bound=type)
_REGISTRIES: dict[str, Registry] = {}
MAX_NESTING_DEPTH = 64  # deeper than any network; a hostile file must not exhaust the stack
MAX_ITEMS = 100_000  # of a list, longer than any network; nor the time
_MAPPING = "mapping"  # the word for one in a description, where a kind of objects would be
_PLAIN = (str, int, float, type(None), tuple, list)


class Registry:
    """The known classes of one kind (``"layer"``, ``"activation"``, ...) by name.

    Attributes:
        names: the names of the classes.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}
        self.names: dict[type, str] = {}
        _REGISTRIES[kind] = self

    def register(self, name: str, *, pure: bool = True) -> Callable[[Class], Class]:
        """Return a class decorator that makes a class known as ``name``.

        Args:
            name: the name, as it is written in files.
            pure: whether its objects only compute; see :func:`is_pure`. Default True.

        Raises:
            ValueError: another class has that name already.
        """
        check_text("name", name)
        check_flag("pure", pure)

        def decorate(cls: Class) -> Class:
            known = self._classes.get(name)
            if known is not None and _origin(known) != _origin(cls):
                raise ValueError(
                    f"there is a {self.kind} called {name!r} already: {known}; choose another name"
                )
            self._classes[name] = cls
            self.names[cls] = name
            if not pure:
                cls.pure = False  # type: ignore[attr-defined]
            return cls

        return decorate

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __getitem__(self, name: str) -> type:
        try:
            return self._classes[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, self) from None

    def create(self, name: str, /, **fields: Any) -> Any:
        """Return a new object of the class called ``name``.

        Raises:
            UnknownNameError: no such name, or the class takes no such field; the nearest are offered.
        """
        cls = self[name]
        known = field_names(cls, init=True)
        for field in fields:
            if field not in known:
                raise unknown_name(f"argument of {self.kind} {name!r}:", field, known)
        return cls(**fields)

    def get(self, spec: Any) -> Any:
        """Return the object a name stands for, with its defaults; a function is returned as it is.

        Raises:
            UnknownNameError: nothing has that name.
            TypeError: ``spec`` is neither a name nor a function or an object that can be called.
        """
        if isinstance(spec, str):
            return self.create(spec)
        if isinstance(spec, type) or not callable(spec):
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise TypeError(f"{article} {self.kind} is a name or a function, got {given(spec)}")
        return spec

    def name_of(self, value: object) -> str | None:
        """Return the name under which the class of ``value`` is registered, or None."""
        return self.names.get(type(value))


class FunctionRegistry(Registry):
    """The known functions of one kind by name: plain functions, which have no fields."""

    def register(self, name: str, *, pure: bool = True) -> Callable[[Any], Any]:
        """Return a decorator that makes a function known as ``name``.

        Raises:
            TypeError: it is written above something else than a function.
            ValueError: another function has that name already.
        """
        check_text("name", name)

        def decorate(function: Any) -> Any:
            if not isinstance(function, FunctionType):
                raise TypeError(
                    f"a {self.kind} is registered by its definition, got {given(function)}"
                )
            known: Any = self._classes.get(name)
            if known is not None and _origin(known) != _origin(function):
                raise ValueError(
                    f"there is a {self.kind} called {name!r} already: {known}; choose another name"
                )
            self._classes[name] = function  # type: ignore[assignment]
            self.names[function] = name  # type: ignore[index]
            return function

        return decorate

    def create(self, name: str, /, **fields: Any) -> Any:
        """Return the function called ``name``."""
        if fields:
            raise unknown_name(f"argument of {self.kind} {name!r}:", next(iter(fields)), ())
        return self[name]

    def name_of(self, value: object) -> str | None:
        """Return the name under which a function is registered, or None."""
        return self.names.get(value) if isinstance(value, FunctionType) else None  # type: ignore[call-overload]


def registered_name(value: object) -> tuple[str, str] | None:
    """Return the kind and the name under which the class of ``value`` is registered, or None."""
    names = ((kind, registry.name_of(value)) for kind, registry in _REGISTRIES.items())
    return next(((kind, name) for kind, name in names if name is not None), None)


def describe(value: Any, depth: int = 0) -> Any:
    """Return ``value`` as JSON-ready data: registered objects become ``{kind: name, "fields": {...}}``.

    Mappings become ``{"mapping": [[key, value], ...]}``: a list, which keeps their order.

    Raises:
        TypeError: something in it is neither plain data nor a registered description, or a key of a
            mapping is no text.
        ValueError: it is nested deeper than :func:`rebuild` reads.
    """
    if depth > MAX_NESTING_DEPTH:
        raise ValueError(
            f"the description is nested more than {MAX_NESTING_DEPTH} deep, and would not be read "
            "again; put layers side by side in one Sequential, not one inside the other"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        if len(value) > MAX_ITEMS:
            raise ValueError(
                f"the description has more than {MAX_ITEMS:,} items, and would not be read again"
            )
        return [describe(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(
                    f"a mapping cannot be written to a file with the key {key!r}: keys are texts"
                )
        return {_MAPPING: describe([*value.items()], depth + 1)}
    registered = registered_name(value)
    if registered is not None:
        kind, name = registered
        own: Any = type(value)
        given = field_names(own, init=True)
        return {kind: name, "fields": {f: _described(value, name, f, depth) for f in given}}
    if isinstance(value, FunctionType | BuiltinFunctionType | partial):
        name = getattr(value, "__name__", "partial")
        raise TypeError(
            f"the function {name} cannot be written to a file: register it first, for instance with "
            "@nnbackend.register_function('name') for a Lambda"
        )
    raise TypeError(
        f"{type(value).__name__} cannot be written to a file: register its class first, "
        "for instance with @nnbackend.register_layer, and keep its fields plain data"
    )


def _described(value: Any, name: str, field: str, depth: int) -> Any:
    """Return the description of a field; an error names where it is."""
    inside = getattr(value, field)
    try:
        return describe(inside, depth + 1)
    except TypeError as error:
        place = ""
        if isinstance(inside, tuple | list):
            place = next((f"[{i}]" for i, item in enumerate(inside) if not _can_describe(item)), "")
        raise TypeError(f"{name}.{field}{place}: {error}") from None


def _can_describe(value: Any) -> bool:
    try:
        describe(value)
    except (TypeError, ValueError):
        return False
    return True


def rebuild(data: Any, depth: int = 0) -> Any:
    """Return the object that :func:`describe` described. Lists are tuples then, mappings dictionaries.

    Raises:
        ModelFileError: unknown kind, name or field, values that the class refuses, or a nesting
            deeper than any network's.
    """
    if depth > MAX_NESTING_DEPTH:
        raise ModelFileError(f"the description is nested more than {MAX_NESTING_DEPTH} deep")
    if isinstance(data, list):
        if len(data) > MAX_ITEMS:
            raise ModelFileError(f"a list in the description has more than {MAX_ITEMS:,} items")
        return tuple(rebuild(item, depth + 1) for item in data)
    if not isinstance(data, dict):
        return data
    kind = next(iter(data), None)
    if kind == _MAPPING:
        return _rebuild_mapping(data, depth)
    if kind not in _REGISTRIES:
        raise ModelFileError(f"the file describes a {kind!r}, which this version does not know")
    fields = data.get("fields", {})
    if not isinstance(fields, dict) or data.keys() - {kind, "fields"}:
        raise ModelFileError(f"the file describes a {kind} in a way this version does not know")
    fields = {name: rebuild(value, depth + 1) for name, value in fields.items()}
    try:
        return _REGISTRIES[kind].create(data[kind], **fields)
    except Exception as error:  # a user's class may refuse a value in any way
        hint = " (a custom class must be registered before the file is loaded)"
        known = data[kind] in _REGISTRIES[kind] if isinstance(data[kind], str) else True
        raise ModelFileError(
            f"the file describes a {kind} that cannot be built: {error}" + ("" if known else hint)
        ) from error


def _rebuild_mapping(data: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return the dictionary that a description lists the pairs of."""
    pairs = data[_MAPPING]
    if len(data) == 1 and isinstance(pairs, list):
        pairs = rebuild(pairs, depth + 1)
        is_pair = (isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs)
        if all(is_pair) and len(found := dict(pairs)) == len(pairs):
            return found
    raise ModelFileError(
        "the file describes a mapping that is no list of keys, each once, and values"
    )


def is_pure(value: Any) -> bool:
    """Return whether everything in a description only computes.

    Users' classes are taken to be pure, as the library's are: results depend on nothing but the fields,
    the arguments and the context. Then a step may be recorded once and played. A class that counts,
    prints, draws its own random numbers or reads data that others change says ``pure = False``, or is
    registered with that. One such class is enough, wherever it is nested.
    """
    return getattr(value, "pure", True) and all(map(is_pure, _parts(value)))


def is_built_in(value: Any) -> bool:
    """Return whether a description is made of this library's pure classes and plain data only.

    Those take the arrays of any library, which users' functions need not do.
    """
    own = isinstance(value, _PLAIN) or type(value).__module__.startswith("nnbackend.")
    return own and getattr(value, "pure", True) and all(map(is_built_in, _parts(value)))


def _parts(value: Any) -> Iterable[Any]:
    """Return what a description is made of, without initializers: they have done their work."""
    if isinstance(value, (tuple, list)):
        return value
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, partial):
        return value.func, *value.args, *value.keywords.values()
    kind: Any = type(value)
    return [getattr(value, name) for name in field_names(kind) if "initializer" not in name]


@lru_cache(maxsize=256)
def field_names(cls: Any, init: bool = False) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, all or those of its constructor; () of another class."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return tuple(field.name for field in fields if field.init or not init)


def _origin(cls: Any) -> tuple[str, str]:
    """Return the module and name of a class: a reloaded module may register its classes again."""
    return cls.__module__, cls.__qualname__
