"""Layers inside layers: walk them, replace them, find their regularizers, constraints and state."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from nnbackend.core.checks import check_arrays
from nnbackend.core.registry import field_names
from nnbackend.core.tree import flatten
from nnbackend.core.types import Layer, Params, Shape, State

__all__ = [
    "children",
    "count_layers",
    "first_layer",
    "frozen_names",
    "has_layer",
    "holds_layers",
    "init_state",
    "is_stateful",
    "map_layers",
    "weights_with",
]


def children(layer: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield the layers inside a composite layer, by name, in the order of its fields.

    A child is a layer in a field of the composite, or in a sequence or mapping that a field holds,
    nested in any way. A class need not be a dataclass: then all its attributes count, private ones and
    slots too; of a dataclass, the fields and the other public attributes. The names are those that the
    composite has to use for its children's parameters
    (``params[name]``) and contexts (``ctx.child(name)``), and in ``init`` for their random numbers
    (``rng.child(name)``):

    - one layer in a field ``inner``: ``"inner"``;
    - layers in a sequence or mapping ``layers``: ``"0"``, ``"1"``, ..., or its keys;
    - layers in another one, ``branches``: ``"branches.0"``, or ``"branches.key"``.

    A class with the methods ``named_children() -> [(name, layer), ...]`` and
    ``with_children(function) -> layer``, for :func:`map_layers`, says itself what is inside. A layer
    that is made in a method and is kept in no attribute cannot be found.

    Raises:
        ValueError: two layers would have the same name.

    >>> [name for name, _ in children(Sequential([Dense(3), Dense(1)]))]
    ['0', '1']
    """
    if _names_its_children(type(layer)):
        yield from layer.named_children()  # type: ignore[attr-defined]
        return
    if _is_leaf(type(layer), *map(type, getattr(layer, "__dict__", {}).values())):
        return
    seen = set()
    for attribute in _attributes(layer):
        for name, child in _layers_in(getattr(layer, attribute), attribute):
            if name in seen:
                raise ValueError(f"two layers inside {type(layer).__name__} are called {name!r}")
            seen.add(name)
            yield name, child


def map_layers(function: Callable[[str, Layer], Layer], layer: Layer) -> Layer:
    """Return a composite layer with ``function(name, child)`` in the place of each child.

    Only direct children are replaced; the function may descend. A layer without children, or all of
    whose children stay, is returned itself. The new composite is made by its constructor.
    """
    if _names_its_children(type(layer)):
        return layer.with_children(function)  # type: ignore[attr-defined,no-any-return]
    values = {name: getattr(layer, name) for name in _attributes(layer)}
    mapped = {name: _replace_in(value, name, function) for name, value in values.items()}
    changed = {name: new for name, new in mapped.items() if new is not values[name]}
    if not changed:
        return layer
    arguments = {
        name: changed.pop(name) for name in field_names(type(layer), init=True) if name in changed
    }
    new_layer = dataclasses.replace(layer, **arguments) if arguments else copy.copy(layer)  # type: ignore[type-var]
    for name, value in changed.items():
        object.__setattr__(new_layer, name, value)
    return new_layer


def weights_with(attribute: str, layer: Layer, prefix: str = "") -> tuple[tuple[str, Any], ...]:
    """Return the dotted name of each weight whose layer has an attribute, with the attribute's value.

    The attribute is ``"regularizer"`` or ``"constraint"``; ``prefix`` is put before the names.

    >>> weights_with("regularizer", Sequential([Dense(3, regularizer=L2(0.1)), Dense(1)]))
    (('0.weight', L2(strength=0.1)),)
    """
    own = getattr(layer, attribute, None)
    found = [] if own is None else [(f"{prefix}weight", own)]
    for name, child in children(layer):
        found += weights_with(attribute, child, f"{prefix}{name}.")
    return tuple(found)


def frozen_names(layer: Layer, params: Params, prefix: str = "") -> list[str]:
    """Return the dotted names of the parameters in layers that say ``freezes = True``: in a Freeze."""
    if getattr(layer, "freezes", False):
        return [prefix + name for name in flatten(params)]
    return [
        name
        for inside, child in children(layer)
        for name in frozen_names(child, params.get(inside, {}), f"{prefix}{inside}.")
    ]


def has_layer(layer: Layer, attribute: str) -> bool:
    """Return whether a layer, or one inside it, has an attribute that is true."""
    if getattr(layer, attribute, False):
        return True
    return any(has_layer(child, attribute) for _, child in children(layer))


def count_layers(layer: Layer) -> int:
    """Return how many layers run when this one does, itself among them.

    A layer that runs one inside several times says so in an attribute ``layer_count``.
    """
    said = getattr(layer, "layer_count", None)
    if isinstance(said, int):
        return said
    return 1 + sum(count_layers(child) for _, child in children(layer))


def first_layer(layer: Layer) -> Layer:
    """Return the layer that takes the inputs: the first inside, or one that says what it takes."""
    while not hasattr(layer, "takes"):
        inside = next((child for _, child in children(layer)), None)
        if inside is None:
            break
        layer = inside
    return layer


def is_stateful(layer: Layer) -> bool:
    """Return whether a layer, or one inside it, may have state: arrays that no optimizer trains."""
    if hasattr(layer, "init_state") and not getattr(layer, "state_is_of_layers", False):
        return True
    return any(is_stateful(child) for _, child in children(layer))


def init_state(layer: Layer, input_shape: Shape) -> State:
    """Return the initial state of a layer: NumPy arrays in float64 by name; {} if it has none.

    A layer has state if it has a method ``init_state(input_shape)``. A layer with layers inside has
    to have one if they do, for it alone knows the shapes of their inputs.

    Raises:
        TypeError: a layer inside has state, and the one around it does not say so.
    """
    if hasattr(layer, "init_state"):
        state: State = layer.init_state(input_shape)
        check_arrays(f"what {type(layer).__name__}.init_state returns", state)
        return state
    for name, child in children(layer):
        if is_stateful(child):
            raise TypeError(
                f"{type(layer).__name__} needs a method init_state(input_shape), for the layer {name} "
                f"inside it ({type(child).__name__}) has state: return "
                f"{{{name!r}: init_state(layer, shape_of_its_input)}}, by the name it has in "
                "ctx.child(name); nnbackend.core.layer_tree has init_state"
            )
    return {}


def _names_its_children(kind: type) -> bool:
    return hasattr(kind, "named_children")


def _attributes(layer: Layer) -> list[str]:
    """Return the names of the fields and other public attributes; without fields, of all attributes."""
    names, others = field_names(type(layer)), list(getattr(layer, "__dict__", ()))
    if dataclasses.is_dataclass(layer):
        if others == [*names]:  # the fields alone, as most often
            return others
        return [*names, *(name for name in others if name[0] != "_" and name not in names)]
    slots = (getattr(kind, "__slots__", ()) for kind in type(layer).__mro__)
    others += [name for s in slots for name in ((s,) if isinstance(s, str) else s)]
    return [name for name in others if not name.startswith("__") and hasattr(layer, name)]


@lru_cache(maxsize=256)
def _is_leaf(kind: Any, *held: Any) -> bool:
    """Return whether no field can hold a layer, by their classes; a network is walked often."""
    return dataclasses.is_dataclass(kind) and all(map(_has_no_layers, held))


def _has_no_layers(kind: Any) -> bool:
    """Return whether objects of a class are no layers and hold none."""
    if kind.__module__.partition(".")[0] != "nnbackend":
        return kind in (str, int, float, bool, type(None))
    return not (hasattr(kind, "forward") or issubclass(kind, (tuple, list, Mapping)))


def _is_layer(value: Any) -> bool:
    return hasattr(value, "forward") and hasattr(value, "init") and not isinstance(value, type)


def holds_layers(value: Any) -> bool:
    """Return whether the value of a field is a layer, or a sequence or mapping with layers in it."""
    return next(_layers_in(value, ""), None) is not None


def _layers_in(value: Any, name: str) -> Iterator[tuple[str, Layer]]:
    """Yield the layers that a field holds, by name."""
    if _is_layer(value):
        yield name, value
    elif isinstance(value, (tuple, list, Mapping)):  # a union would be made in each call
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _layers_in(item, _item_name(name, key))


def _replace_in(value: Any, name: str, function: Callable[[str, Layer], Layer]) -> Any:
    """Return the value of a field with its layers replaced; the same object if nothing is new."""
    if _is_layer(value):
        return function(name, value)
    if isinstance(value, Mapping):
        items = {k: _replace_in(v, _item_name(name, k), function) for k, v in value.items()}
        same = all(items[key] is value[key] for key in items)
        return value if same else type(value)(items)  # type: ignore[call-arg]
    if isinstance(value, tuple | list):
        new = [_replace_in(v, _item_name(name, i), function) for i, v in enumerate(value)]
        if all(a is b for a, b in zip(new, value, strict=True)):
            return value
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    return value


def _item_name(name: str, key: Any) -> str:
    """Return the name of an item of a sequence or mapping called ``name``."""
    return str(key) if name == "layers" else f"{name}.{key}"
