"""``nnbackend draw``: a picture of a model file's network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

import nnbackend as nnb
from nnbackend.cli.arguments import Debug, Json, ModelFile, WrongCall, check_output, wrong_call
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.model_data import read_features
from nnbackend.cli.options import takes_options
from nnbackend.cli.printing import print_json, say
from nnbackend.cli.reporting import reporting
from nnbackend.core.shapes import Shapes
from nnbackend.drawing.drawing import check_format
from nnbackend.errors import counted
from nnbackend.network import Network
from nnbackend.tables.input_names import input_names, output_names
from nnbackend.tables.model import MODELS, ArrayModel, TableModel, load

__all__ = ["draw", "names_of"]

_MOST_NAMES = 16  # of more inputs or outputs the names are left out


class Style(StrEnum):
    """How a network is drawn."""

    AUTO = "auto"
    CIRCLES = "circles"
    BLOCKS = "blocks"


@takes_options(DialectOptions)
def draw(
    model: ModelFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
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
        typer.Option(
            min=0,
            help="How many levels of layers inside layers to open.",
            show_default="all that fit",
        ),
    ] = None,
    gather: Annotated[
        bool, typer.Option(help="Draw layers that come several times in a row once.")
    ] = True,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            exists=True,
            help="Data of which the numbers of one row are shown in the circles, as the network has "
            "them: scaled.",
            show_default="none",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(min=1, help="Which row of --data, counted from 1.", show_default="1"),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
    **options: Any,
) -> None:
    """Draw the network of a model file: a small one as circles and lines, others as blocks."""
    with reporting(debug, quiet=as_json) as (notes, _):
        path = Path(f"{model.stem}.svg") if output is None else output
        with wrong_call("--output"):
            check_format(path)
        check_output(path, model, *([] if data is None else [data]))
        if row is not None and data is None:
            raise WrongCall("--row is a row of --data: give --data as well")
        network, trained = _load(model)
        shown = None if data is None else _read_row(trained, data, row or 1, options)
        inputs, outputs = (None, None) if trained is None else names_of(trained)
        drawing = nnb.draw(
            network,
            shown,
            input_names=inputs,
            output_names=outputs,
            style=style.value,
            depth=depth,
            gather=gather,
        )
        drawing.save(path)
        if as_json:
            told = {"output": str(path), "style": drawing.style, "note": drawing.note}
            print_json({**told, "notes": notes})
            return
        reason = f": {drawing.note}" if drawing.note else ""
        say(f"wrote {path}, drawn as {drawing.style}{reason}")


def _load(path: Path) -> tuple[Network, TableModel | ArrayModel | None]:
    """Return the network of a file, and its model if it is one of a table or an array."""
    network = nnb.load(path, backend="numpy")
    if not any(kind.kind in network.metadata for kind in MODELS.values()):
        return network, None
    model = load(path)
    return model.network, model


def _read_row(
    model: TableModel | ArrayModel | None, data: Path, row: int, options: dict[str, Any]
) -> NDArray[Any]:
    """Return a row of data, counted from 1, as the network's input."""
    if model is None:
        raise WrongCall("--data is for models that 'nnbackend train' wrote, which know its columns")
    rows, _ = read_features(model, data, options, columns=False)
    if row > len(rows):
        raise WrongCall(f"--row {row}: the data have {counted(len(rows), 'row')}")
    chosen: NDArray[Any] = rows[row - 1]
    return chosen


def names_of(model: TableModel | ArrayModel) -> tuple[list[str] | None, list[str] | None]:
    """Return names of inputs and of outputs, where there are a few."""
    inputs = input_names(model.encoder.features) if isinstance(model, TableModel) else []
    network = model.network
    return _few(inputs, network.input_shape), _few(output_names(model), network.output_shape)


def _few(names: list[str], shape: Shapes) -> list[str] | None:
    """Return names if they are a few, none is empty, and they are those of a row's numbers."""
    fit = len(names) <= _MOST_NAMES and shape == (len(names),) and all(names)
    return names if fit else None
