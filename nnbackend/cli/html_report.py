"""``--html``: what the commands put into a report that is one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nnbackend.cli.model_data import read_table_rows
from nnbackend.cli.outcome import Outcome
from nnbackend.errors import counted
from nnbackend.report.write import write_report
from nnbackend.tables.model import Model, TableModel

__all__ = ["write_evaluation_report", "write_training_report"]


def write_training_report(path: Path, outcome: Outcome, notes: list[str], model_path: Path) -> None:
    """Write the report on a training, about the rows that validate where there are some.

    Of several networks each row is predicted by networks, and by baselines, that did not learn from it.
    """
    training, reported = outcome.parts
    several = len(outcome.histories) > 1
    rows = "validation rows" if outcome.counts[1] else "training rows, since none was held out"
    epochs = f"{counted(outcome.epochs, 'epoch')} in {outcome.seconds:.1f} s"
    stopped = f", {outcome.stopped}" if outcome.stopped else ""
    write_report(
        path,
        outcome.model,
        outcome.x,
        outcome.y,
        rows="rows, each by the networks that it was held out of" if several else rows,
        outputs=outcome.outputs,
        holdout=reported,
        training=training,
        divisions=outcome.divisions,
        histories=[history.to_dict() for history in outcome.histories],
        facts={**outcome.plan, "trained": f"{epochs}{stopped}"},
        notes=notes,
        model_path=model_path,
        seed=outcome.settings["seed"],
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
