"""``nnbackend draw``: a picture of a model file's network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import nnbackend as nnb
from nnbackend.cli.arguments import Debug, Json, ModelFile, check_output, wrong_call
from nnbackend.cli.printing import print_json, say
from nnbackend.cli.reporting import reporting
from nnbackend.core.shapes import Shapes
from nnbackend.drawing.drawing import check_format
from nnbackend.network import Network
from nnbackend.tables.input_names import input_names, output_names
from nnbackend.tables.model import MODELS, ArrayModel, TableModel, load

__all__ = ["draw"]

_MOST_NAMES = 16  # of more inputs or outputs the names are left out


class Style(StrEnum):
    """How a network is drawn."""

    AUTO = "auto"
    CIRCLES = "circles"
    BLOCKS = "blocks"


def draw(
    model: ModelFile,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file to write: .svg, or .png and .pdf with the extra 'draw'.",
            show_default="the model's name with .svg",
        ),
    ] = None,
    style: Annotated[
        Style,
        typer.Option(help="Circles for neurons, blocks for layers, or circles where they fit."),
    ] = Style.AUTO,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="How many levels of layers inside layers to open.",
                     show_default="all that fit"),
    ] = None,
    gather: Annotated[
        bool, typer.Option(help="Draw layers that come several times in a row once.")
    ] = True,
    as_json: Json = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Draw the network of a model file: a small one as circles and lines, others as blocks."""
    with reporting(debug, quiet=as_json):
        path = Path(f"{model.stem}.svg") if output is None else output
        with wrong_call("--output"):
            check_format(path)
        check_output(path, model)
        network, inputs, outputs = _load(model)
        drawing = nnb.draw(
            network,
            input_names=inputs,
            output_names=outputs,
            style=style.value,
            depth=depth,
            gather=gather,
        )
        drawing.save(path)
        if as_json:
            print_json({"output": str(path), "style": drawing.style, "note": drawing.note})
            return
        reason = f": {drawing.note}" if drawing.note else ""
        say(f"wrote {path}, drawn as {drawing.style}{reason}")


def _load(path: Path) -> tuple[Network, list[str] | None, list[str] | None]:
    """Return the network of a file, with names of its inputs and outputs where there are a few."""
    network = nnb.load(path, backend="numpy")
    if not any(kind.kind in network.metadata for kind in MODELS.values()):
        return network, None, None
    model: TableModel | ArrayModel = load(path)
    inputs = input_names(model.encoder.features) if isinstance(model, TableModel) else []
    network = model.network
    return (
        network,
        _few(inputs, network.input_shape),
        _few(output_names(model), network.output_shape),
    )


def _few(names: list[str], shape: Shapes) -> list[str] | None:
    """Return names if they are a few, none is empty, and they are those of a row's numbers."""
    fit = len(names) <= _MOST_NAMES and shape == (len(names),) and all(names)
    return names if fit else None
