"""``nnbackend predict --explain``: what each column contributes to one prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbackend.analysis.answers import TableRows
from nnbackend.analysis.contributions import RowContributions, row_contributions
from nnbackend.cli.arguments import WrongCall, wrong_call
from nnbackend.cli.model_data import read_table_rows
from nnbackend.cli.printing import in_figures, plain_table, print_json, print_table, say
from nnbackend.errors import counted
from nnbackend.tables.model import Model, TableModel
from nnbackend.tables.table import row_count, take_rows

__all__ = ["explain_row"]

_STEPS = 20_000  # background rows times columns


def explain_row(
    model: Model,
    data: Path,
    row: int,
    background: Path | None,
    options: Mapping[str, Any],
    notes: list[str] | None,
) -> None:
    """Print the contributions to the prediction for a row of a table, counted from 1.

    With ``notes`` it is one JSON object that has them, too.
    """
    if not isinstance(model, TableModel):
        raise WrongCall("--explain is for tables: arrays have no columns")
    if model.classes:
        with wrong_call("--explain"):
            model.check_probabilities()
    rows = read_table_rows(model, data, options, with_target=False)
    count = row_count(rows.table)
    if row > count:
        raise WrongCall(f"--explain {row}: the table has {counted(count, 'row')}")
    if background is None and count < 2:
        raise WrongCall(
            "--explain compares a row with others, and there are none: give --background a table, best "
            "that of training"
        )
    others = rows
    if background is not None:
        others = read_table_rows(model, background, options, with_target=False)
    one = TableRows(take_rows(rows.table, slice(row - 1, row)))
    # Of many columns each row of the background takes many steps.
    most = max(10, min(100, _STEPS // len(model.encoder.feature_kinds)))
    found = row_contributions(model, one, others, max_background=most)
    if notes is not None:
        print_json({"row": row, "task": model.task, **found.to_dict(), "notes": notes})
    else:
        _print(found, row, bool(model.classes))


def _print(found: RowContributions, row: int, classifies: bool) -> None:
    what = f"probability of {found.answer}" if classifies else found.answer
    say(f"Row {row}: {what} {in_figures(found.prediction)}")
    say(
        f"The mean of {counted(found.background_rows, 'row')} is {in_figures(found.base)}; what makes "
        "the difference:"
    )
    say()
    lines = [
        (
            column.column,
            _in_short(column.value),
            f"{column.contribution:+.4g}",
            f"{column.standard_error:.1g}",
        )
        for column in found.columns
    ]
    total = found.prediction - found.base
    lines.append(("sum", "", f"{total:+.4g}", ""))
    print_table(plain_table(("column", "value", "contribution", "standard error"), lines))


def _in_short(value: float | str | None) -> str:
    if value is None:
        return "(missing)"
    return value if isinstance(value, str) else f"{value:.6g}"
