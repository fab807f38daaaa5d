"""Metrics by name, and the sums that they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from nnbackend.backends.base import namespace
from nnbackend.core.checks import check_items, check_takes, check_text, named
from nnbackend.core.registry import Registry
from nnbackend.core.shapes import is_shape
from nnbackend.core.types import Array, Shape

__all__ = ["METRICS", "Metric", "get", "mean", "ratio", "resolve"]

Metric: TypeAlias = Callable[..., Any]
"""``metric(prediction, target, sample_weight=None) -> number``; any such function works.

An attribute ``larger_is_better``, True or False, tells callbacks that watch it which values are better.
"""

METRICS = Registry("metric")
get: Callable[[str | Metric], Metric] = METRICS.get


def resolve(
    specs: Iterable[str | Metric] | Mapping[str, Metric] | None,
    outputs: str | None = None,
    shape: Shape = (),
) -> dict[str, Metric]:
    """Return metrics by name; the names become columns of the history.

    Args:
        specs: names and functions, or functions by name; None: none.
        outputs: the meaning of the network's outputs, for metrics of classes that have none of their
            own. See :mod:`nnbackend.metrics.outputs`.
        shape: the shape of one row of outputs.

    Raises:
        UnknownNameError: no metric has that name.
        ValueError: a name is given twice, or is one of the history's own; or a metric makes no sense
            for such outputs.
    """
    specs = [specs] if isinstance(specs, str) else () if specs is None else specs
    if isinstance(specs, Mapping):
        pairs = [(check_text("a name in metrics", name), spec) for name, spec in specs.items()]
    else:
        wanted = "names and functions of metrics, or {name: function}"
        pairs = [(_name(spec), spec) for spec in check_items("metrics", specs, wanted)]
    metrics: dict[str, Metric] = {}
    for name, spec in pairs:
        if name in metrics or name in ("loss", "epoch", "seconds", "learning_rate"):
            raise ValueError(
                f"the metric name {name!r} is taken; give the metrics as {{name: metric}}"
            )
        with named("metrics"):
            metric = get(spec)
        check_one_array(name, metric, not is_shape(shape))
        if METRICS.name_of(metric) is None:
            check_takes(f"metrics: {name}", metric, "prediction", "target")
        for_outputs = getattr(metric, "for_outputs", None)
        metrics[name] = metric if for_outputs is None else for_outputs(outputs, shape)
    return metrics


def check_one_array(name: str, metric: Metric, several: bool) -> None:
    """Refuse a metric of the library, which compares one array with another, for several."""
    if several and METRICS.name_of(metric) is not None:
        raise ValueError(
            f"metrics: {name} compares one array of outputs with one of targets, and here are several: "
            "give metrics by output, {output: [metric, ...]}, or functions of yours, "
            "{name: function(outputs, targets)}"
        )


def _name(spec: Any) -> str:
    if isinstance(spec, str):
        return spec
    return METRICS.name_of(spec) or str(getattr(spec, "__name__", type(spec).__name__))


def mean(values: Array, weight: Array | None) -> Array:
    """Return the mean over all numbers; weights have one for each row, and as many axes."""
    xp = namespace(values)
    if weight is None:
        return xp.mean(values)
    return xp.sum(values * weight) / (xp.sum(weight) * math.prod(values.shape[1:]))


def ratio(part: Array, whole: Array) -> Array:
    """Return ``part / whole``, and 0 where the whole is 0."""
    xp = namespace(part)
    none = whole == 0.0
    return xp.where(none, 0.0, part / xp.where(none, 1.0, whole))
