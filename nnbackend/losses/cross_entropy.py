"""Cross-entropies, from logits; focal losses are those that weigh easy rows down."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.backends.base import kernel_for
from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = [
    "BinaryCrossEntropy",
    "BinaryFocal",
    "KLDivergence",
    "SoftmaxCrossEntropy",
    "SoftmaxFocal",
    "binary_cross_entropy",
    "binary_focal",
    "kl_divergence",
    "softmax_cross_entropy",
    "softmax_focal",
    "softmax_loss",
]


class _OfSigmoid(LossFunction):
    absorbs = "sigmoid"
    refuses = ("softmax", "log_softmax", "sparsemax", "hardsigmoid", "logsigmoid")
    targets = "fractions"


class _OfSoftmax(LossFunction):
    absorbs = "softmax"
    refuses = ("sigmoid", "sparsemax", "hardsigmoid", "logsigmoid")  # log_softmax gives logits
    targets = "classes"
    fewest_outputs = 2


@LOSSES.register("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(_OfSigmoid):
    """Cross-entropy of a sigmoid, from its logits ``z`` and targets ``t`` in [0, 1].

    ``mean(softplus(z) - t * z)``, which is ``-t log(s) - (1 - t) log(1 - s)`` with
    ``s = sigmoid(z)``; ``dy = (s - t) / n``.

    Args:
        label_smoothing: ``a``, at least 0 and below 1, default 0: the target becomes
            ``(1 - a) t + a / 2``. It is part of the loss, so of the validation loss too.

    >>> z, t = np.array([[0.0], [2.0]]), np.array([[1.0], [0.0]])
    >>> value, dy = BinaryCrossEntropy()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (1.41, [[-0.25], [0.44]])

    Source of label smoothing: Szegedy et al. (2016), CVPR, section 7.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        set_number(self, "label_smoothing", 0.0, 1.0)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        target = _smoothed(target, self.label_smoothing, 2)
        per_output = functional.softplus(prediction, xp)
        per_output -= target * prediction
        dy = functional.sigmoid(prediction, xp)
        dy -= target
        return per_output, dy


@LOSSES.register("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy(_OfSoftmax):
    """Cross-entropy of a softmax, from its logits ``z`` of shape (batch, classes).

    ``mean(logsumexp(z) - sum(t * z))`` over the samples, which is ``-sum(t * log(softmax(z)))`` for
    a row of probabilities ``t``; ``dy = (softmax(z) - t) / batch``. The target is a number from 0 to
    classes - 1 for each sample, or a row of probabilities that sum to 1 (one-hot, or soft).

    Args:
        label_smoothing: ``a``, at least 0 and below 1, default 0: the target becomes
            ``(1 - a) t + a / classes``. It is part of the loss, so of the validation loss too.

    >>> z, t = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), np.array([0, 1])
    >>> value, dy = SoftmaxCrossEntropy()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.3955, [[-0.212, 0.106, 0.106], [0.053, -0.107, 0.053]])

    Source of label smoothing: Szegedy et al. (2016), CVPR, section 7.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        set_number(self, "label_smoothing", 0.0, 1.0)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        target = _smoothed(target, self.label_smoothing, target.shape[-1])
        kernel = kernel_for(prediction, "softmax_loss")
        found = None if kernel is None else kernel(prediction, target)
        return softmax_loss(prediction, target, xp) if found is None else found


@LOSSES.register("kl_divergence")
@dataclass(frozen=True)
class KLDivergence(_OfSoftmax):
    """The divergence of a softmax from a distribution, from its logits ``z`` of shape (batch, classes).

    ``mean(sum(t * (log(t) - log(softmax(z)))))`` over the samples, with ``0 log 0 = 0``; it is the
    cross-entropy less the entropy of ``t``, and 0 where the two agree;
    ``dy = (softmax(z) - t) / batch``. The target is a row of probabilities that sum to 1, or a class
    number.

    >>> z, t = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> value, dy = KLDivergence()(z, t)
    >>> round(float(value), 4), np.round(dy, 3).tolist()
    (0.1201, [[0.231, -0.231]])

    Source: Kullback, Leibler (1951), Annals of Mathematical Statistics 22.
    """

    targets = "distributions"

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        log_p = functional.log_softmax(prediction, xp)
        log_t = xp.log(xp.where(target > 0.0, target, 1.0))
        dy = xp.exp(log_p)
        dy -= target
        return xp.vecdot(target, log_t - log_p), dy


@LOSSES.register("binary_focal")
@dataclass(frozen=True)
class BinaryFocal(_OfSigmoid):
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
class SoftmaxFocal(_OfSoftmax):
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


binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()
kl_divergence = KLDivergence()
binary_focal = BinaryFocal()
softmax_focal = SoftmaxFocal()


def softmax_loss(z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the cross-entropy of each row, and its gradient."""
    # Shifted by the largest logit, so that nothing overflows; one exponential for both uses.
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    dy = xp.exp(shifted)
    total = xp.sum(dy, axis=-1, keepdims=True)
    loss = xp.log(total[..., 0]) - xp.vecdot(target, shifted)
    dy /= total
    dy -= target
    return loss, dy


def _smoothed(target: Array, amount: float, classes: int) -> Array:
    """Return the target mixed with the uniform distribution."""
    return target if amount == 0.0 else (1.0 - amount) * target + amount / classes
