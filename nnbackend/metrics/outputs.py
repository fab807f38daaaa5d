"""The meaning of a network's outputs to a metric of classes.

========================  ======================================  ==========================
``outputs``               one number is                           the answer is
========================  ======================================  ==========================
``"sigmoid"``             the probability of the positive class   positive above 0.5
``"sigmoid_logits"``      the same, before the sigmoid            positive above 0
``"margins"``             the binary answer of a hinge loss       positive above 0
``"softmax"``             the probability of one of the classes   the class of the largest
``"softmax_logits"``      the same, before the softmax            the class of the largest
``"scores"``              the score of a class, on any scale      the class of the largest
========================  ======================================  ==========================

In the first three each output is a separate binary answer; in the others a row chooses one of several
classes.
None means ``"sigmoid"`` for a single output and ``"softmax"`` for several.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nnbackend.backends.base import namespace
from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace, Shape
from nnbackend.errors import unknown_name
from nnbackend.losses import Loss, trait

__all__ = ["OUTPUTS", "ClassMetric", "ClassOutputs", "outputs_of", "read_rows"]

OUTPUTS = {
    "sigmoid": 0.5,
    "sigmoid_logits": 0.0,
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
        one of :data:`OUTPUTS`; None for a loss that is not made for classes.
    """
    absorbed: str | None = trait(loss, "absorbs")
    if absorbed in ("sigmoid", "softmax"):
        return absorbed if activation == absorbed else f"{absorbed}_logits"
    said: str | None = trait(loss, "outputs")
    return said


@dataclass(frozen=True)
class ClassOutputs:
    """Outputs and targets as rows.

    Attributes:
        scores: the outputs, shape (rows, outputs).
        target: numbers from 0 to 1 (or -1 and 1) of that shape for independent binary outputs or rows of
            probabilities; else class numbers of shape (rows,).
        weight: how much each row counts; None: all rows count 1.
        outputs: the meaning of an output, one of :data:`OUTPUTS`.
        threshold: an output above it is positive; None where the largest output is the answer.
    """

    scores: Array
    target: Array
    weight: Array | None
    outputs: str
    threshold: float | None

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

    def labels(self) -> Array:
        """Return the class number of each row, shape (rows,)."""
        xp = self.xp
        if not self.exclusive:
            return xp.astype(self.target[:, 0] > 0.5, xp.int32)
        if len(self.target.shape) == 2:
            return xp.astype(xp.argmax(self.target, axis=-1), xp.int32)
        return self.target

    def predicted_labels(self) -> Array:
        """Return the predicted class number of each row, shape (rows,)."""
        xp = self.xp
        if not self.exclusive:
            return xp.astype(self.scores[:, 0] > self.threshold, xp.int32)
        return xp.astype(xp.argmax(self.scores, axis=-1), xp.int32)

    def indicators(self, every_class: bool = True) -> tuple[Array, Array]:
        """Return the predictions and the truth, each as booleans of shape (rows, classes).

        Args:
            every_class: whether a binary answer has a column for each of its two classes; False: one
                column, for the positive class.
        """
        if not self.exclusive and not (every_class and self.width == 1):
            return self.scores > self.threshold, self.target > 0.5
        xp, classes = self.xp, max(self.width, 2)
        columns = [
            functional.one_hot(labels, classes, xp.bool, xp)
            for labels in (self.predicted_labels(), self.labels())
        ]
        if not every_class and self.is_binary:
            columns = [column[:, 1:] for column in columns]
        return columns[0], columns[1]

    def count(self, which: Array, axis: int | None = 0) -> Array:
        """Return the number of true entries, or the sum of their rows' weights; counts are exact.

        Args:
            which: booleans of shape (rows, ...).
            axis: the axis to count along; None: all.
        """
        xp = self.xp
        if self.weight is None:
            return xp.sum(xp.astype(which, xp.int32), axis=axis, dtype=xp.int32)
        weight = xp.reshape(self.weight, (-1,) + (1,) * (len(which.shape) - 1))
        return xp.sum(xp.astype(which, self.scores.dtype) * weight, axis=axis)


def read_rows(
    prediction: Array,
    target: Array,
    sample_weight: Array | None = None,
    outputs: str | None = None,
    threshold: float | None = None,
) -> ClassOutputs:
    """Return predictions and targets as rows.

    Args:
        prediction: outputs of shape (rows, ..., outputs), or (rows,) for a single output.
        target: targets of the same shape, or class numbers of shape (rows, ...).
        sample_weight: how much each row counts, of shape (rows,); None: all count 1.
        outputs: the meaning of an output; None: ``"sigmoid"`` for one output, ``"softmax"`` for several.
        threshold: an output above it is positive, and each output is a separate binary answer; None:
            the threshold that ``outputs`` implies.

    Raises:
        ValueError: shapes that differ, which broadcasting would hide; labels that are no class; or
            class numbers instead of outputs.
        UnknownNameError: no such meaning.
    """
    xp = namespace(prediction)
    if not xp.isdtype(prediction.dtype, "real floating"):
        raise ValueError(
            f"prediction must hold the outputs of a network, and not class numbers (got "
            f"{prediction.dtype}); as outputs these are one-hot rows"
        )
    width = 1 if len(prediction.shape) == 1 else int(prediction.shape[-1])
    outputs, threshold = _resolve_meaning(outputs, threshold, width)
    scores = xp.reshape(prediction, (-1, width))
    rows, count = int(prediction.shape[0]), int(scores.shape[0])
    target = _target_rows(target, prediction, threshold, width)
    if sample_weight is not None and count != rows:
        sample_weight = xp.reshape(
            xp.broadcast_to(sample_weight[:, None], (rows, count // rows)), (count,)
        )
    return ClassOutputs(scores, target, sample_weight, outputs, threshold)


def _resolve_meaning(
    outputs: str | None, threshold: float | None, width: int
) -> tuple[str, float | None]:
    """Return the meaning and the threshold of ``width`` outputs."""
    outputs = outputs or ("sigmoid" if width == 1 else "softmax")
    if outputs not in OUTPUTS:
        raise unknown_name("meaning of outputs", outputs, OUTPUTS)
    threshold = OUTPUTS[outputs] if threshold is None else threshold
    if threshold is None and width == 1:
        raise ValueError(
            f"outputs={outputs!r} means one of several classes, but there is one output"
        )
    return outputs, threshold


def _target_rows(target: Array, prediction: Array, threshold: float | None, width: int) -> Array:
    """Return targets of shape (rows, width), or class numbers of shape (rows,)."""
    xp, shape = namespace(prediction), tuple(prediction.shape)
    same = tuple(target.shape) == shape
    if math.prod(target.shape) == math.prod(shape) and (same or width == 1):
        target = xp.reshape(target, (-1, width))
        if threshold is not None and bool(xp.any((target > 1) | (target < -1))):
            raise ValueError(
                "target must hold 1 and 0 (or -1) for each output: this is a metric of classes; "
                "for numbers there are r2, rmse, mae"
            )
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

    outputs: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.outputs is not None and self.outputs not in OUTPUTS:
            raise unknown_name("meaning of outputs", self.outputs, OUTPUTS)
        if getattr(self, "threshold", None) is not None:
            set_number(self, "threshold")

    def for_outputs(self: Self, outputs: str | None, shape: Shape) -> Self:
        """Return the metric for outputs of a meaning, unless it has one already.

        Args:
            outputs: the meaning, one of :data:`OUTPUTS`, or None.
            shape: the shape of one row of outputs.

        Raises:
            ValueError: the metric makes no sense for such outputs.
        """
        metric = self
        if self.outputs is None and outputs is not None:
            metric = dataclasses.replace(self, outputs=outputs)
        metric.check(shape[-1] if shape else 1)
        return metric

    def check(self, width: int) -> None:
        """Raise a ValueError if the metric makes no sense for that many outputs."""

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Any:
        xp = namespace(prediction)
        threshold = getattr(self, "threshold", None)
        answers = read_rows(prediction, target, sample_weight, self.outputs, threshold)
        self.check(answers.width)
        if bool(xp.any(xp.isnan(prediction))):
            return math.nan
        return self.value(answers)

    def value(self, answers: ClassOutputs) -> Any:
        """Return the metric; each subclass computes its own."""
        raise NotImplementedError
