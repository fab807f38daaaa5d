"""``nnbackend predict``: the answers of a model for a table, or for images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from nnbackend.cli.arguments import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    Json,
    LoadedPrecision,
    ModelFile,
    Quiet,
    Threads,
    WrongCall,
    check_output,
    check_tables,
    load_model,
    wrong_call,
)
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.explanation import explain_row
from nnbackend.cli.model_data import as_told, read_features
from nnbackend.cli.options import takes_options
from nnbackend.cli.reporting import reporting
from nnbackend.cli.threads import thread_limit
from nnbackend.saving.atomic import write_atomically
from nnbackend.tables.frames import polars_series, select_columns
from nnbackend.tables.intervals import interval_between
from nnbackend.tables.model import Model
from nnbackend.tables.table import polars_module
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
        help="Columns of the data that are written beside the answers as they are: a,b,c, or the "
        "option several times.",
        show_default="none",
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Add a column with the probability of each class.")
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="SHARE",
        help="Of a model with quantiles: add the ends of an interval in which that share of targets "
        "lies; 0.8 needs the quantiles 0.1 and 0.9.",
        show_default="none",
    ),
]
Explained = Annotated[
    int | None,
    typer.Option(
        "--explain",
        metavar="ROW",
        min=1,
        help="Show what each column contributes to the prediction for one row, counted from 1, instead "
        "of the answers for all.",
        show_default="none",
    ),
]
Background = Annotated[
    Path | None,
    typer.Option(
        "--background",
        metavar="DATA",
        callback=check_tables,
        help="For --explain: the table whose rows it is compared with, best that of training.",
        show_default="the rows of DATA",
    ),
]


@takes_options(DialectOptions)
def predict(
    model: ModelFile,
    data: DataFile,
    output: OutputFile = None,
    identifiers: Identifiers = None,
    probabilities: Probabilities = False,
    interval: Interval = None,
    explain: Explained = None,
    background: Background = None,
    as_json: Json = False,
    quiet: Quiet = False,
    backend: BackendName = "numpy",
    device: DeviceName = None,
    precision: LoadedPrecision = None,
    threads: Threads = None,
    debug: Debug = False,
    **options: Any,
) -> None:
    """Predict the target for each row of a table or an array: one answer for each, in their order."""
    with reporting(debug, quiet=quiet or as_json) as (notes, _):
        if explain is not None:
            if output is not None or identifiers or probabilities or interval is not None:
                raise WrongCall(
                    "--explain prints one row: it takes no --output, --id, --probabilities, --interval"
                )
            trained = as_told(load_model(model, backend, device, precision), options)
            with thread_limit(threads, trained.network):
                explain_row(trained, data, explain, background, options, notes if as_json else None)
            return
        if background is not None or as_json:
            raise WrongCall(
                "--background and --json go with --explain; for answers as JSON: --output answers.jsonl"
            )
        if output is not None:
            check_output(output, model, data)
        with wrong_call("--output"):
            write = writer_for(output or Path("answers.csv"))
        trained = as_told(load_model(model, backend, device, precision), options)
        if probabilities:
            with wrong_call("--probabilities"):
                trained.check_probabilities()
        if interval is not None:
            with wrong_call("--interval"):
                check_interval(trained, interval)
        x, frame = read_features(trained, data, options, columns=bool(identifiers))
        with thread_limit(threads, trained.network):
            answers = _answers(trained, frame, x, identifiers or [], probabilities, interval)
        content = write(answers)
        if output is None:
            typer.echo(content, nl=False)  # bytes: UTF-8 whatever the terminal's encoding
        else:
            write_atomically(output, content)


def _answers(
    model: Model,
    frame: pl.DataFrame,
    x: NDArray[Any],
    identifiers: list[str],
    probabilities: bool,
    interval: float | None,
) -> pl.DataFrame:
    """Return the answers for all rows, beside the columns that identify them."""
    polars = polars_module()
    names = (n for text in identifiers for n in ([text] if text in frame else text.split(",")))
    kept = select_columns(frame, dict.fromkeys(name.strip() for name in names)).get_columns()
    outputs = model.outputs(x)
    found = [polars_series(model.encoder.target.name, model.answers(outputs))]
    if probabilities:
        shares = zip(model.classes, model.probabilities(outputs).T, strict=True)
        found += [polars_series(f"probability_{name}", p) for name, p in shares]
    if model.quantiles:
        found += _quantile_columns(model, outputs, interval)
    twice = {column.name for column in kept} & {column.name for column in found}
    if twice:
        raise WrongCall(f"--id {min(twice)}: a column of the answers has that name")
    return polars.DataFrame([*kept, *found])  # type: ignore[no-any-return]


def check_interval(model: Model, share: float) -> None:
    """Refuse an interval that the quantiles of a model do not have."""
    interval_between(np.zeros((0, len(model.quantiles))), model.quantiles, None, share)


def _quantile_columns(
    model: Model, outputs: NDArray[Any], interval: float | None
) -> list[pl.Series]:
    """Return the quantiles beside the median, which is the answer, and the ends of an interval."""
    name, quantiles = model.encoder.target.name, model.quantiles
    values = model.answers_by_quantile(outputs)
    found = [
        polars_series(f"{name}_{q:g}", values[:, place])
        for place, q in enumerate(quantiles)
        if q != 0.5
    ]
    if interval is not None:
        ends = interval_between(values, quantiles, model.widening, interval)
        found += [
            polars_series(f"{name}_{end}", ends[:, i]) for i, end in enumerate(("low", "high"))
        ]
    return found
