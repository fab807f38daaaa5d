"""``--html``: what the commands put into a report that is one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nnbackend.cli.call import Call
from nnbackend.cli.model_data import read_table_rows
from nnbackend.cli.rows import Rows
from nnbackend.core.history import History
from nnbackend.report.write import write_report
from nnbackend.tables.model import Model, TableModel

__all__ = ["write_evaluation_report", "write_training_report"]


def write_training_report(
    call: Call,
    model: Model,
    rows: Rows,
    history: History,
    plan: Mapping[str, str],
    notes: list[str],
) -> None:
    """Write the report on a training, about the validation rows where there are some."""
    assert call.html is not None
    validates = rows.validation is not None
    x, y = rows.validation or (rows.x, rows.y)
    training, holdout = rows.parts or (None, None)
    epochs = f"{len(history)} epochs in {sum(history['seconds']):.1f} s"
    write_report(
        call.html,
        model,
        x,
        y,
        rows="validation rows" if validates else "training rows, since none was held out",
        holdout=holdout if validates else training,
        training=training,
        histories=[history.to_dict()],
        facts={**plan, "trained": f"{epochs}{f', {history.stopped}' if history.stopped else ''}"},
        notes=notes,
        model_path=call.output,
        seed=model.network.seed,
    )


def write_evaluation_report(
    path: Path,
    model_path: Path,
    model: Model,
    x: Any,
    y: NDArray[Any],
    data: Path,
    options: Mapping[str, Any],
    notes: list[str],
) -> None:
    """Write the report on a model for the rows of a table or an array."""
    holdout = None
    if isinstance(model, TableModel):
        holdout = read_table_rows(model, data, options, with_target=True)
    write_report(
        path,
        model,
        x,
        y,
        rows=f"rows of {data.name}",
        holdout=holdout,
        facts={"model": str(model_path), "data": str(data), "task": model.task},
        notes=notes,
        model_path=model_path,
    )
