"""What a report shows: everything that is measured, before it is put on a page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows
from nnbackend.analysis.baselines import score_baselines, score_baselines_by_fold
from nnbackend.analysis.calibration import calibration_curve, top_label
from nnbackend.analysis.curves import precision_recall_curve, roc_curve
from nnbackend.analysis.dependence import has_dependence, partial_dependence
from nnbackend.analysis.importance import Importance, permutation_importance
from nnbackend.analysis.metric_report import build_report
from nnbackend.analysis.residuals import Residuals, summarize_residuals
from nnbackend.analysis.scores import score_rows
from nnbackend.core.text import in_short
from nnbackend.drawing.draw import draw
from nnbackend.report import figures
from nnbackend.report.svg import Picture
from nnbackend.tables.describe import ColumnDescription
from nnbackend.tables.model import Model, TableModel
from nnbackend.tables.table import TableWarning

__all__ = ["Contents", "collect_contents"]

_MOST_CURVES = 6  # columns whose partial dependence is shown
_CELLS = 200_000  # rows times columns on which importance is measured
_CURVES = ("loss", "accuracy")

T = TypeVar("T")


@dataclass
class Contents:
    """What a report shows. A part that is None or empty is not there; ``left_out`` may say why.

    Attributes:
        target: the name of the target.
        rows: the rows that are reported on, in words.
        facts: names and values for the beginning.
        notes: what was said about the data.
        columns: what is done to each column.
        scores: those of the network and of baselines, by name.
        metrics: all metrics by name, those of each class, and the confusion matrix.
        residuals: how far predicted numbers are off.
        importance: of the columns.
        history, quality, calibration, dependence: figures, as SVG.
        importance_figure, drawing: likewise.
        summary: of the network, as text.
        rows_trained: whether the rows trained some of the networks, so that the importance of columns is
            that for rows that are known.
        left_out: what is not shown, and why.
    """

    target: str
    rows: str
    facts: dict[str, str]
    notes: list[str]
    columns: list[ColumnDescription]
    summary: str
    metrics: dict[str, Any]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    residuals: Residuals | None = None
    importance: Importance | None = None
    importance_figure: Picture | None = None
    history: list[Picture] = field(default_factory=list)
    quality: list[Picture] = field(default_factory=list)
    calibration: Picture | None = None
    dependence: list[Picture] = field(default_factory=list)
    drawing: Picture | None = None
    rows_trained: bool = False
    left_out: list[str] = field(default_factory=list)

    def attempt(self, what: str, measure: Callable[[], T]) -> T | None:
        """Return what is measured; if it cannot be, note why."""
        try:
            return measure()
        except ValueError as error:
            self.left_out.append(f"{what}: {error}")
            return None


def collect_contents(
    model: Model,
    x: Any,
    y: NDArray[Any],
    *,
    rows: str,
    outputs: NDArray[Any] | None = None,
    holdout: TableRows | None = None,
    training: TableRows | None = None,
    divisions: Sequence[tuple[NDArray[Any], NDArray[Any]]] = (),
    histories: Sequence[Mapping[str, Sequence[float]]] = (),
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Contents:
    """Return what a report on a model shows; see :func:`nnbackend.report.write_report`."""
    contents = Contents(
        target=model.encoder.target.name,
        rows=rows,
        facts=dict(facts or {}),
        notes=list(notes),
        columns=model.encoder.describe(),
        summary=model.network.summary(),
        metrics=build_report(model, x, y, outputs),
        rows_trained=outputs is not None,
    )
    outputs = model.outputs(x) if outputs is None else outputs
    for name in _CURVES:
        if any(name in history for history in histories):
            contents.history.append(figures.draw_history(histories, name))
    _add_quality(contents, model, outputs, y)
    if isinstance(model, TableModel):
        contents.scores = {"this network": score_rows(model, outputs, y)}
    if isinstance(model, TableModel) and holdout is not None:
        _add_baselines(contents, model, holdout, training, divisions, seed)
        _add_columns(contents, model, holdout, seed)
    contents.drawing = contents.attempt("The network drawn", lambda: _draw_network(model))
    return contents


def _add_quality(contents: Contents, model: Model, outputs: NDArray[Any], y: NDArray[Any]) -> None:
    """Add what answers look like beside the truth."""
    target = model.encoder.target
    if not model.classes:
        predicted, true = model.answers(outputs), target.decode(y)
        contents.residuals = contents.attempt(
            "Residuals", lambda: summarize_residuals(predicted, true)
        )
        if contents.residuals is not None:
            contents.quality.append(figures.draw_predictions(predicted, true, target.name))
        return
    binary = len(model.classes) == 2
    try:
        model.check_probabilities()
    except ValueError as error:
        contents.left_out.append(f"Calibration and curves: {error}")
        return
    p = model.probabilities(outputs)
    if binary:
        event = f"the class is {in_short(model.classes[1])}"
        probability, happened = np.clip(p[:, 1], 0.0, 1.0), y == 1
        roc = contents.attempt("ROC curve", lambda: roc_curve(probability, happened))
        if roc is not None:
            contents.quality.append(figures.draw_roc(roc, probability, happened))
        curve = contents.attempt(
            "Precision and recall", lambda: precision_recall_curve(probability, happened)
        )
        if curve is not None:
            contents.quality.append(figures.draw_precision_recall(curve))
    else:
        event = "the predicted class is the true one"
        probability, happened = top_label(p, y)
    calibration = calibration_curve(probability, happened)
    contents.calibration = figures.draw_calibration(calibration, probability, happened, event)
    contents.metrics["metrics"]["expected_calibration_error"] = calibration.error


def _add_baselines(
    contents: Contents,
    model: TableModel,
    holdout: TableRows,
    training: TableRows | None,
    divisions: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    seed: int,
) -> None:
    """Add the scores of baselines that learn from the training rows."""
    if training is None:
        reason = "they learn from the training rows, which are not at hand here; the report of the "
        reason += "training has them"
        contents.left_out.append(f"Baselines: {reason}")
        return
    # What is left out of them is said on the page.
    with _noting(contents.left_out):
        if divisions:
            found = score_baselines_by_fold(model.encoder, training, divisions, seed=seed)
        else:
            found = score_baselines(model.encoder, training, holdout, seed=seed)
        contents.scores |= found


def _add_columns(contents: Contents, model: TableModel, holdout: TableRows, seed: int) -> None:
    """Add the importance of columns, and the partial dependence on the most important."""
    width = len(model.encoder.feature_kinds)
    most = min(10_000, max(500, _CELLS // width))
    found = contents.attempt(
        "Importance of columns",
        lambda: permutation_importance(model, holdout, max_rows=most, seed=seed),
    )
    if found is None:
        return
    contents.importance = found
    contents.importance_figure = figures.draw_importance(found)
    names = [c.column for c in found.columns if has_dependence(model, c.column)]
    for place, name in enumerate(names[:_MOST_CURVES]):
        curve = contents.attempt(
            f"Partial dependence on {name}",
            lambda name=name: partial_dependence(model, holdout, name, seed=seed),  # type: ignore[misc]
        )
        if curve is not None:
            contents.dependence.append(figures.draw_dependence(curve, place))


def _draw_network(model: Model) -> Picture:
    """Return the network drawn."""
    drawing = draw(model.network)
    return Picture(drawing.svg, drawing.title)


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Put the warnings about tables into a list."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TableWarning)
        yield
    texts = [str(w.message) for w in caught if issubclass(w.category, TableWarning)]
    notes.extend(text[0].upper() + text[1:] for text in texts)
