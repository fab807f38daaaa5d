"""Losses: the value, and the gradient with respect to the prediction, together.

``value, dy = loss(prediction, target, sample_weight)``. The value is the mean over samples (and over
the outputs of a sample); with weights ``w`` it is ``sum(w * l) / sum(w)`` over the samples' losses
``l``, so that a weight of 2 counts a sample twice. ``dy`` has the shape of the prediction, and is what
a network's backward pass takes.

The cross-entropies take logits, the numbers before the sigmoid or softmax: together with it they are
stable for any finite logit. ``Network.fit`` hands them the logits also when a network ends in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from nnbackend import functional
from nnbackend.backend import namespace
from nnbackend.checks import set_number
from nnbackend.registry import Registry
from nnbackend.types import Array, Namespace

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
    "binary_cross_entropy",
    "get",
    "huber",
    "mae",
    "mse",
    "softmax_cross_entropy",
]

Loss: TypeAlias = Callable[..., tuple[Array, Array]]
"""``loss(prediction, target, sample_weight=None) -> (value, dy)``; any such function will do."""

LOSSES = Registry("loss")


def get(spec: str | Loss) -> Loss:
    """Return the loss that ``spec`` names.

    Raises:
        UnknownNameError: no loss has that name.
        TypeError: ``spec`` is neither a name nor a function.
    """
    loss = LOSSES.get(spec)
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"a loss is a name or a function, got {spec!r}")
    return loss  # type: ignore[no-any-return]


def absorbed_activation(loss: Loss) -> str | None:
    """Return the name of the output activation that the loss contains, if any."""
    return getattr(loss, "absorbs", None)


@LOSSES.register("mse")
@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared error: ``mean((prediction - target)**2)``; ``dy = 2/n * (prediction - target)``.

    ``n`` counts all the numbers in the prediction. This is the mean sum squared loss.
    """

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = _check(prediction, target)
        error = prediction - target
        value, scale = _mean(error * error, sample_weight, xp)
        error *= 2.0 * scale
        return value, error


@LOSSES.register("mae")
@dataclass(frozen=True)
class MeanAbsoluteError:
    """Mean absolute error: ``mean(|prediction - target|)``; ``dy = sign(prediction - target) / n``."""

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = _check(prediction, target)
        error = prediction - target
        value, scale = _mean(xp.abs(error), sample_weight, xp)
        return value, xp.sign(error) * scale


@LOSSES.register("huber")
@dataclass(frozen=True)
class Huber:
    """Squared near zero, absolute further out: less drawn to outliers than the squared error.

    With the error ``e``: ``e**2 / 2`` up to ``|e| = delta``, ``delta * (|e| - delta / 2)`` beyond;
    ``dy = clip(e, -delta, delta) / n``.

    Args:
        delta: where the two meet.

    Source: Huber (1964), Annals of Mathematical Statistics 35.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "delta", 0.0)
        if self.delta == 0.0:
            raise ValueError(f"delta must be positive, got {self.delta!r}")

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = _check(prediction, target)
        error = prediction - target
        clipped = xp.maximum(xp.minimum(error, self.delta), -self.delta)
        value, scale = _mean(clipped * (error - 0.5 * clipped), sample_weight, xp)
        return value, clipped * scale


@LOSSES.register("binary_cross_entropy")
@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Cross-entropy of a sigmoid, from its logits ``z`` and targets ``t`` in [0, 1].

    ``mean(softplus(z) - t * z)``, which is ``-t log(s) - (1 - t) log(1 - s)`` with
    ``s = sigmoid(z)``; ``dy = (s - t) / n``.
    """

    absorbs: ClassVar[str] = "sigmoid"

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = _check(prediction, target)
        per_output = functional.softplus(prediction, xp)
        per_output -= target * prediction
        value, scale = _mean(per_output, sample_weight, xp)
        dy = functional.sigmoid(prediction, xp)
        dy -= target
        dy *= scale
        return value, dy


@LOSSES.register("softmax_cross_entropy")
@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Cross-entropy of a softmax, from its logits ``z`` of shape (batch, classes).

    ``mean(logsumexp(z) - sum(t * z))`` over the samples, which is ``-sum(t * log(softmax(z)))`` for
    a row of probabilities ``t``; ``dy = (softmax(z) - t) / batch``. The target is a number from 0 to
    classes - 1 for each sample, or a row of probabilities that sum to 1 (one-hot, or soft).
    """

    absorbs: ClassVar[str] = "softmax"

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = namespace(prediction)
        if target.ndim == prediction.ndim - 1:
            target = functional.one_hot(target, prediction.shape[-1], prediction.dtype, xp)
        _check(prediction, target)
        # Shifted by the largest logit, so that nothing overflows; one exponential for both uses.
        shifted = prediction - xp.max(prediction, axis=-1, keepdims=True)
        dy = xp.exp(shifted)
        total = xp.sum(dy, axis=-1, keepdims=True)
        per_sample = xp.log(total[..., 0]) - xp.vecdot(target, shifted)
        value, scale = _mean(per_sample, sample_weight, xp)
        dy /= total
        dy -= target
        dy *= scale if sample_weight is None else scale[..., None]
        return value, dy


mse = MeanSquaredError()
mae = MeanAbsoluteError()
huber = Huber()
binary_cross_entropy = BinaryCrossEntropy()
softmax_cross_entropy = SoftmaxCrossEntropy()


def _check(prediction: Array, target: Array) -> Namespace:
    """Return the namespace; refuse shapes that differ, which broadcasting would hide."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have the same shape, got {tuple(prediction.shape)} "
            f"and {tuple(target.shape)}"
        )
    return namespace(prediction)


def _mean(per_output: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
    """Return the (weighted) mean, and the factor of each number in it, for the gradient."""
    shape = per_output.shape
    if sample_weight is None:
        scale = 1.0 / math.prod(shape)
        return xp.sum(per_output) * scale, scale
    weight = xp.reshape(sample_weight, (shape[0],) + (1,) * (len(shape) - 1))
    total = xp.sum(weight)
    # A batch of zero weights has loss zero and no gradient, not NaN.
    weight = weight / (xp.where(total > 0.0, total, 1.0) * math.prod(shape[1:]))
    return xp.sum(per_output * weight), weight
