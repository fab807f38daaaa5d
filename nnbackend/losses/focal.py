"""Focal losses: cross-entropies that weigh easy rows down."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = ["BinaryFocal", "SoftmaxFocal", "binary_focal", "softmax_focal"]


@LOSSES.register("binary_focal")
@dataclass(frozen=True)
class BinaryFocal(LossFunction):
    """Focal loss of a sigmoid, from its logits ``z`` and targets ``t`` in [0, 1].

    With ``s = sigmoid(z)`` and ``g = gamma`` it is the mean of
    ``-t a (1 - s)**g log(s) - (1 - t) b s**g log(1 - s)``, and ``dy`` is
    ``t a (1 - s)**g (g s log(s) - 1 + s) + (1 - t) b s**g (s - g (1 - s) log(1 - s))`` divided by
    ``n``. A soft target is a mixture of the two.

    Args:
        gamma: the exponent that weighs down rows predicted well; 0 gives the cross-entropy. Default 2.
        alpha: ``a = alpha`` and ``b = 1 - alpha`` weigh the targets 1 and 0; None (the default): both
            count 1. The paper's detector has 0.25.

    Raises:
        ValueError: ``gamma`` is negative, or ``alpha`` not from 0 to below 1.

    >>> z, t = np.array([[0.0], [2.0]]), np.array([[1.0], [0.0]])
    >>> value, dy = BinaryFocal(gamma=2.0)(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.9117, [[-0.149], [0.538]])

    Source: Lin, Goyal, Girshick, He, Dollár (2017), ICCV: Focal Loss for Dense Object Detection.
    """

    gamma: float = 2.0
    alpha: float | None = None
    absorbs = "sigmoid"
    refuses = ("softmax",)
    targets = "fractions"

    def __post_init__(self) -> None:
        set_number(self, "gamma", 0.0)
        if self.alpha is not None:
            set_number(self, "alpha", 0.0, 1.0)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        a, b = (1.0, 1.0) if self.alpha is None else (self.alpha, 1.0 - self.alpha)
        g = self.gamma
        log_positive = -functional.softplus(-prediction, xp)
        log_negative = -functional.softplus(prediction, xp)
        positive, negative = xp.exp(log_positive), xp.exp(log_negative)
        weight_positive = a * target * xp.exp(g * log_negative)
        weight_negative = b * (1.0 - target) * xp.exp(g * log_positive)
        per_output = -weight_positive * log_positive - weight_negative * log_negative
        dy = weight_positive * (g * positive * log_positive - negative)
        dy += weight_negative * (positive - g * negative * log_negative)
        return per_output, dy


@LOSSES.register("softmax_focal")
@dataclass(frozen=True)
class SoftmaxFocal(LossFunction):
    """Focal loss of a softmax, from its logits ``z`` of shape (batch, classes).

    With ``p = softmax(z)`` and ``g = gamma``: ``mean(-sum(t (1 - p)**g log(p)))`` over the samples;
    ``dy = (u - p sum(u)) / batch`` with ``u = t (1 - p)**g (g p log(p) / (1 - p) - 1)``. Targets as for
    :class:`SoftmaxCrossEntropy`.

    Args:
        gamma: the exponent that weighs down rows predicted well; 0 gives the cross-entropy. Default 2.

    Raises:
        ValueError: ``gamma`` is negative.

    >>> z, t = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), np.array([0, 1])
    >>> value, dy = SoftmaxFocal(gamma=2.0)(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.055, [[-0.095, 0.048, 0.048], [0.007, -0.013, 0.007]])

    Source: Lin, Goyal, Girshick, He, Dollár (2017), ICCV: Focal Loss for Dense Object Detection.
    """

    gamma: float = 2.0
    absorbs = "softmax"
    refuses = ("sigmoid",)
    targets = "classes"
    fewest_outputs = 2

    def __post_init__(self) -> None:
        set_number(self, "gamma", 0.0)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        log_p = functional.log_softmax(prediction, xp)
        p, rest = xp.exp(log_p), -xp.expm1(log_p)
        focus = target * rest**self.gamma
        # log(p) / (1 - p) tends to -1 where p is 1; and where p is 0, p log(p) to 0.
        sure = rest > 0.0
        ratio = xp.where(sure, p * log_p / xp.where(sure, rest, 1.0), -1.0)
        u = focus * (self.gamma * ratio - 1.0)
        return -xp.vecdot(focus, log_p), u - p * xp.sum(u, axis=-1, keepdims=True)


binary_focal = BinaryFocal()
softmax_focal = SoftmaxFocal()
