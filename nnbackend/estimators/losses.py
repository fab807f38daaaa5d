"""Losses as scikit-learn's multilayer perceptrons define them.

They differ from :mod:`nnbackend.losses` in what a mean is taken over, which changes the size of a step,
and in that no logarithm is taken of a probability below the dtype's epsilon or above one minus it, which
bounds the loss and so decides when training stops. All take the numbers before the output activation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.losses.base import LossFunction
from nnbackend.losses.cross_entropy import binary_cross_entropy, softmax_loss

__all__ = ["BinaryLogLoss", "HalfPoisson", "HalfSquaredError", "LogLoss"]


class _MeanOfSums(LossFunction):
    """A mean over samples of a sum over outputs."""

    def mean(self, terms: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
        if sample_weight is None:
            scale = 1.0 / terms.shape[0]
            return xp.sum(terms) * scale, scale
        total = xp.sum(sample_weight)
        scale = sample_weight[:, None] / xp.where(total == 0.0, 1.0, total)
        return xp.sum(terms * scale), scale


@dataclass(frozen=True)
class HalfSquaredError(_MeanOfSums):
    """``mean((z - t)**2) / 2`` over samples and outputs; ``dz = (z - t) / samples``.

    ``dz`` is not divided by the number of outputs, as scikit-learn does not divide it either.
    """

    def terms(self, z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        error = z - target
        return error * error, error

    def mean(self, terms: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
        value, scale = super().mean(terms, sample_weight, xp)
        return value * (0.5 / terms.shape[1]), scale


@dataclass(frozen=True)
class HalfPoisson(_MeanOfSums):
    """Half the Poisson deviance of ``exp(z)``, summed over outputs: ``dz = (exp(z) - t) / samples``.

    ``mean(t * (log(t) - z) - t + exp(z))`` over samples.
    """

    absorbs = "exponential"
    targets = "counts"

    def terms(self, z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        dz = xp.exp(z)
        logarithm = xp.log(xp.where(target == 0.0, 1.0, target))
        terms = target * (logarithm - z) - target + dz
        dz -= target
        return terms, dz


@dataclass(frozen=True)
class LogLoss(_MeanOfSums):
    """Cross-entropy of ``softmax(z)`` with one-hot rows or class numbers: ``dz = (p - t) / samples``."""

    absorbs = "softmax"
    targets = "classes"

    def terms(self, z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        per_sample, dz = softmax_loss(z, target, xp)
        return _clipped(per_sample, z.dtype, xp)[..., None], dz


@dataclass(frozen=True)
class BinaryLogLoss(_MeanOfSums):
    """Cross-entropy of ``sigmoid(z)``, summed over outputs: ``dz = (p - t) / samples``."""

    absorbs = "sigmoid"
    targets = "fractions"

    def terms(self, z: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        per_output, dz = binary_cross_entropy.terms(z, target, xp)
        return _clipped(per_output, z.dtype, xp), dz


def _clipped(loss: Array, dtype: Any, xp: Namespace) -> Array:
    """Return ``-log(p)`` for a ``p`` between the dtype's epsilon and one minus it."""
    epsilon = float(xp.finfo(dtype).eps)
    return xp.minimum(xp.maximum(loss, -math.log1p(-epsilon)), -math.log(epsilon))
