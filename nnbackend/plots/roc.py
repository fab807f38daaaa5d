"""The ROC curve of two classes, or of each class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.curves import roc_curve
from nnbackend.backends.host import to_host
from nnbackend.core.axes import get_axes, line_style
from nnbackend.errors import counted
from nnbackend.plots.arrays import (
    class_numbers,
    escape_text,
    number_column,
    probability_table,
    value_column,
)

__all__ = ["roc"]

_MOST_CLASSES = 20  # lines that can be told apart


def roc(labels: Any, scores: Any, classes: Sequence[Any] | None = None, *, ax: Any = None) -> Any:
    """Draw the receiver operating characteristic: true by false positive rate, over all thresholds.

    The legend has the area under each curve (AUC): 1 for scores that part the classes, 0.5 for chance,
    the dotted line.

    Args:
        labels: the class of each row, shape (rows,): whole numbers, texts or booleans.
        scores: for two classes the score of the second one, larger where it is likelier, shape (rows,)
            or (rows, 1). For any number of classes their probabilities, shape (rows, classes); then
            there is a curve for each class against the rest, of two the second alone.
        classes: the classes, in the order of the columns of ``scores``; where they are texts, labels may
            be numbers, from 0. Default None: those that occur, sorted, or 0, 1, ... for several columns.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes; a class without rows, or with all of them, has no curve, and the legend says so.

    Raises:
        ValueError: shapes do not fit, a value is no class, rows are all of one class, rows of several
            columns do not sum to 1, or there are more than 20 classes.
        ModuleNotFoundError: matplotlib is not installed.
    """
    numbers, columns, known = _scored_classes(labels, scores, classes)
    if len(np.unique(numbers)) < 2:
        raise ValueError("a ROC curve needs rows of two classes or more, and all are of one")
    ax = get_axes(ax)
    ax.plot([0, 1], [0, 1], color=ax.xaxis.label.get_color(), linewidth=1.0, linestyle=":")
    for i, (place, score) in enumerate(columns.items()):
        name = "" if len(columns) == 1 else f"{escape_text(str(known[place]))}: "
        if not (numbers == place).any():
            ax.plot([], [], label=f"{name}no rows", **line_style(i, 0))
            continue
        curve = roc_curve(score, numbers == place)
        false, true = curve.false_positive_rate, curve.true_positive_rate
        ax.plot(false, true, label=f"{name}AUC {curve.area:.3f}", **line_style(i, len(false)))
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    ax.legend(loc="lower right")
    return ax


def _scored_classes(
    labels: Any, scores: Any, classes: Sequence[Any] | None
) -> tuple[NDArray[np.int64], dict[int, NDArray[np.float64]], list[Any]]:
    """Return the class of each row, the scores of each class that gets a curve, and the classes."""
    true = {"labels": value_column("labels", labels)}
    host = to_host(scores)
    if host.ndim == 2 and host.shape[1] > 1:
        table, known = probability_table("scores", host, classes)
        (numbers,), known = class_numbers(true, known)
        columns = {i: table[:, i] for i in range(len(known))}
        if len(known) == 2:
            del columns[0]
    else:
        (numbers,), known = class_numbers(true, classes)
        if len(known) != 2:
            raise ValueError(
                f"one score for each row is for two classes, and there are {len(known)}; several need "
                "scores of shape (rows, classes)"
            )
        columns = {1: number_column("scores", host)}
    if len(numbers) != len(next(iter(columns.values()))):
        raise ValueError(
            f"there are {len(numbers)} labels, and scores for {counted(len(host), 'row')}"
        )
    if len(columns) > _MOST_CLASSES:
        raise ValueError(
            f"{len(columns)} curves cannot be told apart; draw that of one class against the rest: "
            "roc(labels == i, scores[:, i])"
        )
    return numbers, columns, known
