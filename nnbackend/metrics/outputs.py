"""The meaning of a network's outputs to a metric of classes.

========================  ======================================  ==========================
``outputs``               one number is                           the answer is
========================  ======================================  ==========================
``"sigmoid"``             the probability of the positive class   positive above 0.5
``"sigmoid_logits"``      the same, before the sigmoid            positive above 0
``"sigmoid_logs"``        the logarithm of that probability       positive above log(0.5)
``"margins"``             the binary answer of a hinge loss       positive above 0
``"softmax"``             the probability of one of the classes   the class of the largest
``"softmax_logits"``      the same, before the softmax            the class of the largest
``"scores"``              the score of a class, on any scale      the class of the largest
========================  ======================================  ==========================

In the first four each output is a separate binary answer; in the others a row chooses one of several
classes.
None means ``"sigmoid"`` for a single output and ``"softmax"`` for several.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from nnbackend.backends.base import namespace
from nnbackend.backends.widen import scored_arrays
from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace, Shape
from nnbackend.errors import unknown_name
from nnbackend.losses import Loss, trait
from nnbackend.metrics.base import mean

__all__ = ["OUTPUTS", "ClassMetric", "ClassOutputs", "outputs_of", "read_rows"]

OUTPUTS = {
    "sigmoid": 0.5,
    "sigmoid_logits": 0.0,
    "sigmoid_logs": math.log(0.5),
    "margins": 0.0,
    "softmax": None,
    "softmax_logits": None,
    "scores": None,
}
"""Each meaning with the threshold of a positive answer; None where the largest output is the answer."""

Self = TypeVar("Self", bound="ClassMetric")


def outputs_of(loss: Loss, activation: str | None) -> str | None:
    """Return the meaning of the outputs of a network, from its loss and its last activation.

    Args:
        loss: the loss that the network is trained with.
        activation: the name of the output activation, or None.

    Returns:
        one of :data:`nnbackend.metrics.OUTPUTS`; None for a loss that is not made for classes, if
        the activation does not tell either.
    """
    absorbed: str | None = trait(loss, "absorbs")
    if absorbed in ("sigmoid", "softmax"):
        return absorbed if activation == absorbed else f"{absorbed}_logits"
    said: str | None = trait(loss, "outputs")
    return said or {"log_softmax": "softmax_logits", "logsigmoid": "sigmoid_logs"}.get(
        str(activation)
    )


def check_outputs(outputs: Any) -> None:
    """Raise an UnknownNameError if this is no meaning of outputs."""
    if not isinstance(outputs, str) or outputs not in OUTPUTS:
        raise unknown_name("meaning of outputs", outputs, OUTPUTS)


@dataclass(frozen=True)
class ClassOutputs:
    """Outputs and targets as rows, in float64.

    Attributes:
        scores: the outputs, shape (rows, outputs).
        target: numbers from 0 to 1 (or -1 and 1) of that shape for independent binary outputs or rows of
            probabilities; else class numbers of shape (rows,).
        weight: how much each row counts, shape (rows, 1); None: all rows count 1.
        outputs: the meaning of an output, one of :data:`nnbackend.metrics.OUTPUTS`.
        threshold: an output above it is positive; None where the largest output is the answer.
        epsilon: the spacing at 1 of the dtype that outputs had.
    """

    scores: Array
    target: Array
    weight: Array | None
    outputs: str
    threshold: float | None
    epsilon: float

    @property
    def xp(self) -> Namespace:
        """The namespace of the arrays."""
        return namespace(self.scores)

    @property
    def width(self) -> int:
        """The number of outputs."""
        return int(self.scores.shape[-1])

    @property
    def exclusive(self) -> bool:
        """Whether a row chooses one of several classes."""
        return self.threshold is None

    @property
    def is_binary(self) -> bool:
        """Whether a row has one binary answer: a single output, or one of two classes."""
        return self.width == (2 if self.exclusive else 1)

    def labels(self) -> tuple[Array, Array]:
        """Return the predicted class number of each row and the true one, both of shape (rows,)."""
        xp, target = self.xp, self.target
        if not self.exclusive:
            answers = self.scores[:, 0] > self.threshold, target[:, 0] > 0.5
            return xp.astype(answers[0], xp.int32), xp.astype(answers[1], xp.int32)
        if len(target.shape) == 2:
            target = xp.argmax(target, axis=-1)
        predicted = xp.argmax(self.scores, axis=-1)
        return xp.astype(predicted, xp.int32), xp.astype(target, xp.int32)

    def indicators(self, every_class: bool = True) -> tuple[Array, Array]:
        """Return the predictions and the truth, each as booleans of shape (rows, classes).

        A binary answer has a column for each of its classes, or for the positive one alone.
        """
        if not self.exclusive and not (every_class and self.width == 1):
            return self.scores > self.threshold, self.target > 0.5
        xp, classes = self.xp, max(self.width, 2)
        first = 0 if every_class or not self.is_binary else 1
        predicted, true = (functional.one_hot(n, classes, xp.bool, xp) for n in self.labels())
        return predicted[:, first:], true[:, first:]

    def weighted(self, which: Array) -> Array:
        """Return 1, or the weight of the row, where booleans of shape (rows, n) are true; else 0."""
        numbers = self.xp.astype(which, self.scores.dtype)
        return numbers if self.weight is None else numbers * self.weight

    def count(self, which: Array) -> Array:
        """Return the rows in which each column is true, by their weights: exact without them."""
        return self.xp.sum(self.weighted(which), axis=0)

    def fraction(self, which: Array) -> Array:
        """Return the fraction of booleans of shape (rows, n) that are true, rows weighted."""
        return mean(self.xp.astype(which, self.scores.dtype), self.weight)


_NO_CLASSES = (
    "target must hold 1 and 0 (or -1) for each output: this is a metric of classes; for numbers there "
    "are r2, rmse, mae"
)


def read_rows(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    outputs: str | None = None,
    threshold: float | None = None,
) -> ClassOutputs:
    """Return predictions and targets as rows; arguments are those of the metrics.

    Raises:
        ValueError: shapes that differ, which broadcasting would hide; labels that are no class; or
            class numbers instead of outputs.
        UnknownNameError: no such meaning.
    """
    xp = namespace(prediction)
    if not prediction.shape:
        raise ValueError("prediction must hold a row of outputs for each target, got one number")
    if not xp.isdtype(prediction.dtype, "real floating"):
        raise ValueError(
            f"prediction must hold the outputs of a network, and not class numbers (got "
            f"{prediction.dtype}); as outputs these are one-hot rows"
        )
    epsilon = float(xp.finfo(prediction.dtype).eps)
    width = 1 if len(prediction.shape) == 1 else int(prediction.shape[-1])
    outputs, threshold = _resolve_meaning(outputs, threshold, width)
    if threshold is not None:  # as it is in the dtype of what it is compared with
        threshold = float(xp.asarray(threshold, dtype=prediction.dtype))
    prediction, target, weight = scored_arrays(prediction, target, sample_weight)
    xp = namespace(prediction)
    scores = xp.reshape(prediction, (-1, width))
    target = _target_rows(target, prediction, threshold, width)
    if weight is not None:
        rows = int(weight.shape[0])
        each = xp.broadcast_to(weight[:, None], (rows, int(scores.shape[0]) // rows))
        weight = xp.reshape(each, (-1, 1))
    return ClassOutputs(scores, target, weight, outputs, threshold, epsilon)


def _resolve_meaning(
    outputs: str | None, threshold: float | None, width: int
) -> tuple[str, float | None]:
    """Return the meaning and the threshold of ``width`` outputs."""
    outputs = outputs or ("sigmoid" if width == 1 else "softmax")
    check_outputs(outputs)
    threshold = OUTPUTS[outputs] if threshold is None else threshold
    if threshold is None and width == 1:
        raise ValueError(
            f"outputs={outputs!r} means one of several classes, but there is one output"
        )
    return outputs, threshold


def _target_rows(target: Array, prediction: Array, threshold: float | None, width: int) -> Array:
    """Return targets of shape (rows, width), or class numbers of shape (rows,)."""
    xp, shape = namespace(prediction), tuple(prediction.shape)
    if threshold is not None and not xp.isdtype(target.dtype, "real floating"):
        target = xp.astype(target, prediction.dtype)
    same = tuple(target.shape) == shape
    if math.prod(target.shape) == math.prod(shape) and (same or width == 1):
        target = xp.reshape(target, (-1, width))
        if threshold is not None and bool(xp.any((target > 1) | (target < -1))):
            raise ValueError(_NO_CLASSES)
        return target
    if threshold is None and tuple(target.shape) == shape[:-1]:
        return _class_numbers(xp.reshape(target, (-1,)), width, xp)
    raise ValueError(
        "prediction and target must have the same shape, or the target be class numbers of shape "
        f"{shape[:-1]}; got {shape} and {tuple(target.shape)}"
    )


def _class_numbers(target: Array, classes: int, xp: Namespace) -> Array:
    labels = xp.astype(target, xp.int32)
    wrong = (labels < 0) | (labels >= classes)
    if not xp.isdtype(target.dtype, "integral"):
        wrong = wrong | (xp.astype(labels, target.dtype) != target)
    if bool(xp.any(wrong)):
        raise ValueError(f"target must hold class numbers from 0 to {classes - 1}")
    return labels


@dataclass(frozen=True)
class ClassMetric:
    """The base of metrics of classes: it reads outputs by their meaning.

    Args:
        outputs: the meaning of an output, see :mod:`nnbackend.metrics.outputs`. None: ``fit`` and
            ``evaluate`` set it; a call by hand takes the meaning that the number of outputs implies.
    """

    larger_is_better: ClassVar[bool] = True
    exact_on_logits: ClassVar[bool] = False
    """Whether it is more exact on the numbers before a sigmoid or softmax."""

    outputs: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.outputs is not None:
            check_outputs(self.outputs)
        if getattr(self, "threshold", None) is not None:
            set_number(self, "threshold")

    def check_targets(self, target: Array) -> None:
        """Refuse targets of shape (rows, outputs) that are numbers, where each output is one answer.

        Raises:
            ValueError: some are above 1 or below -1.
        """
        meaning = self.outputs or ("sigmoid" if target.shape[-1] == 1 else "softmax")
        one_answer = OUTPUTS[meaning] is not None or getattr(self, "threshold", None) is not None
        xp = namespace(target)
        if one_answer and bool(xp.any((target > 1) | (target < -1))):
            raise ValueError(_NO_CLASSES)

    def for_outputs(self: Self, outputs: str | None, shape: Shape) -> Self:
        """Return the metric for outputs of a meaning, unless it has one already.

        Args:
            outputs: the meaning, one of :data:`nnbackend.metrics.OUTPUTS`, or None.
            shape: the shape of one row of outputs.

        Raises:
            ValueError: the metric makes no sense for such outputs.
        """
        metric = self
        if self.outputs is None and outputs is not None:
            metric = dataclasses.replace(self, outputs=outputs)
        metric.check(shape[-1] if shape else 1)
        return metric

    def before(self: Self, activation: str | None) -> Self | None:
        """Return the metric for numbers before an output activation, if it is more exact on them."""
        if not self.exact_on_logits or self.outputs != activation:
            return None
        return dataclasses.replace(self, outputs=f"{activation}_logits")

    def check(self, width: int) -> None:
        """Raise a ValueError if the metric makes no sense for that many outputs."""

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Any:
        threshold = getattr(self, "threshold", None)
        answers = read_rows(prediction, target, sample_weight, self.outputs, threshold)
        self.check(answers.width)
        if bool(answers.xp.any(answers.xp.isnan(answers.scores))):
            return math.nan
        return self.value(answers)

    def value(self, answers: ClassOutputs) -> Any:
        """Return the metric; each subclass computes its own."""
        raise NotImplementedError
