"""Metrics of scores and probabilities, which know more than the predicted class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core import functional
from nnbackend.core.types import Array, Namespace
from nnbackend.metrics.base import METRICS, mean, ratio
from nnbackend.metrics.outputs import ClassMetric, ClassOutputs

__all__ = ["ROCAUC", "AveragePrecision", "LogLoss"]


@METRICS.register("roc_auc")
@dataclass(frozen=True)
class ROCAUC(ClassMetric):
    """The area under the ROC curve.

    It is the probability that a positive row has a higher score than a negative one, ties counting half.
    Where a network's loss contains the sigmoid or softmax, rows are ranked by the logarithm of the odds,
    which differ where probabilities are rounded to 1.

    For several classes it is the mean of the areas of each class against the rest; for several
    independent outputs, the mean over them. NaN where a class has no positive or no negative row.

    Args:
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.

    Source: Hanley, McNeil (1982), Radiology 143; for several classes Provost, Domingos (2000).
    """

    exact_on_logits: ClassVar[bool] = True

    def value(self, answers: ClassOutputs) -> Array:
        """Return the area, or the mean of the areas."""
        return _mean_over_classes(_area, answers)


@METRICS.register("average_precision")
@dataclass(frozen=True)
class AveragePrecision(ClassMetric):
    """The precision at each threshold, averaged over the gains in recall: ``sum((R_n - R_n-1) P_n)``.

    Thresholds are the distinct scores, from the highest down, ranked as for
    :class:`ROCAUC`. For several classes it is the mean of each class against the rest; for several
    independent outputs, the mean over them. 0 where a class has no positive row.

    Args:
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.
    """

    exact_on_logits: ClassVar[bool] = True

    def value(self, answers: ClassOutputs) -> Array:
        """Return the average precision, or the mean over classes."""
        return _mean_over_classes(_average_precision, answers)


@METRICS.register("log_loss")
@dataclass(frozen=True)
class LogLoss(ClassMetric):
    """The cross-entropy of the probabilities: ``-mean(log(p of the true class))``.

    From probabilities, these are kept between ``eps`` and ``1 - eps`` of their dtype, as in
    scikit-learn; from logits, which ``fit`` and ``evaluate`` have, or logarithms, it is exact. For
    independent outputs it is the mean over them. It is without label smoothing and
    class weights, whatever the loss has.

    Args:
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.

    Raises:
        ValueError: the outputs are no probabilities and no logits.
    """

    larger_is_better: ClassVar[bool] = False
    exact_on_logits: ClassVar[bool] = True

    def check(self, width: int) -> None:
        """Refuse margins and scores."""
        if self.outputs in ("margins", "scores"):
            raise ValueError(
                "log_loss needs probabilities or logits, which a hinge loss does not give"
            )

    def value(self, answers: ClassOutputs) -> Any:
        """Return the mean over rows and independent outputs."""
        xp, scores, target = answers.xp, answers.scores, answers.target
        if answers.outputs in ("sigmoid", "softmax"):
            _check_probabilities(answers)
            scores = xp.clip(scores, answers.epsilon, 1.0 - answers.epsilon)
        if not answers.exclusive:
            target = xp.astype(xp.maximum(target, 0.0), scores.dtype)
            if answers.outputs == "sigmoid":
                each = -target * xp.log(scores) - (1.0 - target) * xp.log1p(-scores)
            elif answers.outputs == "sigmoid_logs":
                scores = xp.minimum(scores, -float(xp.finfo(scores.dtype).smallest_normal))
                each = -target * scores - (1.0 - target) * xp.log(-xp.expm1(scores))
            else:
                each = functional.softplus(scores, xp) - target * scores
        else:
            logs = (
                functional.log_softmax(scores, xp)
                if answers.outputs == "softmax_logits"
                else xp.log(scores)
            )
            if len(target.shape) == 1:
                target = functional.one_hot(target, answers.width, scores.dtype, xp)
            each = -xp.vecdot(xp.astype(target, scores.dtype), logs)[:, None]
        return mean(each, answers.weight)


def _mean_over_classes(metric: Callable[..., Array], answers: ClassOutputs) -> Array:
    """Return the mean of a metric over classes, or its value for a binary answer."""
    xp, scores = answers.xp, _comparable(answers)
    _, actual = answers.indicators(every_class=False)
    weight = answers.weighted(xp.ones_like(actual[:, :1]))[:, 0]
    positive = answers.weighted(actual)
    values = [metric(scores[:, i], positive[:, i], weight, xp) for i in range(scores.shape[1])]
    return xp.mean(xp.stack(values))


def _comparable(answers: ClassOutputs) -> Array:
    """Return scores of each class (of two: the second) that can be compared between rows."""
    scores, xp = answers.scores, answers.xp
    if answers.outputs == "softmax_logits":
        scores = _log_odds(scores, xp)
    elif answers.outputs == "softmax" and _worst_sum(answers) <= answers.epsilon**0.5:
        scores = _told_apart(scores, answers.epsilon**0.5, xp)
    elif answers.exclusive and answers.is_binary and answers.outputs == "scores":
        return scores[:, 1:] - scores[:, :1]
    return scores[:, 1:] if answers.exclusive and answers.is_binary else scores


def _log_odds(z: Array, xp: Namespace) -> Array:
    """Return ``log(p / (1 - p))`` for ``p = softmax(z)``, which tells rows apart where p is 1.

    Equal odds come out as equal bits: all are computed from differences, and added up in one order.
    """
    first = functional.one_hot(xp.argmax(z, axis=-1), z.shape[-1], xp.bool, xp)
    lowest = float(xp.finfo(z.dtype).min)  # in place of minus infinity, which has no differences
    without = xp.where(first, lowest, xp.maximum(z, lowest))
    second = xp.max(without, axis=-1, keepdims=True)
    behind = xp.log(_sum_sorted(xp.exp(without - second), xp))
    largest = xp.max(z, axis=-1, keepdims=True)
    e = xp.exp(z - largest)
    rest = _sum_sorted(xp.where(first, 0.0, e), xp)
    others = xp.where(first, 1.0, 1.0 + (rest - e))
    return xp.where(first, z - second - behind, z - largest - xp.log(others))


def _sum_sorted(values: Array, xp: Namespace) -> Array:
    """Return the sum of each row, the same to the last bit in whatever order its numbers are."""
    return xp.sum(xp.sort(values, axis=-1), axis=-1, keepdims=True)


def _told_apart(p: Array, few: float, xp: Namespace) -> Array:
    """Return probabilities, in their order, where those within ``few`` of 1 are ordered by the others.

    Rounded to the same 1, they differ in what they leave for the other classes.
    """
    first = functional.one_hot(xp.argmax(p, axis=-1), p.shape[-1], xp.bool, xp)
    rest = _sum_sorted(xp.where(first, 0.0, p), xp)
    smallest = float(xp.finfo(p.dtype).smallest_normal)
    return xp.where(first & (1.0 - p < few), -xp.log(xp.maximum(rest, smallest)), p)


def _area(score: Array, positive: Array, weight: Array, xp: Namespace) -> Array:
    """Return the area of one class; ``positive`` holds the weights of its rows, and 0 elsewhere."""
    order = xp.argsort(score)
    score, positive, weight = (xp.take(a, order, axis=0) for a in (score, positive, weight))
    below = _running(weight - positive, xp)
    lower = xp.take(below, xp.searchsorted(score, score, side="left"), axis=0)
    upper = xp.take(below, xp.searchsorted(score, score, side="right"), axis=0)
    area = ratio(ratio(xp.sum(positive * (lower + upper)), xp.sum(positive)), 2.0 * below[-1])
    return xp.where((xp.sum(positive) > 0) & (below[-1] > 0), area, xp.nan)


def _average_precision(score: Array, positive: Array, weight: Array, xp: Namespace) -> Array:
    """Return the average precision of one class."""
    order = xp.argsort(-score)
    descending, positive, weight = (xp.take(a, order, axis=0) for a in (-score, positive, weight))
    # Rows of the same score are at the same threshold: all of them are predicted positive.
    last = xp.searchsorted(descending, descending, side="right")
    right, predicted = (xp.take(_running(a, xp), last, axis=0) for a in (positive, weight))
    return ratio(xp.sum(positive * ratio(right, predicted)), xp.sum(positive))


def _running(values: Array, xp: Namespace) -> Array:
    """Return the sums of the first 0, 1, 2 ... values."""
    return xp.cumulative_sum(values, include_initial=True)


def _check_probabilities(answers: ClassOutputs) -> None:
    """Raise a ValueError for outputs that cannot be probabilities."""
    xp, scores = answers.xp, answers.scores
    least, most = float(xp.min(scores)), float(xp.max(scores))
    if least < 0.0 or most > 1.0:
        raise ValueError(
            f"log_loss needs probabilities, and outputs go from {least:g} to {most:g}; for logits say "
            "LogLoss(outputs='softmax_logits') or 'sigmoid_logits'"
        )
    worst = _worst_sum(answers) if answers.exclusive else 0.0
    if worst > answers.epsilon**0.5:
        raise ValueError(
            f"log_loss needs rows of probabilities that sum to 1 (one is off by {worst:g}); for "
            "independent outputs say LogLoss(outputs='sigmoid')"
        )


def _worst_sum(answers: ClassOutputs) -> float:
    """Return how far rows are from probabilities, which sum to 1; infinity for negative numbers."""
    xp, scores = answers.xp, answers.scores
    if bool(xp.any(scores < 0.0)):
        return math.inf
    return float(xp.max(xp.abs(xp.sum(scores, axis=-1) - 1.0)))
