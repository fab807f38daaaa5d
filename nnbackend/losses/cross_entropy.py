"""Cross-entropies, from logits."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.backends.base import kernel_for
from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LOSSES, LossFunction

__all__ = [
    "BinaryCrossEntropy",
    "KLDivergence",
    "SoftmaxCrossEntropy",
    "binary_cross_entropy",
    "kl_divergence",
    "softmax_cross_entropy",
]


@LOSSES.register("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy(LossFunction):
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
    absorbs = "sigmoid"
    refuses = ("softmax",)
    targets = "fractions"

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
class SoftmaxCrossEntropy(LossFunction):
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
    absorbs = "softmax"
    refuses = ("sigmoid",)
    targets = "classes"
    fewest_outputs = 2

    def __post_init__(self) -> None:
        set_number(self, "label_smoothing", 0.0, 1.0)

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        target = _smoothed(target, self.label_smoothing, target.shape[-1])
        kernel = kernel_for(prediction, "softmax_loss")
        found = None if kernel is None else kernel(prediction, target)
        return _softmax_loss(prediction, target, xp) if found is None else found


@LOSSES.register("kl_divergence")
@dataclass(frozen=True)
class KLDivergence(LossFunction):
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

    absorbs = "softmax"
    refuses = ("sigmoid",)
    targets = "distributions"
    fewest_outputs = 2

    def terms(self, prediction: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        log_p = functional.log_softmax(prediction, xp)
        log_t = xp.log(xp.where(target > 0.0, target, 1.0))
        dy = xp.exp(log_p)
        dy -= target
        return xp.vecdot(target, log_t - log_p), dy


binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()
kl_divergence = KLDivergence()


def _softmax_loss(z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
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
