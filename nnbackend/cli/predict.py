"""``nnbackend predict``: the answers of a model for a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from nnbackend.cli.common import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    LoadedPrecision,
    ModelFile,
    WrongCall,
    check_output,
    reporting,
)
from nnbackend.saving.atomic import write_atomically
from nnbackend.tables.model import TableModel
from nnbackend.tables.reading import read_table

__all__ = ["predict"]

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Where to write the CSV table.", show_default="standard output"
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Add a column with the probability of each class.")
]


def predict(
    model: ModelFile,
    data: DataFile,
    output: OutputFile = None,
    probabilities: Probabilities = False,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    precision: LoadedPrecision = None,
    debug: Debug = False,
) -> None:
    """Predict the target for each row of a table, as a CSV table."""
    with reporting(debug):
        if output is not None:
            check_output(output, model, data)
        trained = TableModel.load(model, backend, device, precision)
        if probabilities and not trained.classes:
            raise WrongCall("--probabilities needs classes, and this model predicts numbers")
        if probabilities and not trained.has_probabilities:
            raise WrongCall(f"a model trained with the loss {trained.loss} gives no probabilities")
        kinds = trained.encoder.feature_kinds
        outputs = trained.outputs(trained.encoder.encode_features(read_table(data, kinds, kinds)))
        text = _as_csv(_columns(trained, outputs, probabilities))
        if output is None:
            typer.echo(text, nl=False)
        else:
            write_atomically(output, text.encode())


def _columns(model: TableModel, outputs: NDArray[Any], probabilities: bool) -> dict[str, Any]:
    columns = {model.encoder.target.name: model.answers(outputs)}
    if probabilities:
        shares = model.probabilities(outputs).T
        columns |= {f"probability_{c}": p for c, p in zip(model.classes, shares, strict=True)}
    return columns


def _as_csv(columns: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    # str() of a NumPy number has exactly the digits that its dtype carries.
    writer.writerows([str(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()
