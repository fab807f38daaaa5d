"""``nnbackend predict``: the answers of a model for a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnbackend.cli.common import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    LoadedPrecision,
    ModelFile,
    Threads,
    WrongCall,
    check_output,
    choose_backend,
    reporting,
    wrong_call,
)
from nnbackend.cli.threads import thread_limit
from nnbackend.saving.atomic import write_atomically
from nnbackend.tables.frames import select_columns
from nnbackend.tables.model import TableModel, load
from nnbackend.tables.reading import polars_module, read_frame
from nnbackend.tables.writing import writer_for

if TYPE_CHECKING:
    import polars as pl

__all__ = ["predict"]

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Where to write the answers; the name says the format: .csv or .tsv (also .gz), .parquet, "
        ".jsonl, .feather or .arrow; without an ending: CSV.",
        show_default="standard output, as CSV",
    ),
]
Identifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="COLUMN",
        help="A column of the table that is written beside the answers as it is; may be repeated.",
        show_default="none",
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Add a column with the probability of each class.")
]


def predict(
    model: ModelFile,
    data: DataFile,
    output: OutputFile = None,
    identifiers: Identifiers = None,
    probabilities: Probabilities = False,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    precision: LoadedPrecision = None,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Predict the target for each row of a table: one answer for each row, in the table's order."""
    with reporting(debug):
        if output is not None:
            check_output(output, model, data)
        with wrong_call("--output"):
            write = writer_for(output or Path("answers.csv"))
        choose_backend(
            backend, device, precision=precision
        )  # a wrong call, before the file is read
        trained = load(model, backend=backend, device=device, precision=precision)
        if probabilities:
            with wrong_call("--probabilities"):
                trained.check_probabilities()
        frame = read_frame(data)
        with thread_limit(threads, trained.network):
            answers = _answers(trained, frame, identifiers or [], probabilities)
        content = write(answers)
        if output is None:
            typer.echo(content, nl=False)  # bytes: UTF-8 whatever the terminal's encoding
        else:
            write_atomically(output, content)


def _answers(
    model: TableModel, frame: pl.DataFrame, identifiers: list[str], probabilities: bool
) -> pl.DataFrame:
    """Return the answers for all rows, beside the columns that identify them."""
    polars = polars_module()
    kept = select_columns(frame, dict.fromkeys(identifiers)).get_columns()
    outputs = model.outputs(model.encode(frame))
    found = [polars.Series(model.encoder.target.name, model.answers(outputs).tolist())]
    if probabilities:
        shares = zip(model.classes, model.probabilities(outputs).T, strict=True)
        found += [polars.Series(f"probability_{name}", p) for name, p in shares]
    twice = {column.name for column in kept} & {column.name for column in found}
    if twice:
        raise WrongCall(f"--id {min(twice)}: a column of the answers has that name")
    return polars.DataFrame([*kept, *found])  # type: ignore[no-any-return]
