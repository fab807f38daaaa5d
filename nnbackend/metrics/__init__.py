"""Metrics: how good predictions are.

A metric is a function ``metric(prediction, target, sample_weight=None)`` of all predictions at once,
so that its value is that of the whole and not a mean over batches. It returns one number, a float or
an array without axes. It computes where the predictions are, in float64; on the host if their device
has no float64.

Metrics of classes need the meaning of outputs: see :mod:`nnbackend.metrics.outputs`. ``fit`` and
``evaluate`` find it, from the loss and the last activation.
"""

from nnbackend.metrics.base import METRICS, Metric, get, resolve
from nnbackend.metrics.classes import (
    F1,
    Accuracy,
    BalancedAccuracy,
    Precision,
    Recall,
    TopKAccuracy,
    confusion_matrix,
)
from nnbackend.metrics.outputs import OUTPUTS, outputs_of
from nnbackend.metrics.per_output import resolve_by_output
from nnbackend.metrics.regression import (
    R2,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    RootMeanSquaredError,
)
from nnbackend.metrics.scores import ROCAUC, AveragePrecision, LogLoss

__all__ = [
    "F1",
    "METRICS",
    "OUTPUTS",
    "R2",
    "ROCAUC",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "LogLoss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
    "confusion_matrix",
    "get",
    "outputs_of",
    "resolve",
    "resolve_by_output",
]
