"""Metrics: how good predictions are, in numbers people read.

A metric is a function ``metric(prediction, target, sample_weight=None)`` of all predictions at once,
so that its value is that of the whole and not a mean over batches. It returns one number, a float or
an array without axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnbackend import functional
from nnbackend.backend import namespace
from nnbackend.registry import Registry
from nnbackend.types import Array

__all__ = [
    "METRICS",
    "R2",
    "Accuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "RootMeanSquaredError",
    "get",
    "resolve",
]

Metric: TypeAlias = Callable[..., Any]

METRICS = Registry("metric")


def get(spec: str | Metric) -> Metric:
    """Return the metric that ``spec`` names.

    Raises:
        UnknownNameError: no metric has that name.
        TypeError: ``spec`` is neither a name nor a function.
    """
    metric = METRICS.get(spec)
    if isinstance(metric, type) or not callable(metric):
        raise TypeError(f"a metric is a name or a function, got {spec!r}")
    return metric  # type: ignore[no-any-return]


def resolve(
    specs: Iterable[str | Metric] | Mapping[str, Metric], threshold: float | None
) -> dict[str, Metric]:
    """Return metrics by name, as columns of a history are called.

    Args:
        specs: names and functions, or functions by name.
        threshold: what ``"accuracy"`` compares outputs with; None: it compares the largest output.

    Raises:
        UnknownNameError: no metric has that name.
        ValueError: a name is given twice, or is one of the history's own.
    """
    if isinstance(specs, str):
        specs = [specs]
    pairs = specs.items() if isinstance(specs, Mapping) else ((_name(s), s) for s in specs)
    metrics: dict[str, Metric] = {}
    for name, spec in pairs:
        if name in metrics or name in ("loss", "epoch", "seconds", "learning_rate"):
            raise ValueError(
                f"the metric name {name!r} is taken; give the metrics as {{name: metric}}"
            )
        metrics[name] = Accuracy(threshold) if spec == "accuracy" else get(spec)
    return metrics


def _name(spec: Any) -> str:
    if isinstance(spec, str):
        return spec
    return METRICS.name_of(spec) or str(getattr(spec, "__name__", type(spec).__name__))


@METRICS.register("accuracy")
@dataclass(frozen=True)
class Accuracy:
    """The fraction of samples whose predicted class is the true one.

    Args:
        threshold: None: the predicted class is the index of the largest output, and the target a
            class number or one-hot. A number: each output on its own is 1 above the threshold (0.5
            for probabilities, 0 for logits) and 0 otherwise, and the target likewise 1 or 0.
    """

    threshold: float | None = None

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Any:
        xp = namespace(prediction)
        if self.threshold is not None:
            right = (prediction > self.threshold) == (target > 0.5)
        else:
            if len(target.shape) == len(prediction.shape):
                target = xp.argmax(target, axis=-1)
            predicted = xp.argmax(prediction, axis=-1)
            right = predicted == xp.astype(target, predicted.dtype)
        if sample_weight is None:  # a count is exact in any dtype
            return int(xp.sum(xp.astype(right, xp.int32))) / math.prod(right.shape)
        return _mean(xp.astype(right, prediction.dtype), sample_weight)


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
