"""The figures of a report, each as SVG with a title and a description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend import plots
from nnbackend.analysis.calibration import Calibration
from nnbackend.analysis.curves import PrecisionRecallCurve, ROCCurve
from nnbackend.analysis.dependence import PartialDependence
from nnbackend.analysis.importance import Importance
from nnbackend.analysis.scores import LARGER_IS_BETTER
from nnbackend.core.random import permutation
from nnbackend.core.text import in_short, metric_name, number
from nnbackend.errors import counted
from nnbackend.report.svg import COLORS, INK, Picture, figure, svg_of

__all__ = [
    "draw_calibration",
    "draw_dependence",
    "draw_history",
    "draw_importance",
    "draw_precision_recall",
    "draw_predictions",
    "draw_roc",
]

_MOST_POINTS = 1000
_MOST_BARS = 15
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)))


def draw_history(histories: Sequence[Mapping[str, Sequence[float]]], metric: str) -> Picture:
    """Return the curves of a metric on the training rows and on those held out, of each network."""
    with figure() as (made, axes):
        plots.curves(histories, metric, axes)
        ends = []
        for column, rows in ((metric, "training"), (f"validation_{metric}", "validation")):
            found = [history[column] for history in histories if column in history]
            if found:
                first, last = (np.mean([values[end] for values in found]) for end in (0, -1))
                ends.append(f"on {rows} rows from {number(float(first))} to {number(float(last))}")
        of_each = "" if len(histories) == 1 else f" of {len(histories)} networks, on average"
        epochs = counted(max(len(history["epoch"]) for history in histories), "epoch")
        return svg_of(made, f"history-{metric}", f"Learning curves: {metric} by epoch",
                      f"{metric}{of_each} after {epochs}: {'; '.join(ends)}.")  # fmt: skip


def draw_predictions(predicted: NDArray[Any], true: NDArray[Any], target: str) -> Picture:
    """Return the predicted numbers beside the true ones, of at most 1000 rows."""
    shown = permutation(0, len(true), "figure")[:_MOST_POINTS]
    with figure(4.2) as (made, axes):
        plots.predictions(true[shown], predicted[shown], axes)
        axes.set(xlabel=f"predicted {in_short(target)}", ylabel=f"true {in_short(target)}")
        return svg_of(made, "predictions", "True numbers by predicted ones",
                      f"A point for each of {counted(len(shown), 'row')}; those on the dotted line are "
                      "predicted exactly.")  # fmt: skip


def draw_calibration(
    found: Calibration, probability: NDArray[Any], happened: NDArray[Any], event: str
) -> Picture:
    """Return what happened beside what was predicted, and the calibration found in words."""
    with figure(4.2) as (made, axes):
        plots.calibration(happened, probability, ax=axes).set_title("")  # it is in the text
        return svg_of(made, "calibration", "Calibration curve",
                      f"How often {event}, by predicted probability, in {len(found.counts)} bins; "
                      "on the dotted line probabilities are as often right as they say. Expected "
                      f"calibration error {number(found.error)}.")  # fmt: skip


def draw_roc(found: ROCCurve, probability: NDArray[Any], happened: NDArray[Any]) -> Picture:
    """Return the ROC curve, and the area found in words."""
    with figure(4.2) as (made, axes):
        plots.roc(happened, probability, ax=axes)
        return svg_of(made, "roc", "ROC curve",
                      f"True by false positive rate over all thresholds; the area under the curve is "
                      f"{number(found.area)}, and .5 on the dotted line of chance.")  # fmt: skip


def draw_precision_recall(found: PrecisionRecallCurve) -> Picture:
    """Return precision by recall."""
    with figure(4.2) as (made, axes):
        axes.plot(found.recall, found.precision, color=COLORS[0], drawstyle="steps-pre")
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        return svg_of(made, "precision-recall", "Precision by recall",
                      "Precision by recall over all thresholds; the average precision is "
                      f"{number(found.average)}.")  # fmt: skip


def draw_importance(found: Importance) -> Picture:
    """Return a bar for each of the most important columns, with its spread."""
    columns = found.columns[:_MOST_BARS]
    with figure(0.9 + 0.32 * len(columns)) as (made, axes):
        places = np.arange(len(columns))[::-1]
        axes.barh(places, [c.mean for c in columns], xerr=[c.std for c in columns],
                  color=COLORS[0], ecolor=INK, capsize=3)  # fmt: skip
        axes.set_yticks(places, [in_short(c.column) for c in columns])
        axes.grid(False, axis="y")
        axes.set(xlabel=_worsening(found.score))
        most = ", ".join(f"{in_short(c.column)} {number(c.mean)}" for c in columns[:3])
        return svg_of(made, "importance", "Importance of columns",
                      f"The {_worsening(found.score)} when a column is shuffled, with its standard "
                      f"deviation. The most important: {most}.")  # fmt: skip


def draw_dependence(found: PartialDependence, place: int) -> Picture:
    """Return the mean answer by the values of a column; ``place`` counts the figures."""
    answers = _answers_to_draw(found)
    if found.kind == "category":
        return _draw_categories(found, answers, place)
    with figure(3.1 if len(answers) == 1 else 3.6) as (made, axes):
        numbers = found.kind == "number"
        x = np.array(found.values, float) if numbers else np.arange(len(found.values))
        if len(answers) == 1:
            axes.fill_between(x, found.low[:, answers[0]], found.high[:, answers[0]],
                              color=COLORS[0], alpha=0.2, linewidth=0)  # fmt: skip
        for i, answer in enumerate(answers):
            label, marker = in_short(found.answers[answer]), "o" if len(x) == 1 else ""
            axes.plot(x, found.mean[:, answer], linestyle=_STYLES[i], color=COLORS[i],
                      marker=marker, label=label)  # fmt: skip
        if not numbers:
            ticks = sorted({0, (len(x) - 1) // 2, len(x) - 1})
            axes.set_xticks(ticks, [in_short(found.values[i], 16) for i in ticks])
        if len(answers) > 1:
            made.legend(loc="outside lower center", ncols=2)
        axes.set(xlabel=in_short(found.column), ylabel=_answer_label(found, answers))
        return _described(made, found, answers, place)


def _draw_categories(found: PartialDependence, answers: list[int], place: int) -> Picture:
    """Return a point for each category and answer; of many the first."""
    count = min(len(found.values), _MOST_BARS)
    with figure(1.1 + 0.34 * count) as (made, axes):
        places = np.arange(count)[::-1]
        for i, answer in enumerate(answers):
            mean = found.mean[:count, answer]
            spread = None
            if len(answers) == 1:
                # A mean may lie outside of its quantiles.
                spread = np.maximum([mean - found.low[:count, answer],
                                     found.high[:count, answer] - mean], 0.0)  # fmt: skip
            axes.errorbar(mean, places, xerr=spread, fmt="osD^v"[i], color=COLORS[i], capsize=3,
                          label=in_short(found.answers[answer]))  # fmt: skip
        axes.set_yticks(places, [in_short(value) for value in found.values[:count]])
        axes.margins(y=0.1)
        if len(answers) > 1:
            made.legend(loc="outside lower center", ncols=2)
        axes.set(ylabel=in_short(found.column), xlabel=_answer_label(found, answers))
        return _described(made, found, answers, place)


def _described(made: Any, found: PartialDependence, answers: list[int], place: int) -> Picture:
    ranges = "; ".join(
        f"{in_short(found.answers[a])} from {number(float(found.mean[:, a].min()))} to "
        f"{number(float(found.mean[:, a].max()))}"
        for a in answers
    )
    return svg_of(made, f"dependence-{place}", f"Partial dependence on {in_short(found.column)}",
                  f"The mean answer of {counted(found.rows, 'row')} for "
                  f"{counted(len(found.values), 'value')} of the column: {ranges}.")  # fmt: skip


def _answers_to_draw(found: PartialDependence) -> list[int]:
    """Return the answers to draw: of two classes the second, of many those that change most."""
    if len(found.answers) <= 2:
        return [len(found.answers) - 1]
    change = np.ptp(found.mean, axis=0)
    return sorted(np.argsort(-change, kind="stable")[: len(COLORS)].tolist())


def _answer_label(found: PartialDependence, answers: list[int]) -> str:
    if len(found.answers) == 1:
        return in_short(found.answers[0])
    return f"p({in_short(found.answers[answers[0]], 18)})" if len(answers) == 1 else "probability"


def _worsening(score: str) -> str:
    change = "decrease" if LARGER_IS_BETTER[score] else "increase"
    return f"{change} of the {metric_name(score)}"
