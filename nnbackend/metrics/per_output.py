"""Metrics of a network with several outputs: of each by its name, or of all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Arrays, Shape
from nnbackend.errors import UnknownNameError, listed, unknown_name
from nnbackend.losses import Loss
from nnbackend.metrics.base import METRICS, Metric, resolve

__all__ = ["OneOutput", "OutputLoss", "OutputMetric", "resolve_by_output"]


@dataclass(frozen=True)
class OneOutput:
    """One of several outputs, as metrics need to know it.

    Attributes:
        place: its key in the dictionary of outputs, or its number in the tuple.
        shape: the shape of a row.
        meaning: what it means, see :mod:`nnbackend.metrics.outputs`; or None.
        loss: its loss; None: there is one for all outputs together.
    """

    place: str | int
    shape: Shape
    meaning: str | None = None
    loss: Loss | None = None


@dataclass(frozen=True)
class OutputLoss:
    """The loss of an output as a metric, without its weight among the losses."""

    loss: Loss
    larger_is_better = False

    def __call__(self, prediction: Array, target: Array, sample_weight: Array | None = None) -> Any:
        extra = () if sample_weight is None else (sample_weight,)
        return self.loss(prediction, target, *extra)[0]


@dataclass(frozen=True)
class OutputMetric:
    """A metric of one of several outputs.

    Args:
        place: the key of the output in a dictionary, or its number in a tuple.
        metric: takes the output and its target.
    """

    place: str | int
    metric: Metric

    @property
    def larger_is_better(self) -> bool | None:
        """Which values are better, as the metric says; None: it does not."""
        return getattr(self.metric, "larger_is_better", None)

    def part(self, arrays: Arrays) -> Array:
        """Return the output's array of a tree."""
        return arrays[self.place]

    def __call__(
        self, prediction: Arrays, target: Arrays, sample_weight: Array | None = None
    ) -> Any:
        extra = () if sample_weight is None else (sample_weight,)
        return self.metric(self.part(prediction), self.part(target), *extra)


def resolve_by_output(
    specs: Iterable[str | Metric] | Mapping[str, Any] | None, outputs: Mapping[str, OneOutput]
) -> dict[str, Metric]:
    """Return metrics by name, ``price_mae`` for the metric ``mae`` of the output ``price``.

    The losses of the outputs are among them, as ``price_loss``, unless ``specs`` is None.

    Args:
        specs: metrics by output: a mapping of its name to a metric or to several, as
            :func:`resolve` takes them; of a tuple of outputs also a sequence of lists in their order.
            A name that is no output, with a function, is one of all outputs together.
        outputs: the outputs by name.

    Raises:
        UnknownNameError: there is no such output or metric.
        ValueError: a name is given twice, or a metric is not for such an output.
    """
    if specs is None:
        return {}
    found: dict[str, Metric] = {}

    def add(name: str, metric: Metric) -> None:
        if name in found:
            raise ValueError(f"metrics: two have the name {name!r} in the history: rename one")
        found[name] = metric

    for name, output in outputs.items():
        if output.loss is not None:
            add(f"{name}_loss", OutputMetric(output.place, OutputLoss(output.loss)))
    given = _by_output(specs, outputs)
    if not isinstance(given, Mapping):
        for name, metric in resolve(given, None, _several(outputs)).items():
            add(name, metric)
        return found
    for name, spec in given.items():
        if isinstance(spec, OutputMetric):  # those of the last fit
            if not isinstance(spec.metric, OutputLoss):
                add(name, spec)
        elif name in outputs:
            output = outputs[name]
            several = spec is None or isinstance(spec, str | list | tuple | Mapping)
            for own, metric in resolve(
                spec if several else [spec], output.meaning, output.shape
            ).items():
                add(f"{name}_{own}", OutputMetric(output.place, metric))
        elif isinstance(spec, str | list | tuple | Mapping) or METRICS.name_of(spec) is not None:
            raise UnknownNameError(f"metrics: {unknown_name('output', name, outputs)}")
        else:
            for own, metric in resolve({name: spec}, None, _several(outputs)).items():
                add(own, metric)
    return found


def _by_output(specs: Any, outputs: Mapping[str, OneOutput]) -> Any:
    """Return a sequence with a list of metrics for each of a tuple of outputs as a mapping."""
    if not isinstance(specs, list | tuple) or not specs:
        return specs
    if not all(spec is None or isinstance(spec, list | tuple | Mapping) for spec in specs):
        return specs
    if not all(isinstance(output.place, int) for output in outputs.values()):
        raise ValueError(
            "metrics must be a mapping by the names of the outputs, which are a dictionary: "
            f"{listed(map(repr, outputs))}"
        )
    if len(specs) != len(outputs):
        raise ValueError(
            f"metrics has {len(specs)} lists, and the network {len(outputs)} outputs: "
            f"{listed(map(repr, outputs))}"
        )
    return dict(zip(outputs, specs, strict=True))


def _several(outputs: Mapping[str, OneOutput]) -> Any:
    return {name: output.shape for name, output in outputs.items()}
