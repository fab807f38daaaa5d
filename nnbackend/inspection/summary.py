"""A network as people read it: its layers, their outputs, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnbackend.backends.base import Backend
from nnbackend.backends.device import in_words
from nnbackend.core.precision import PRECISIONS
from nnbackend.core.shapes import Shapes, map_shapes
from nnbackend.core.tree import flatten
from nnbackend.core.types import Layer, Params
from nnbackend.errors import counted
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.shape_trace import Traced, trace_shapes

__all__ = ["SummaryRow", "list_rows", "write_table"]

_HEADER = ("", "layer", "output", "parameters", "multiply-adds", "activations")


@dataclass(frozen=True)
class SummaryRow:
    """What a summary says of a layer.

    Attributes:
        path: its place, a dotted name: ``"1.0"`` for the first layer inside the second.
        layer: the layer as text; of a layer with others inside its own arguments alone.
        output_shape: the shape of a row of its output, or a tree of shapes; None: not built.
        parameters: the number of its parameters, those of layers inside too.
        multiply_adds: the multiplications of inputs with its weights in a forward pass of one row,
            followed by an addition each; None: unknown.
        activations: how many numbers its outputs for one row have, with those of the layers inside.
    """

    path: str
    layer: str
    output_shape: Shapes | None
    parameters: int
    multiply_adds: int | None = None
    activations: int = 0

    @property
    def is_inside(self) -> bool:
        """Whether the layer is inside another one, whose row has its numbers too."""
        return "." in self.path


def list_rows(
    layers: Sequence[Layer], input_shape: Shapes | None, params: Params | None
) -> list[SummaryRow]:
    """Return a row for each layer, followed by those of the layers inside.

    Args:
        layers: the layers, one after the other.
        input_shape: the shape of a row of the input, or a tree of shapes; None: not built.
        params: the parameters; None: not built.
    """
    rows: list[SummaryRow] = []
    shape = input_shape
    for i, layer in enumerate(layers):
        if shape is None:
            own = {} if params is None else params[str(i)]
            count = sum(math.prod(p.shape) for p in flatten(own).values())
            rows.append(SummaryRow(str(i), describe_layer(layer), None, count))
            continue
        traced = trace_shapes(layer, shape, str(i))
        rows += _rows_of(traced)
        shape = traced.output_shape
    return rows


def _rows_of(traced: Traced) -> Iterator[SummaryRow]:
    """Yield the row of a layer, and of the layers inside."""
    text = describe_layer(traced.layer, inside=not traced.inside)
    if traced.runs > 1:
        text += f", run {counted(traced.runs, 'time')}"
    yield SummaryRow(
        traced.path,
        text,
        traced.output_shape,
        traced.parameters,
        traced.multiply_adds,
        traced.activations,
    )
    for inside in traced.inside:
        yield from _rows_of(inside)


def write_table(rows: Sequence[SummaryRow], input_shape: Shapes | None, backend: Backend) -> str:
    """Return rows as lines of text, with the sums and the backend."""
    item_size = PRECISIONS[backend.precision].activation_bytes
    cells = [_HEADER, *(_cells(row, item_size) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        texts = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
        texts += [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(texts).rstrip())
    outer = [row for row in rows if not row.is_inside]
    total = sum(row.parameters for row in outer)
    shape = "not built" if input_shape is None else f"input {input_shape}"
    where = f"{backend.name} on {backend.device_name()}, {backend.precision_label}"
    cost = "" if input_shape is None else f"{_cost(outer, item_size)}, "
    lines.append(f"{total:,} parameters, {cost}{shape}, {where}")
    return "\n".join(lines)


def _cells(row: SummaryRow, item_size: int) -> tuple[str, ...]:
    """Return the texts of a row."""
    built = row.output_shape is not None
    return (
        row.path,
        row.layer,
        _show(row.output_shape),
        f"{row.parameters:,}",
        "" if not built else "?" if row.multiply_adds is None else f"{row.multiply_adds:,}",
        in_words(row.activations * item_size) if built else "",
    )


def _cost(rows: Sequence[SummaryRow], item_size: int) -> str:
    """Return in words what a forward pass of one row takes."""
    known = [row.multiply_adds for row in rows if row.multiply_adds is not None]
    least = "" if len(known) == len(rows) else "at least "
    size = in_words(sum(row.activations for row in rows) * item_size)
    return f"{least}{sum(known):,} multiply-adds and {size} of activations a row"


def _show(shape: Shapes | None) -> str:
    """Return the shape of an output as text."""
    return "?" if shape is None else str(map_shapes(tuple, shape))
