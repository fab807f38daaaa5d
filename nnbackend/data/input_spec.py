"""What a network takes as inputs: how many arrays, of which shapes, numbers or indices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.layer_tree import children
from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Arrays, Layer, Shape

__all__ = [
    "ArraySpec",
    "InputSpec",
    "arrange",
    "check_same_rows",
    "check_takes_several",
    "is_tree",
    "name_arrays",
]

_INPUT_KINDS = ("numbers", "indices")


@dataclass(frozen=True)
class ArraySpec:
    """What a network takes as one of its inputs.

    Attributes:
        shape: the shape of a row; None: any.
        indices: whether it holds indices, whole numbers from 0, which stay integers.
        stop: the first index that is too large; None for numbers.
    """

    shape: Shape | None = None
    indices: bool = False
    stop: int | None = None


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
        """Return the inputs that a network takes, as its first layer declares them.

        Args:
            layers: the layers of the network.
            shape: the shape of a row, or a tree of shapes; None: it is not known yet.
            backend: the network's backend.
        """
        first = _first(layers)
        takes = getattr(first, "takes", "numbers")
        if takes == "numbers":
            return cls(shape)
        limit = getattr(first, "index_limit", None)
        stop = 1 << (63 if _has_int64(backend) else 31)
        return cls(shape, takes, limit() if callable(limit) else limit, stop)

    def array(self, name: str = "X") -> ArraySpec:
        """Return the description of the network's only input."""
        if isinstance(self.takes, tuple | dict):
            raise ValueError(f"{name} is one array, and the network takes several: {self.takes}")
        return self._array(self.shape, self.takes, self.index_limit)

    def arrays(self, inputs: Arrays, name: str = "X") -> Any:
        """Return the descriptions of several inputs, nested as they are."""
        return _spread(self, inputs, self.shape, self.takes, self.index_limit, name)

    def _array(self, shape: Shape | None, takes: Any, limit: Any) -> ArraySpec:
        if takes not in _INPUT_KINDS:
            raise ValueError(
                f"a layer takes 'numbers' or 'indices', in its attribute takes, not {takes!r}"
            )
        if takes == "numbers":
            return ArraySpec(shape)
        return ArraySpec(shape, True, self.index_stop if limit is None else limit)


def _spread(spec: InputSpec, inputs: Arrays, shape: Any, takes: Any, limit: Any, name: str) -> Any:
    """Return an :class:`ArraySpec` for each array; one description holds for all arrays below it."""
    if not isinstance(inputs, tuple | dict):
        return spec._array(shape, takes, limit)
    keys = list(inputs) if isinstance(inputs, dict) else list(range(len(inputs)))

    def part(value: Any, key: Any, what: str) -> Any:
        if not isinstance(value, tuple | dict):
            return value
        if len(value) != len(keys) or (isinstance(value, dict) and key not in value):
            raise ValueError(f"{name} has the inputs {keys}, and {what} of the layer is {value!r}")
        return value[key]

    found = {
        key: _spread(
            spec,
            inputs[key],
            None if shape is None else shape[key],
            part(takes, key, "takes"),
            part(limit, key, "index_limit"),
            f"{name}[{key!r}]",
        )
        for key in keys
    }
    return found if isinstance(inputs, dict) else tuple(found.values())


def _first(layer: Layer) -> Layer:
    """Return the layer that takes the inputs: the first inside, or one that says what it takes."""
    while not hasattr(layer, "takes"):
        inside = next((child for _, child in children(layer)), None)
        if inside is None:
            break
        layer = inside
    return layer


def check_takes_several(layers: Layer, shape: Shapes) -> None:
    """Refuse several inputs for a network that begins with a layer of the library for one.

    Raises:
        ValueError: it does.
    """
    if is_shape(shape):
        return
    first = _first(layers)
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
        x: the inputs, as users give them; see :func:`is_tree` for what are several.
        shape: the tree of shapes that the network was built for; None: any. Where it says that there
            are several, a list of as many is taken as well.
        name: the inputs' name in messages.

    Raises:
        ValueError: they are nested in another way than the shapes.
    """
    if shape is None:
        if not is_tree(x):
            return list(x) if isinstance(x, tuple) else x
        if isinstance(x, dict):
            return {key: arrange(part, None, f"{name}[{key!r}]") for key, part in x.items()}
        return _same_tuple(x, [arrange(part, None, f"{name}[{i}]") for i, part in enumerate(x)])
    if is_shape(shape):
        if not isinstance(x, (tuple, dict)):
            return x
        if is_tree(x):
            raise ValueError(_one_array_only(name, x))
        return list(x)
    if isinstance(shape, dict):
        if not isinstance(x, dict) or x.keys() != shape.keys():
            got = f"a dictionary of {[*x]}" if isinstance(x, dict) else f"{_describe(x)}"
            raise ValueError(f"the network takes {name} as a dictionary of {[*shape]}, got {got}")
        return {key: arrange(x[key], shape[key], f"{name}[{key!r}]") for key in shape}
    if not isinstance(x, tuple | list) or len(x) != len(shape):
        raise ValueError(
            f"the network takes {name} as a tuple of {len(shape)} arrays, got {_describe(x)}"
        )
    parts = [
        arrange(part, own, f"{name}[{i}]")
        for i, (part, own) in enumerate(zip(x, shape, strict=True))
    ]
    return _same_tuple(x, parts)


def name_arrays(arrays: Arrays, name: str) -> Any:
    """Return the name of each array in messages: ``X``, ``X['meta']`` or ``X[1]``."""
    if isinstance(arrays, dict):
        return {key: name_arrays(part, f"{name}[{key!r}]") for key, part in arrays.items()}
    if isinstance(arrays, tuple):
        return _same_tuple(
            arrays, [name_arrays(part, f"{name}[{i}]") for i, part in enumerate(arrays)]
        )
    return name


def check_same_rows(arrays: Arrays, name: str = "X") -> None:
    """Raise a ValueError if the arrays of a tree differ in their numbers of rows."""
    if not isinstance(arrays, tuple | dict):
        return
    named = list(zip(arrays_in(name_arrays(arrays, name)), arrays_in(arrays), strict=True))
    if not named:
        raise ValueError(f"{name} holds no arrays")
    first, rows = named[0][0], int(named[0][1].shape[0])
    for other, array in named[1:]:
        if int(array.shape[0]) != rows:
            raise ValueError(
                f"{first} and {other} must have the same length, got {rows} rows and "
                f"{int(array.shape[0])} rows"
            )


def _same_tuple(like: Any, parts: list[Any]) -> Any:
    """Return parts as a tuple; as the named tuple that ``like`` is."""
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


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
