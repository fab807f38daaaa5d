"""``nnbackend inspect``: what a model file holds."""

from __future__ import annotations

from typing import Any

import nnbackend as nnb
from nnbackend.cli.arguments import Debug, Json, ModelFile
from nnbackend.cli.printing import print_facts, print_json, say
from nnbackend.cli.reporting import reporting
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.model import MODELS

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
        for encoder_type, model_type in MODELS.items():
            if model_type.kind in network.metadata:
                encoder = encoder_type.from_dict(network.metadata[model_type.kind])
                say()
                print_facts({row.column: row for row in encoder.describe()})
        units = Dialect.from_dict(network.metadata.get("dialect", Dialect().to_dict())).units
        if units:
            shown = (f"{name}: {' '.join(filter(None, found))}" for name, found in units.items())
            print_facts({"written with": ", ".join(shown)})
        training = network.metadata.get("training")
        if isinstance(training, dict):
            say()
            print_facts(
                {name: _flatten(part) for name, part in training.items() if part is not None}
            )


def _flatten(part: Any) -> str:
    """Return a dictionary as one text, without the entries that are None."""
    if not isinstance(part, dict):
        return str(part)
    return ", ".join(f"{name} {value}" for name, value in part.items() if value is not None)
