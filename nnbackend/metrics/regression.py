"""Metrics of numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.backends.base import namespace
from nnbackend.backends.widen import scored_arrays
from nnbackend.core import functional
from nnbackend.core.constant import is_constant, rounding_error
from nnbackend.core.types import Array, Namespace
from nnbackend.metrics.base import METRICS, mean

__all__ = [
    "R2",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "RootMeanSquaredError",
]


class _MeanError(ABC):
    """A mean over rows and outputs."""

    larger_is_better: ClassVar[bool] = False

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        prediction, target, weight = _numbers(prediction, target, sample_weight)
        return mean(self._each(prediction, target, namespace(prediction)), weight)

    @abstractmethod
    def _each(self, prediction: Array, target: Array, xp: Namespace) -> Array:
        """Return the error of each number."""


@METRICS.register("mse")
@dataclass(frozen=True)
class MeanSquaredError(_MeanError):
    """``mean((prediction - target)**2)``."""

    def _each(self, prediction: Array, target: Array, xp: Namespace) -> Array:
        return (prediction - target) ** 2


@METRICS.register("rmse")
@dataclass(frozen=True)
class RootMeanSquaredError(MeanSquaredError):
    """``sqrt(mean((prediction - target)**2))``, in the units of the target."""

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        square = super().__call__(prediction, target, sample_weight)
        return namespace(square).sqrt(square)


@METRICS.register("mae")
@dataclass(frozen=True)
class MeanAbsoluteError(_MeanError):
    """``mean(|prediction - target|)``, in the units of the target."""

    def _each(self, prediction: Array, target: Array, xp: Namespace) -> Array:
        return xp.abs(prediction - target)


@METRICS.register("mape")
@dataclass(frozen=True)
class MeanAbsolutePercentageError(_MeanError):
    """``mean(|prediction - target| / max(|target|, eps))``, as a fraction: 0.1 is ten per cent.

    ``eps`` is the spacing of float64 at 1, 2.2e-16; a target of 0 so gives a very large number and not
    an infinite one, as in scikit-learn.
    """

    def _each(self, prediction: Array, target: Array, xp: Namespace) -> Array:
        floor = xp.maximum(xp.abs(target), float(xp.finfo(target.dtype).eps))
        return xp.abs(prediction - target) / floor


@METRICS.register("r2")
@dataclass(frozen=True)
class R2:
    """The share of the target's variance that is explained, averaged over outputs.

    ``1 - sum((prediction - target)**2) / sum((target - mean(target))**2)`` for each output. Where the
    target does not vary, but for rounding, it is 1 for a perfect prediction and 0 otherwise.
    """

    larger_is_better: ClassVar[bool] = True

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        prediction, target, weight = _numbers(prediction, target, sample_weight)
        xp = namespace(prediction)
        if weight is None:
            weight = xp.ones_like(target)
        center = xp.sum(target * weight, axis=0) / xp.sum(weight, axis=0)
        # Rows without weight do not count: they are taken for predicted means.
        target, prediction = (xp.where(weight > 0.0, a, center) for a in (target, prediction))
        off = xp.abs(prediction - target)
        residual = xp.sum(weight * off**2, axis=0)
        total = xp.sum(weight * (target - center) ** 2, axis=0)
        rows, low, high = target.shape[0], xp.min(target, axis=0), xp.max(target, axis=0)
        constant = is_constant(low, high, center, rows) | (total == 0.0)
        right = xp.astype(xp.max(off, axis=0) <= rounding_error(center, rows), target.dtype)
        return xp.mean(xp.where(constant, right, 1.0 - residual / xp.where(constant, 1.0, total)))


def _numbers(
    prediction: Array, target: Array, sample_weight: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return all in float64, the target in the prediction's shape, weights with as many axes.

    Class numbers become one-hot rows.

    Raises:
        ValueError: the target has another shape, which broadcasting would hide.
    """
    prediction, target, weight = scored_arrays(prediction, target, sample_weight)
    xp, shape = namespace(prediction), prediction.shape
    labels = len(target.shape) == len(shape) - 1
    if labels and xp.isdtype(target.dtype, "integral"):
        target = functional.one_hot(target, shape[-1], prediction.dtype, xp)
    if target.shape != shape:
        raise ValueError(
            f"prediction and target must have the same shape, got {tuple(shape)} "
            f"and {tuple(target.shape)}"
        )
    if weight is not None:
        weight = xp.reshape(weight, (shape[0],) + (1,) * (len(shape) - 1))
    return prediction, xp.astype(target, prediction.dtype), weight
