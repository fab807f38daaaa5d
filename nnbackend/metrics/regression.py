"""Metrics of numbers."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.backends.base import namespace
from nnbackend.core import functional
from nnbackend.core.types import Array
from nnbackend.metrics.base import METRICS

__all__ = [
    "R2",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "RootMeanSquaredError",
]


@METRICS.register("mse")
@dataclass(frozen=True)
class MeanSquaredError:
    """``mean((prediction - target)**2)``."""

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        return _mean((prediction - _like(prediction, target)) ** 2, sample_weight)


@METRICS.register("rmse")
@dataclass(frozen=True)
class RootMeanSquaredError:
    """``sqrt(mean((prediction - target)**2))``, in the units of the target."""

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        squares = (prediction - _like(prediction, target)) ** 2
        return namespace(prediction).sqrt(_mean(squares, sample_weight))


@METRICS.register("mae")
@dataclass(frozen=True)
class MeanAbsoluteError:
    """``mean(|prediction - target|)``, in the units of the target."""

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        error = prediction - _like(prediction, target)
        return _mean(namespace(prediction).abs(error), sample_weight)


@METRICS.register("mape")
@dataclass(frozen=True)
class MeanAbsolutePercentageError:
    """``mean(|prediction - target| / max(|target|, eps))``, as a fraction: 0.1 is ten per cent.

    ``eps`` is the spacing of the dtype's numbers at 1 (2.2e-16 in float64); a target of 0 so gives a
    very large number and not an infinite one, as in scikit-learn.
    """

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        xp = namespace(prediction)
        target = _like(prediction, target)
        floor = xp.maximum(xp.abs(target), float(xp.finfo(target.dtype).eps))
        return _mean(xp.abs(prediction - target) / floor, sample_weight)


@METRICS.register("r2")
@dataclass(frozen=True)
class R2:
    """The share of the target's variance that is explained, averaged over outputs.

    ``1 - sum((prediction - target)**2) / sum((target - mean(target))**2)`` for each output. Where the
    target does not vary it is 1 for a perfect prediction and 0 otherwise.
    """

    def __call__(
        self, prediction: Array, target: Array, sample_weight: Array | None = None
    ) -> Array:
        xp = namespace(prediction)
        target = _like(prediction, target)
        weight = _column(sample_weight, target)
        mean = xp.sum(target * weight, axis=0, keepdims=True) / xp.sum(
            weight, axis=0, keepdims=True
        )
        residual = xp.sum(weight * (prediction - target) ** 2, axis=0)
        total = xp.sum(weight * (target - mean) ** 2, axis=0)
        varies = total > 0.0
        constant = xp.astype(residual == 0.0, target.dtype)
        r2 = xp.where(varies, 1.0 - residual / xp.where(varies, total, 1.0), constant)
        return xp.mean(r2)


def _like(prediction: Array, target: Array) -> Array:
    """Return the target in the prediction's shape; class numbers become one-hot rows.

    Raises:
        ValueError: it has another shape, which broadcasting would hide.
    """
    xp = namespace(prediction)
    labels = len(target.shape) == len(prediction.shape) - 1
    if labels and xp.isdtype(target.dtype, "integral"):
        target = functional.one_hot(target, prediction.shape[-1], prediction.dtype, xp)
    if target.shape != prediction.shape:
        raise ValueError(
            f"prediction and target must have the same shape, got {tuple(prediction.shape)} "
            f"and {tuple(target.shape)}"
        )
    return target


def _mean(values: Array, sample_weight: Array | None) -> Array:
    """Return the mean over everything, samples weighted."""
    xp = namespace(values)
    if sample_weight is None:
        return xp.mean(values)
    weight = _column(sample_weight, values)
    return xp.sum(values * weight) / xp.sum(weight)


def _column(sample_weight: Array | None, like: Array) -> Array:
    """Return one weight for each number of ``like``."""
    xp = namespace(like)
    if sample_weight is None:
        return xp.ones_like(like)
    column = xp.reshape(sample_weight, (like.shape[0],) + (1,) * (len(like.shape) - 1))
    return xp.broadcast_to(column, like.shape)
