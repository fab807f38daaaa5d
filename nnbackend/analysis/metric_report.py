"""Every metric of a task, class by class, and the confusion matrix, as plain data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend import metrics
from nnbackend.tables.intervals import interval_between, symmetric_pairs
from nnbackend.tables.model import Model, output_activation_of

__all__ = ["AVERAGED_METRICS", "build_report"]

AVERAGED_METRICS = ("precision", "recall", "f1")
"""The metrics that each class has."""

_CLASS_METRICS = ("accuracy", "balanced_accuracy")
_SCORE_METRICS = ("log_loss", "roc_auc", "average_precision")
_NUMBER_METRICS = ("mae", "mse", "rmse", "r2", "mape")


def build_report(
    model: Model, x: Any, y: NDArray[Any], outputs: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Return the report for encoded features and targets, as plain data.

    ``outputs`` are those of the rows, if they are not those of the model: of networks that did not see
    them.

    ``metrics`` by name are None where one is not defined, as a ROC area of one class. For classes there
    are ``classes``, each with its precision, recall, f1 and number of rows, and ``confusion_matrix``:
    the number of rows by true class (rows) and predicted class (columns). Of quantiles there are
    ``below_0.1`` and so on, the shares of targets not above each, and ``inside_0.8`` and so on, those
    inside the intervals, widened as for predictions.
    """
    are_means = outputs is not None or model.averages
    outputs = model.outputs(x) if outputs is None else outputs
    if not model.classes:
        answers, truth = model.answers(outputs), model.encoder.target.decode(y)
        values = {name: metrics.get(name)(answers, truth) for name in _NUMBER_METRICS}
        values |= _coverage(model, outputs, truth)
        return {"rows": len(y), "metrics": _plain(values)}
    target = y if model.output_width > 1 else y[:, None].astype(outputs.dtype)
    wanted: dict[str, Any] = {name: metrics.get(name) for name in _CLASS_METRICS}
    for name in AVERAGED_METRICS:
        wanted |= {f"{name}_{a}": metrics.METRICS[name](a) for a in ("macro", "weighted")}
    # A hinge loss ranks and gives no probabilities.
    has_probabilities = output_activation_of(model.loss) is not None
    scores = _SCORE_METRICS if has_probabilities else _SCORE_METRICS[1:]
    wanted |= {name: metrics.get(name) for name in scores}
    if model.output_width > 5:
        wanted["top_5_accuracy"] = metrics.TopKAccuracy(5)
    if are_means:
        # Single precision does not let probabilities sum to 1 closely enough for all metrics.
        p = model.probabilities(outputs) if model.output_activation else outputs
        found = metrics.resolve(wanted, model.meaning, p.shape[1:])
        values = {name: metric(p, target) for name, metric in found.items()}
    else:
        # The network has the numbers before a softmax, which tell rows apart where that is 1.
        values = model.network.evaluate(x, y, loss=model.loss_function, metrics=wanted)
    matrix = metrics.confusion_matrix(outputs, target, outputs=model.meaning)
    counts = np.asarray(matrix, dtype=np.int64)
    return {
        "rows": len(y),
        "metrics": _plain({name: values[name] for name in wanted}),
        "classes": _by_class(counts, model.classes),
        "confusion_matrix": counts.tolist(),
    }


def _coverage(model: Model, outputs: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    """Return which shares of targets are not above each quantile, and inside of each interval."""
    found = model.answers_by_quantile(outputs) if model.quantiles else np.empty((len(truth), 0))
    shares = {f"below_{q:g}": np.mean(truth <= found[:, i]) for i, q in enumerate(model.quantiles)}
    for _, _, share in symmetric_pairs(model.quantiles):
        low, high = interval_between(found, model.quantiles, model.widening, share).T
        shares[f"inside_{share:g}"] = np.mean((low <= truth) & (truth <= high))
    return shares


def _by_class(counts: NDArray[np.int64], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class; 0 where there are no rows, as in metrics."""
    right, said, true = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    columns = {
        "class": names,
        "precision": (right / np.maximum(said, 1)).tolist(),
        "recall": (right / np.maximum(true, 1)).tolist(),
        "f1": (2 * right / np.maximum(said + true, 1)).tolist(),
        "rows": true.tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(values: dict[str, Any]) -> dict[str, float | None]:
    """Return plain numbers; None for undefined ones, as JSON has no NaN."""
    numbers = {name: float(value) for name, value in values.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
