"""Metrics of the predicted classes, from counts of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core import functional
from nnbackend.core.checks import check_number, check_size
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import unknown_name
from nnbackend.metrics.base import METRICS
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
EXACT_FLOAT32_COUNT = 1 << 24  # float32 counts exactly up to here


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
        """Return the fraction; without weights from exact counts, in any dtype."""
        if answers.exclusive:
            right = (answers.predicted_labels() == answers.labels())[:, None]
        else:
            predicted, actual = answers.indicators(every_class=False)
            right = predicted == actual
        found = answers.count(right, None)
        rows, columns = right.shape
        if answers.weight is None:
            return int(found) / (rows * columns)
        return found / (answers.xp.sum(answers.weight) * columns)


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
        xp = answers.xp
        predicted, actual = answers.indicators()
        rows = answers.count(actual)
        recall = _ratio(answers.count(predicted & actual), rows, answers)
        return _mean_of(recall, rows > 0, xp)


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
        xp, scores, labels = answers.xp, answers.scores, answers.labels()
        true = functional.one_hot(labels, answers.width, xp.bool, xp)
        own = xp.max(xp.where(true, scores, -xp.inf), axis=-1, keepdims=True)
        # The columns above a row's label are those where a cumulative sum of one-hot is past the one.
        above = (xp.cumulative_sum(xp.astype(true, xp.int32), axis=-1) > 0) & ~true
        before = (scores > own) | ((scores == own) & above)
        rank = xp.sum(xp.astype(before, xp.int32), axis=-1, dtype=xp.int32)
        found = answers.count(rank < self.k, None)
        if answers.weight is None:
            return int(found) / rank.shape[0]
        return found / xp.sum(answers.weight)


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
        if self.average is not None and self.average not in AVERAGES:
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
        right, predicted, true = map(answers.count, (said & actual, said, actual))
        if average in ("micro", "binary"):
            return self.per_class(xp.sum(right), xp.sum(predicted), xp.sum(true), answers)
        values = self.per_class(right, predicted, true, answers)
        if average == "weighted":
            weight = xp.astype(true, values.dtype)
            return _ratio(xp.sum(values * weight), xp.sum(weight), answers)
        independent = not answers.exclusive and answers.width > 1
        present = (predicted >= 0) if independent else (predicted + true > 0)
        return _mean_of(values, present, xp)

    def per_class(
        self, right: Array, predicted: Array, true: Array, answers: ClassOutputs
    ) -> Array:
        """Return the metric of each class, from three counts of rows by class.

        Args:
            right: rows predicted as the class that are of it.
            predicted: rows predicted as the class.
            true: rows of the class.
            answers: the outputs and targets.
        """
        raise NotImplementedError


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

    def per_class(
        self, right: Array, predicted: Array, true: Array, answers: ClassOutputs
    ) -> Array:
        return _ratio(right, predicted, answers)


@METRICS.register("recall")
@dataclass(frozen=True)
class Recall(_PerClassMetric):
    """The fraction of the rows of a class that are predicted as it; 0 if there are none.

    Arguments and errors as for :class:`Precision`.
    """

    def per_class(
        self, right: Array, predicted: Array, true: Array, answers: ClassOutputs
    ) -> Array:
        return _ratio(right, true, answers)


@METRICS.register("f1")
@dataclass(frozen=True)
class F1(_PerClassMetric):
    """The harmonic mean of precision and recall, ``2 right / (predicted + true)``; 0 if there are none.

    Arguments and errors as for :class:`Precision`.
    """

    def per_class(
        self, right: Array, predicted: Array, true: Array, answers: ClassOutputs
    ) -> Array:
        return _ratio(2 * right, predicted + true, answers)


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
    if bool(xp.any(xp.isnan(prediction))):
        raise ValueError("prediction holds NaN, which is no class")
    predicted, actual = answers.indicators()
    dtype = answers.scores.dtype
    if answers.weight is not None:
        weighted = xp.astype(actual, dtype) * answers.weight[:, None]
        return xp.matrix_transpose(weighted) @ xp.astype(predicted, dtype)
    # As products of zeros and ones, in pieces so short that even float32 counts exactly.
    pieces = [
        slice(a, min(a + EXACT_FLOAT32_COUNT, actual.shape[0]))
        for a in range(0, actual.shape[0], EXACT_FLOAT32_COUNT)
    ]
    counts = [
        xp.matrix_transpose(xp.astype(actual[part, :], dtype))
        @ xp.astype(predicted[part, :], dtype)
        for part in pieces
    ]
    return sum(xp.astype(count, xp.int32) for count in counts)


def _check_single_answer(answers: ClassOutputs, what: str) -> None:
    if not answers.exclusive and answers.width > 1:
        raise ValueError(
            f"{what} is for one answer in each row, not for {answers.width} independent outputs; "
            "take one output at a time"
        )


def _ratio(part: Array, whole: Array, answers: ClassOutputs) -> Array:
    """Return ``part / whole`` as floats, and 0 where the whole is 0."""
    xp, dtype = answers.xp, answers.scores.dtype
    part, whole = xp.astype(part, dtype), xp.astype(whole, dtype)
    none = whole == 0.0
    return xp.where(none, 0.0, part / xp.where(none, 1.0, whole))


def _mean_of(values: Array, which: Array, xp: Namespace) -> Any:
    """Return the mean of the chosen values; NaN if none is chosen."""
    chosen = xp.astype(which, values.dtype)
    count = float(xp.sum(chosen))
    return xp.sum(values * chosen) / count if count else float("nan")
