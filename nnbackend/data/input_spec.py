"""What a network takes as inputs: how many arrays, of which shapes, numbers or indices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.layer_tree import first_layer
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Arrays, Layer
from nnbackend.errors import counted, listed

__all__ = [
    "InputSpec",
    "arrange",
    "check_same_rows",
    "check_takes_several",
    "is_tree",
    "name_arrays",
]

_INPUT_KINDS = ("numbers", "indices")


@dataclass(frozen=True)
class InputSpec:
    """What a network takes as its inputs: one array, or a tree of them.

    Attributes:
        shape: the shape of a row, or a tree of shapes; None: the network is not built.
        takes: ``"numbers"`` or ``"indices"``, for all inputs or as a tree with a word for each.
        index_limit: the number of indices; None: as many as the library's integers.
        index_stop: the first index that the integers of the library cannot hold.
    """

    shape: Shapes | None = None
    takes: Any = "numbers"
    index_limit: Any = None
    index_stop: int = 1 << 31

    @classmethod
    def of(cls, layers: Layer, shape: Shapes | None, backend: Backend) -> InputSpec:
        """Return the inputs that a network takes, as its first layer declares them."""
        first = first_layer(layers)
        takes = getattr(first, "takes", "numbers")
        if takes == "numbers":
            return cls(shape)
        limit = getattr(first, "index_limit", None)
        stop = 1 << (63 if _has_int64(backend) else 31)
        return cls(shape, takes, limit() if callable(limit) else limit, stop)

    @cached_property
    def is_one(self) -> bool:
        """Whether the only input is an array of numbers."""
        return self.takes == "numbers" and (self.shape is None or is_shape(self.shape))

    @property
    def indices(self) -> bool:
        """Whether the only input holds indices, whole numbers from 0, which stay integers."""
        return bool(self.takes == "indices")

    @property
    def stop(self) -> int:
        """The first index that is too large for the only input."""
        return self.index_stop if self.index_limit is None else int(self.index_limit)

    def of_each(self, inputs: Arrays, name: str = "X") -> Any:
        """Return what the network takes for each array of its inputs, nested as they are."""
        if not isinstance(inputs, tuple | dict):
            if isinstance(self.takes, tuple | dict):
                raise ValueError(
                    f"{name} is one array, and the network takes several: {self.takes}"
                )
            if self.takes not in _INPUT_KINDS:
                raise ValueError(
                    f"a layer takes 'numbers' or 'indices', in its attribute takes, not {self.takes!r}"
                )
            return self
        keys = _keys(inputs)

        def part(value: Any, key: Any, what: str) -> Any:
            if not isinstance(value, tuple | dict):
                return value  # one description holds for all arrays below it
            if len(value) != len(keys) or (isinstance(value, dict) and key not in value):
                raise ValueError(
                    f"{name} has the inputs {keys}, and {what} of the layer is {value!r}"
                )
            return value[key]

        specs = [
            replace(
                self,
                shape=None if self.shape is None else self.shape[key],
                takes=part(self.takes, key, "takes"),
                index_limit=part(self.index_limit, key, "index_limit"),
            ).of_each(inputs[key], f"{name}[{key!r}]")
            for key in keys
        ]
        return _nested(inputs, specs)


def check_takes_several(layers: Layer, shape: Shapes) -> None:
    """Refuse several inputs for a network that begins with a layer of the library for one."""
    if is_shape(shape):
        return
    first = first_layer(layers)
    if type(first).__module__.startswith("nnbackend.") and not hasattr(first, "takes"):
        raise ValueError(_one_array_only("X", shape, f", which begins with {type(first).__name__}"))


def is_tree(x: Any) -> bool:
    """Return whether data are several arrays, and not one.

    A dictionary is, and so is a tuple in which there is an array (something with a shape of one axis
    or more), a dictionary or such a tuple. A list never is: it holds rows, as does a tuple of numbers or
    of lists.
    """
    if isinstance(x, dict):
        return True
    return isinstance(x, tuple) and any(
        len(getattr(part, "shape", ())) > 0 or is_tree(part) for part in x
    )


def arrange(x: Any, shape: Shapes | None = None, name: str = "X") -> Arrays:
    """Return inputs as one array-like, or as tuples and dictionaries of array-likes.

    Args:
        x: the inputs, as users give them; see
            :func:`nnbackend.data.input_spec.is_tree` for what are several.
        shape: the tree of shapes that the network was built for; None: any. Where it says that there
            are several, a list of as many is taken as well.
        name: the inputs' name in messages.

    Raises:
        ValueError: they are nested in another way than the shapes.
    """
    if shape is None or is_shape(shape):
        if not is_tree(x):
            return list(x) if isinstance(x, tuple) else x
        if shape is not None:
            raise ValueError(_one_array_only(name, x))
    elif isinstance(shape, dict):
        if not isinstance(x, dict) or x.keys() != shape.keys():
            got = (
                f"a dictionary of {_keys_in_words(x)}" if isinstance(x, dict) else f"{_describe(x)}"
            )
            raise ValueError(
                f"the network takes {name} as a dictionary of {_keys_in_words(shape)}, got {got}"
            )
        x = {key: x[key] for key in shape}
    elif not isinstance(x, tuple | list) or len(x) != len(shape):
        raise ValueError(
            f"the network takes {name} as a tuple of {len(shape)} arrays, got {_describe(x)}"
        )
    below = [
        arrange(x[key], None if shape is None else shape[key], f"{name}[{key!r}]")
        for key in _keys(x)
    ]
    return _nested(x, below)


def name_arrays(arrays: Arrays, name: str) -> Any:
    """Return the name of each array in messages: ``X``, ``X['meta']`` or ``X[1]``."""
    if not isinstance(arrays, tuple | dict):
        return name
    return _nested(arrays, [name_arrays(arrays[key], f"{name}[{key!r}]") for key in _keys(arrays)])


def check_same_rows(arrays: Arrays, names: Any = "X") -> None:
    """Raise a ValueError if the arrays of a tree differ in their numbers of rows.

    ``names`` is the name of the tree, or a tree of names.
    """
    if not isinstance(arrays, tuple | dict):
        return
    each = arrays_in(name_arrays(arrays, names) if isinstance(names, str) else names)
    named = list(zip(each, arrays_in(arrays), strict=True))
    if not named:
        raise ValueError(f"{names} holds no arrays")
    first, rows = named[0][0], _rows_in_words(named[0][1])
    for other, array in named[1:]:
        if _rows_in_words(array) != rows:
            raise ValueError(
                f"{first} and {other} must have the same length, got {rows} and "
                f"{_rows_in_words(array)}"
            )


def _rows_in_words(array: Any) -> str:
    return counted(int(array.shape[0]), "row") if len(array.shape) else "a single number"


def _keys(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, dict) else list(range(len(tree)))


def _nested(like: Any, parts: list[Any]) -> Any:
    """Return parts as a dictionary or a tuple; as the named tuple that ``like`` is."""
    if isinstance(like, dict):
        return dict(zip(like, parts, strict=True))
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def _keys_in_words(x: Any) -> str:
    return f"[{listed(map(repr, x))}]"


def _describe(x: Any) -> str:
    """Return in words the value given in place of several arrays."""
    if isinstance(x, tuple | list | dict):
        return f"a {type(x).__name__} of {len(x)}"
    return (
        f"an array of shape {tuple(np.shape(x))}" if hasattr(x, "shape") else repr(type(x).__name__)
    )


def _one_array_only(name: str, x: Any, network: str = "") -> str:
    kind = "a dictionary" if isinstance(x, dict) else "a tuple"
    return (
        f"{name} is {kind} of {len(x)} arrays, that is {len(x)} inputs, and the network{network} takes "
        "one: np.concatenate or np.stack make one array of several; rows that are arrays go into a list"
    )


def _has_int64(backend: Backend) -> bool:
    """Return whether the library has integers of 64 bits (JAX has them as an option)."""
    xp = backend.xp
    with warnings.catch_warnings(), backend.scope():
        warnings.simplefilter("ignore")
        return bool(xp.iinfo(xp.asarray(0, dtype=xp.int64, device=backend.device).dtype).bits == 64)
