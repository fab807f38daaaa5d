"""Losses as scikit-learn's multilayer perceptrons define them.

They differ from :mod:`nnbackend.losses` in what a mean is taken over, which changes the size of a step,
and in that no logarithm is taken of a probability below the dtype's epsilon or above one minus it, which
bounds the loss and so decides when training stops. All take the numbers before the output activation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.backends.base import namespace
from nnbackend.core import functional
from nnbackend.core.types import Array, Namespace

__all__ = ["BinaryLogLoss", "HalfPoisson", "HalfSquaredError", "LogLoss"]


@dataclass(frozen=True)
class HalfSquaredError:
    """``mean((z - t)**2) / 2`` over samples and outputs; ``dz = (z - t) / samples``.

    ``dz`` is not divided by the number of outputs, as scikit-learn does not divide it either.
    """

    absorbs: ClassVar[None] = None

    def __call__(
        self, z: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = namespace(z)
        error = z - target
        value, scale = _mean(error * error, sample_weight, xp)
        error *= scale
        return value * (0.5 / z.shape[1]), error


@dataclass(frozen=True)
class HalfPoisson:
    """Half the Poisson deviance of ``exp(z)``, summed over outputs: ``dz = (exp(z) - t) / samples``.

    ``mean(t * (log(t) - z) - t + exp(z))`` over samples.
    """

    absorbs: ClassVar[str] = "exponential"
    targets: ClassVar[str] = "counts"

    def __call__(
        self, z: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = namespace(z)
        dz = xp.exp(z)
        logarithm = xp.log(xp.where(target == 0.0, xp.ones_like(target), target))
        value, scale = _mean(target * (logarithm - z) - target + dz, sample_weight, xp)
        dz -= target
        dz *= scale
        return value, dz


@dataclass(frozen=True)
class LogLoss:
    """Cross-entropy of ``softmax(z)`` with one-hot rows or class numbers: ``dz = (p - t) / samples``."""

    absorbs: ClassVar[str] = "softmax"
    targets: ClassVar[str] = "classes"

    def __call__(
        self, z: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = namespace(z)
        if target.ndim == 1:
            target = functional.one_hot(target, z.shape[-1], z.dtype, xp)
        shifted = z - xp.max(z, axis=-1, keepdims=True)
        dz = xp.exp(shifted)
        total = xp.sum(dz, axis=-1, keepdims=True)
        per_sample = xp.log(total[..., 0]) - xp.vecdot(target, shifted)
        value, scale = _mean(_clipped(per_sample, z.dtype, xp)[..., None], sample_weight, xp)
        dz /= total
        dz -= target
        dz *= scale
        return value, dz


@dataclass(frozen=True)
class BinaryLogLoss:
    """Cross-entropy of ``sigmoid(z)``, summed over outputs: ``dz = (p - t) / samples``."""

    absorbs: ClassVar[str] = "sigmoid"
    targets: ClassVar[str] = "fractions"

    def __call__(
        self, z: Array, target: Array, sample_weight: Array | None = None
    ) -> tuple[Array, Array]:
        xp = namespace(z)
        per_output = functional.softplus(z, xp)
        per_output -= target * z
        value, scale = _mean(_clipped(per_output, z.dtype, xp), sample_weight, xp)
        dz = functional.sigmoid(z, xp)
        dz -= target
        dz *= scale
        return value, dz


def _clipped(loss: Array, dtype: Any, xp: Namespace) -> Array:
    """Return ``-log(p)`` for a ``p`` between the dtype's epsilon and one minus it."""
    epsilon = float(xp.finfo(dtype).eps)
    return xp.minimum(xp.maximum(loss, -math.log1p(-epsilon)), -math.log(epsilon))


def _mean(per_output: Array, sample_weight: Array | None, xp: Namespace) -> tuple[Array, Any]:
    """Return the mean over samples of the sum over outputs, and the factor of each row in it."""
    if sample_weight is None:
        scale = 1.0 / per_output.shape[0]
        return xp.sum(per_output) * scale, scale
    total = xp.sum(sample_weight)
    weight = sample_weight[:, None] / xp.where(total == 0.0, xp.ones_like(total), total)
    return xp.sum(per_output * weight), weight
