"""``nnbackend inspect``: what a model file holds."""

from __future__ import annotations

from typing import Any

import nnbackend as nnb
from nnbackend.cli.arguments import Debug, Json, ModelFile
from nnbackend.cli.printing import print_facts, print_json, say
from nnbackend.cli.reporting import reporting
from nnbackend.tables.array_encoding import ArrayEncoder
from nnbackend.tables.column_encoding import Categories, Classes, Number
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.table import in_digits

__all__ = ["inspect"]


def inspect(model: ModelFile, as_json: Json = False, debug: Debug = False) -> None:
    """Show what a model file holds: the network, the columns or the array, how it was trained."""
    with reporting(debug):
        network = nnb.load(model, backend="numpy")
        if as_json:
            print_json({"summary": network.summary(), "metadata": network.metadata})
            return
        for line in network.summary().splitlines():
            say(line)
        if "table" in network.metadata:
            encoder = TableEncoder.from_dict(network.metadata["table"])
            say()
            print_facts({c.name: _describe(c) for c in (*encoder.features, encoder.target)})
        elif "array" in network.metadata:
            say()
            print_facts(_describe_arrays(ArrayEncoder.from_dict(network.metadata["array"])))
        training = network.metadata.get("training")
        if isinstance(training, dict):
            say()
            print_facts(
                {name: _flatten(part) for name, part in training.items() if part is not None}
            )


def _describe_arrays(encoder: ArrayEncoder) -> dict[str, str]:
    """Describe in words how an array of images or signals is encoded, and the target."""
    return {
        encoder.name: f"rows of {encoder.shape}: {encoder.layout}",
        "scaling": encoder.scaling,
        encoder.target.name: _describe(encoder.target),
    }


def _flatten(part: Any) -> str:
    """Return a dictionary as one text, without the entries that are None."""
    if not isinstance(part, dict):
        return str(part)
    return ", ".join(f"{name} {value}" for name, value in part.items() if value is not None)


def _describe(column: Number | Categories | Classes) -> str:
    """Describe in words how a column is encoded."""
    match column:
        case Number():
            shift, fill = (in_digits(x, column.scale) for x in (column.shift, column.fill))
            return f"number: (value - {shift}) / {column.scale:.6g}, {fill} where missing"
        case Categories():
            return f"category: {_join(column.categories)}"
        case Classes():
            return f"classes: {_join(column.classes)}"


def _join(values: Any) -> str:
    return ", ".join("(missing)" if value is None else value for value in values)
