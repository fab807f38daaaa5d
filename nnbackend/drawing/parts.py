"""What a drawing in blocks is made of, before anything has a place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnbackend.core.shapes import Shapes

__all__ = ["Block", "Chain", "Frame", "Part", "Sign", "Wired", "blocks_in"]


@dataclass(frozen=True)
class Block:
    """A layer, or an input.

    Attributes:
        path: the layer's place in the network, a dotted name; "" for an input.
        kind: its color, a name of :data:`nnbackend.drawing.style.BLOCK_KINDS`.
        name: the bold text below it.
        text: what follows the name, its arguments.
        details: further lines.
        title: what is shown when the pointer rests on it.
        input_shape: of a row; or a tree of shapes.
        output_shape: of a row; or a tree of shapes.
        is_active: whether an activation is part of the layer.
    """

    path: str
    kind: str
    name: str
    text: str
    details: tuple[str, ...]
    title: str
    input_shape: Shapes
    output_shape: Shapes
    is_active: bool = False


@dataclass(frozen=True)
class Sign:
    """A small circle with a text in it, such as ``+``; or, without one, a dot with a label beside it."""

    text: str = ""
    label: str = ""
    title: str = ""


@dataclass(frozen=True)
class Chain:
    """Parts one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Frame:
    """A frame around a part, with a bold label, a note behind it, and the path of a layer."""

    label: str
    note: str
    title: str
    inside: Part
    path: str = ""
    is_connected: bool = True


@dataclass(frozen=True)
class Wired:
    """Parts that are connected in any way.

    Attributes:
        nodes: the parts by key, each after those that lead to it.
        edges: the connections: from a key to another, with a label, which is mostly "".
        entry: the key of the part at which all begins; None: nothing leads here.
        exit: the key of the part at which all ends; None: nothing goes on from here.
    """

    nodes: dict[str, Part]
    edges: dict[tuple[str, str], str]
    entry: str | None
    exit: str | None


Part: TypeAlias = Block | Sign | Chain | Frame | Wired


def blocks_in(part: Any) -> Iterator[Block | Sign]:
    """Yield all blocks and signs in a part."""
    if isinstance(part, Block | Sign):
        yield part
    elif isinstance(part, Frame):
        yield from blocks_in(part.inside)
    else:
        for one in part.parts if isinstance(part, Chain) else part.nodes.values():
            yield from blocks_in(one)
