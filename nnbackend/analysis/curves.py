"""The curves of two classes over all thresholds: ROC, and precision and recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PrecisionRecallCurve", "ROCCurve", "precision_recall_curve", "roc_curve"]


@dataclass(frozen=True)
class ROCCurve:
    """The receiver operating characteristic: a point for each threshold, the highest first.

    Attributes:
        false_positive_rate: of the rows that are not positive, the share that is said to be.
        true_positive_rate: of the positive rows, the share that is said to be.
        thresholds: a row is said to be positive if its score is at least so large; the first is
            infinite, where no row is.
        area: under the curve, which is straight between the points.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and recall for each threshold, the highest first.

    Attributes:
        recall: of the positive rows, the share that is said to be.
        precision: of the rows that are said to be positive, the share that is.
        thresholds: as in :class:`ROCCurve`, but without the infinite one, which has no precision.
        average: the average precision, ``sum((recall[i] - recall[i-1]) * precision[i])``.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    average: float


def roc_curve(score: Any, positive: Any) -> ROCCurve:
    """Return the ROC curve of scores; rows of one score are at one threshold.

    Args:
        score: of each row, larger for positive ones, shape (rows,).
        positive: whether the row is positive, shape (rows,).

    Raises:
        ValueError: shapes differ, a score is NaN, or all rows are of one class.
    """
    right, said, thresholds = _counts(score, positive)
    rows = said[-1]
    if right[-1] == rows:
        raise ValueError("a ROC curve needs rows of both classes, and all are positive")
    true = np.r_[0.0, right / right[-1]]
    false = np.r_[0.0, (said - right) / (rows - right[-1])]
    area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
    return ROCCurve(false, true, np.r_[np.inf, thresholds], area)


def precision_recall_curve(score: Any, positive: Any) -> PrecisionRecallCurve:
    """Return precision and recall of scores; arguments and errors as for :func:`roc_curve`."""
    right, said, thresholds = _counts(score, positive)
    recall, precision = right / right[-1], right / said
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return PrecisionRecallCurve(recall, precision, thresholds, average)


def _counts(
    score: Any, positive: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each threshold, how many positive rows and how many rows are at or above it."""
    scores, truth = np.asarray(score, np.float64), np.asarray(positive, np.bool)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise ValueError(
            "a score and a class are needed for each row; got shapes "
            f"{scores.shape} and {truth.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    if not truth.any():
        raise ValueError("a curve needs rows of both classes, and none is positive")
    order = np.argsort(-scores, kind="stable")
    scores, truth = scores[order], truth[order]
    last = np.r_[scores[1:] != scores[:-1], True]
    right = np.cumsum(truth)[last].astype(np.float64)
    return right, (np.flatnonzero(last) + 1).astype(np.float64), scores[last]
