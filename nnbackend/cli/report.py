"""The report of ``--report``: every metric of a task, class by class, and the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nnbackend import metrics
from nnbackend.cli.common import print_table, printable, say
from nnbackend.cli.model import TableModel

__all__ = ["Report", "build_report", "print_report"]

MAX_CLASSES_SHOWN = 20  # whose confusion matrix fits a terminal
_CLASS_METRICS = ("accuracy", "balanced_accuracy")
_AVERAGED_METRICS = ("precision", "recall", "f1")
_SCORE_METRICS = ("log_loss", "roc_auc", "average_precision")
_NUMBER_METRICS = ("mae", "mse", "rmse", "r2", "mape")


@dataclass(frozen=True)
class Report:
    """How good the answers of a model are, in full.

    Attributes:
        rows: the number of rows compared.
        metrics: the metrics by name; None where one is not defined, as a ROC area of one class.
        classes: for each class its name, precision, recall, f1 and how many rows are of it.
        confusion_matrix: the number of rows by true class (rows) and predicted class (columns).
    """

    rows: int
    metrics: dict[str, float | None]
    classes: list[dict[str, Any]] | None = None
    confusion_matrix: list[list[int]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the parts that a regression does not have."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def build_report(model: TableModel, x: NDArray[Any], y: NDArray[Any]) -> Report:
    """Return the report for encoded features and targets."""
    outputs = model.outputs(x)
    if model.classes is None:
        answers, truth = model.answers(outputs), model.encoder.target.decode(y)
        values = {name: metrics.get(name)(answers, truth) for name in _NUMBER_METRICS}
        return Report(len(y), _plain(values))
    target = y if model.output_width > 1 else y[:, None].astype(outputs.dtype)
    wanted: dict[str, Any] = {name: metrics.get(name) for name in _CLASS_METRICS}
    for name in _AVERAGED_METRICS:
        wanted |= {f"{name}_{a}": metrics.METRICS[name](a) for a in ("macro", "weighted")}
    # A hinge loss ranks and gives no probabilities.
    scores = _SCORE_METRICS if model.has_probabilities else _SCORE_METRICS[1:]
    wanted |= {name: metrics.get(name) for name in scores}
    if model.output_width > 5:
        wanted["top_5_accuracy"] = metrics.TopKAccuracy(5)
    resolved = metrics.resolve(wanted, model.meaning, outputs.shape[1:])
    values = {name: metric(outputs, target) for name, metric in resolved.items()}
    matrix = metrics.confusion_matrix(outputs, target, outputs=model.meaning)
    counts = np.asarray(matrix, dtype=np.int64)
    return Report(len(y), _plain(values), _by_class(counts, model.classes), counts.tolist())


def print_report(result: Report, rows: str) -> None:
    """Print a report for people; ``rows`` says in words what the rows are."""
    say()
    say(f"Report on {result.rows} {rows}")
    values = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, value in result.metrics.items():
        values.add_row(name, "not defined here" if value is None else f"{value:.4g}")
    print_table(values)
    if result.classes is None or result.confusion_matrix is None:
        return
    say()
    by_class = _table("class", (*_AVERAGED_METRICS, "rows"))
    for line in result.classes:
        shares = [f"{line[name]:.4f}" for name in _AVERAGED_METRICS]
        by_class.add_row(printable(line["class"]), *shares, str(line["rows"]))
    print_table(by_class)
    say()
    if len(result.classes) > MAX_CLASSES_SHOWN:
        count = len(result.classes)
        say(f"The confusion matrix of {count} classes is too wide: see it with --json")
        return
    names = [printable(line["class"]) for line in result.classes]
    matrix = _table("true \\ predicted", names)
    for name, counts in zip(names, result.confusion_matrix, strict=True):
        matrix.add_row(name, *map(str, counts))
    print_table(matrix)


def _table(first: str, others: Iterable[str]) -> Table:
    """Return a table with a column of texts and others of numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _by_class(counts: NDArray[np.int64], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class; 0 where there are no rows, as in metrics."""
    right, said, true = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    return [
        {
            "class": name,
            "precision": _ratio(right[i], said[i]),
            "recall": _ratio(right[i], true[i]),
            "f1": _ratio(2 * right[i], said[i] + true[i]),
            "rows": int(true[i]),
        }
        for i, name in enumerate(names)
    ]


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def _plain(values: dict[str, Any]) -> dict[str, float | None]:
    """Return plain numbers; None for undefined ones, as JSON has no NaN."""
    numbers = {name: float(value) for name, value in values.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
