"""Metrics of the predicted classes, from counts of rows."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.checks import check_number, check_size
from nnbackend.core.types import Array
from nnbackend.errors import unknown_name
from nnbackend.metrics.base import METRICS, ratio
from nnbackend.metrics.outputs import ClassMetric, ClassOutputs, read_rows

__all__ = [
    "F1",
    "Accuracy",
    "BalancedAccuracy",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "confusion_matrix",
]

AVERAGES = ("binary", "macro", "micro", "weighted")


@METRICS.register("accuracy")
@dataclass(frozen=True)
class Accuracy(ClassMetric):
    """The fraction of samples whose predicted class is the true one.

    For independent binary outputs it is the fraction of right outputs.

    Args:
        threshold: an output above it is positive, and each output is then a separate binary answer;
            None: the threshold that ``outputs`` implies.
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.
    """

    threshold: float | None = None

    def value(self, answers: ClassOutputs) -> Any:
        """Return the fraction."""
        if answers.exclusive:
            predicted, true = answers.labels()
            return answers.fraction((predicted == true)[:, None])
        said, actual = answers.indicators(every_class=False)
        return answers.fraction(said == actual)


@METRICS.register("balanced_accuracy")
@dataclass(frozen=True)
class BalancedAccuracy(ClassMetric):
    """The recall of each class, averaged over the classes that occur in the target.

    ``mean(rows of the class predicted as it / rows of the class)``: every class counts the same, however
    rare. NaN if no row has weight.

    Args:
        threshold: an output above it is positive; None: the threshold that ``outputs`` implies.
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.

    Raises:
        ValueError: there are several independent outputs.

    Source: Brodersen et al. (2010), ICPR.
    """

    threshold: float | None = None

    def value(self, answers: ClassOutputs) -> Array:
        """Return the mean recall."""
        _check_single_answer(answers, "balanced accuracy")
        predicted, actual = answers.indicators()
        rows = answers.count(actual)
        return _mean_of(ratio(answers.count(predicted & actual), rows), rows > 0)


@METRICS.register("top_k_accuracy")
@dataclass(frozen=True)
class TopKAccuracy(ClassMetric):
    """The fraction of samples whose true class is among the ``k`` largest outputs.

    In a tie the class of the higher number comes first, as in scikit-learn.

    Args:
        k: the number of largest outputs that count; default 5.
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.

    Raises:
        ValueError: there are not more than ``k`` classes, so that every answer would be right.
    """

    k: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "k", check_size("k", self.k))

    def check(self, width: int) -> None:
        """Refuse a ``k`` that makes every answer right."""
        if width <= self.k:
            raise ValueError(
                f"top-{self.k} accuracy needs more than {self.k} classes, and there "
                f"{'is 1 output' if width == 1 else f'are {width} outputs'}; "
                "choose a smaller one, TopKAccuracy(k)"
            )

    def value(self, answers: ClassOutputs) -> Any:
        """Return the fraction, from the rank of the true class."""
        if not answers.exclusive:
            raise ValueError("top-k accuracy is for one of several classes in each row")
        xp, scores = answers.xp, answers.scores
        _, true = answers.indicators()
        own = xp.max(xp.where(true, scores, -xp.inf), axis=-1, keepdims=True)
        # The columns above a row's label are those where a cumulative sum of one-hot is past the one.
        above = (xp.cumulative_sum(xp.astype(true, xp.int32), axis=-1) > 0) & ~true
        before = (scores > own) | ((scores == own) & above)
        rank = xp.sum(xp.astype(before, xp.int32), axis=-1, keepdims=True)
        return answers.fraction(rank < self.k)


@dataclass(frozen=True)
class _PerClassMetric(ClassMetric):
    """The base of precision, recall and F1: an average over classes.

    Args:
        average: see :class:`Precision`.
        threshold: see :class:`Precision`.
    """

    average: str | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        known = isinstance(self.average, str) and self.average in AVERAGES
        if self.average is not None and not known:
            raise unknown_name("average", self.average, AVERAGES)

    def value(self, answers: ClassOutputs) -> Array:
        """Return the average."""
        average = self.average or ("binary" if answers.is_binary else "macro")
        if average == "binary" and not answers.is_binary:
            raise ValueError(
                f"average='binary' is for one output or two classes, not for {answers.width}; "
                f"choose from {', '.join(AVERAGES[1:])}"
            )
        xp = answers.xp
        said, actual = answers.indicators(every_class=average != "binary")
        counts = [answers.count(which) for which in (said & actual, said, actual)]
        if average in ("micro", "binary"):
            return ratio(*self._fraction(*map(xp.sum, counts)))
        values = ratio(*self._fraction(*counts))
        _, predicted, true = counts
        if average == "weighted":
            return ratio(xp.sum(values * true), xp.sum(true))
        independent = not answers.exclusive and answers.width > 1
        return _mean_of(values, (predicted >= 0) if independent else (predicted + true > 0))

    @abstractmethod
    def _fraction(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Return part and whole of the metric, for each class.

        Args:
            right: rows predicted as the class that are of it.
            predicted: rows predicted as the class.
            true: rows of the class.
        """


@METRICS.register("precision")
@dataclass(frozen=True)
class Precision(_PerClassMetric):
    """The fraction of the rows predicted as a class that are of it; 0 if there are none.

    Args:
        average: how classes are averaged. ``"binary"``: the positive class (the second of two) alone.
            ``"macro"``: the mean over the classes that occur in target or prediction, or over all
            independent outputs. ``"micro"``: all answers together. ``"weighted"``: the mean, each class
            weighted by its rows. None: binary for one output or two classes, else macro.
        threshold: an output above it is positive; None: the threshold that ``outputs`` implies.
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.

    Raises:
        ValueError: ``average="binary"`` for more than two classes.
    """

    def _fraction(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return right, predicted


@METRICS.register("recall")
@dataclass(frozen=True)
class Recall(_PerClassMetric):
    """The fraction of the rows of a class that are predicted as it; 0 if there are none.

    Arguments and errors as for :class:`Precision`.
    """

    def _fraction(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return right, true


@METRICS.register("f1")
@dataclass(frozen=True)
class F1(_PerClassMetric):
    """The harmonic mean of precision and recall, ``2 right / (predicted + true)``; 0 if there are none.

    Arguments and errors as for :class:`Precision`.
    """

    def _fraction(self, right: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        return 2 * right, predicted + true


def confusion_matrix(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    *,
    outputs: str | None = None,
    threshold: float | None = None,
) -> Array:
    """Return the confusion matrix: entry (i, j) counts the rows of class i predicted as class j.

    Args:
        prediction: outputs of shape (rows, classes), or (rows,) or (rows, 1) for binary answers.
        target: class numbers, one-hot rows, or binary targets of 1 and 0.
        sample_weight: how much each row counts.
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`.
        threshold: an output above it is positive; None: the threshold that ``outputs`` implies.

    Returns:
        an array of shape (classes, classes), with the negative class first for a single output. Counts
        are integers and exact; with weights they are sums of weights.

    Raises:
        ValueError: there are several independent outputs, shapes differ, or an output is NaN.
    """
    if threshold is not None:
        threshold = check_number("threshold", threshold)
    answers = read_rows(prediction, target, sample_weight, outputs, threshold)
    _check_single_answer(answers, "a confusion matrix")
    xp = answers.xp
    if bool(xp.any(xp.isnan(answers.scores))):
        raise ValueError("prediction holds NaN, which is no class")
    predicted, actual = answers.indicators()
    counts = xp.matrix_transpose(answers.weighted(actual)) @ xp.astype(predicted, xp.float64)
    return counts if answers.weight is not None else xp.astype(counts, xp.int64)


def _check_single_answer(answers: ClassOutputs, what: str) -> None:
    if not answers.exclusive and answers.width > 1:
        raise ValueError(
            f"{what} is for one answer in each row, not for {answers.width} independent outputs; "
            "take one output at a time"
        )


def _mean_of(values: Array, which: Array) -> Any:
    """Return the mean of the chosen values; NaN if none is chosen."""
    xp = namespace(values)
    chosen = xp.astype(which, values.dtype)
    count = float(xp.sum(chosen))
    return xp.sum(values * chosen) / count if count else float("nan")
