"""Loss and metrics of rows, given the outputs for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nnbackend import activations, regularizers
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import host_backend
from nnbackend.backends.widen import float64_sum
from nnbackend.core.registry import is_built_in
from nnbackend.core.tree import count_rows, map_arrays, slice_rows, tree_map
from nnbackend.core.types import Array, Arrays, Context, Params, State
from nnbackend.errors import DataError, given
from nnbackend.inference.predictor import Predictor
from nnbackend.layers.output_activations import OutputActivations
from nnbackend.losses import Loss
from nnbackend.losses.base import check_nesting, is_registered, unchecked
from nnbackend.metrics import Metric
from nnbackend.metrics.base import check_one_array
from nnbackend.metrics.outputs import ClassMetric
from nnbackend.metrics.per_output import OutputLoss, OutputMetric

if TYPE_CHECKING:
    from nnbackend.data.samples import Samples
    from nnbackend.training.objective import Objective

__all__ = ["NO_WEIGHT", "evaluate", "joined_rows", "measure"]

NO_WEIGHT = "no row has a weight above zero: there is no mean loss"
_LOSS_ROWS = 1 << 14


def evaluate(
    objective: Objective,
    predictor: Predictor,
    params: Params,
    state: State,
    parts: Iterable[Samples],
) -> dict[str, float]:
    """Return the loss and the metrics over samples that come in parts.

    One part is in memory at a time; for metrics the outputs and the targets of all are kept.
    """
    scorer = _Scorer(objective, predictor.backend)
    found: list[tuple[Array, float]] = []
    kept: list[list[Any]] = []
    for part in parts:
        z = part.outputs(predictor, params, state)
        rows = [scorer.convert(array) for array in (z, *part.targets(predictor.backend))]
        found += map(scorer.loss, scorer.blocks(rows))
        if objective.metrics:
            kept.append(rows)
        del part
    values = {"loss": float(scorer.mean(found) + scorer.penalty(params))}
    if kept:
        rows = [joined_rows(arrays, scorer.backend) for arrays in zip(*kept, strict=True)]
        values |= scorer.metrics(*rows)
    return values


def measure(
    objective: Objective, z: Array, y: Array, weight: Array | None, backend: Backend
) -> dict[str, float]:
    """Return the metrics of outputs, as the loss takes them."""
    if not objective.metrics:
        return {}
    scorer = _Scorer(objective, backend)
    return scorer.metrics(*map(scorer.convert, (z, y, weight)))


class _Scorer:
    """Loss, penalty and metrics, computed where that is fastest.

    They are read back at once: on JAX's CPU NumPy is done before JAX has begun. But the functions of
    users may expect the arrays of their network's library.

    Attributes:
        backend: the backend that computes them.
        xp: its namespace.
    """

    def __init__(self, objective: Objective, backend: Backend) -> None:
        self._objective, self._home = objective, backend
        # JAX compiles for each shape what NumPy does at once.
        elsewhere = backend.static_shapes and backend.in_host_memory and _is_built_in(objective)
        self.backend = host_backend(backend) if elsewhere else backend
        self.xp = self.backend.xp

    def convert(self, arrays: Arrays | None) -> Arrays | None:
        """Return arrays of the network's backend as arrays of this one."""
        return arrays if self.backend is self._home else map_arrays(self._home.to_numpy, arrays)

    def blocks(self, rows: list[Any], loss: Loss | None = None) -> Iterator[list[Any]]:
        """Yield outputs, targets and weights of so few rows that their float32 sums are good.

        A user's loss (None: that of the objective) gets all rows together, for it need not be a mean.
        """
        count = count_rows(rows[0])
        size = (
            _LOSS_ROWS if is_registered(self._objective.loss if loss is None else loss) else count
        )
        return (slice_rows(tuple(rows), i, min(i + size, count)) for i in range(0, count, size))

    def loss(self, rows: Sequence[Any], loss: Loss | None = None) -> tuple[Array, float]:
        """Return the mean loss of some rows, without the penalty, and the sum of their weights."""
        loss = self._objective.loss if loss is None else loss
        z, y, weight = rows
        total = count_rows(z) if weight is None else float64_sum(weight)
        with self.backend.scope():
            try:
                return unchecked(loss)(z, y, *_given(weight))[0], total
            except Exception as error:
                check_nesting(loss, z, y, error)
                raise

    def mean(self, found: Iterable[tuple[Array, float]]) -> float:
        """Return the mean of losses by their weights, where they have any."""
        losses, weights = zip(*found, strict=True)
        if sum(weights) == 0:
            raise DataError(NO_WEIGHT)
        if len(losses) == 1:
            return float(losses[0])
        weighted = zip(self.backend.fetch(losses), weights, strict=True)
        return float(sum(loss * weight for loss, weight in weighted if weight) / sum(weights))

    def penalty(self, params: Params) -> Array | float:
        """Return the sum of all penalties."""
        with self.backend.scope():
            return regularizers.penalty(self._objective.penalties, tree_map(self.convert, params))

    def metrics(self, z: Array, y: Array, weight: Array | None) -> dict[str, float]:
        """Return the metrics by name."""
        with self.backend.scope():
            prediction, _ = self._objective.output(z, Context(self.backend))
            last: Any = self._objective.output
            values = {}
            for name, metric in self._objective.metrics.items():
                check_one_array(name, metric, isinstance(y, tuple | dict))
                value = self._value(metric, last, z, prediction, y, weight)
                try:
                    values[name] = float(value)
                except (TypeError, ValueError, OverflowError):
                    raise TypeError(
                        f"metrics: {name} must return a number, and returned {given(value)}"
                    ) from None
            return values

    def _value(
        self, metric: Metric, last: Any, z: Arrays, prediction: Arrays, y: Arrays, weight: Any
    ) -> Any:
        """Return a metric of outputs before and after the activation ``last``."""
        if isinstance(metric, OutputMetric):
            if isinstance(last, OutputActivations):
                last = last.of(metric.place)
            own, answer, target = map(metric.part, (z, prediction, y))
            return self._value(metric.metric, last, own, answer, target, weight)
        if isinstance(metric, OutputLoss):
            blocks = self.blocks([z, y, weight], metric.loss)
            return self.mean(self.loss(rows, metric.loss) for rows in blocks)
        exact = None
        if isinstance(metric, ClassMetric) and last is not None:
            exact = metric.before(activations.name_of(last))
        return exact(z, y, weight) if exact else metric(prediction, y, *_given(weight))


def _is_built_in(objective: Objective) -> bool:
    """Return whether loss, output activation, metrics and penalties are all this library's."""
    penalties = [regularizer for _, regularizer in objective.penalties]
    parts = objective.loss, objective.output, *objective.metrics.values(), *penalties
    return all(map(is_built_in, parts))


def _given(weight: Array | None) -> tuple[Array, ...]:
    """Return the weights as an optional last argument."""
    return () if weight is None else (weight,)


def joined_rows(parts: Sequence[Arrays | None], backend: Backend) -> Arrays | None:
    """Return the rows of successive blocks together."""
    if len(parts) == 1:
        return parts[0]
    return map_arrays(lambda *same: backend.concat_rows(same), *parts)
