"""Loss and metrics of rows, given the outputs for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nnbackend import regularizers
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import host_backend
from nnbackend.core.registry import is_built_in
from nnbackend.core.tree import map_arrays, tree_map
from nnbackend.core.types import Array, Arrays, Context, Params, State
from nnbackend.inference.predictor import Predictor

if TYPE_CHECKING:
    from nnbackend.data.samples import Samples
    from nnbackend.training.objective import Objective

__all__ = ["evaluate", "evaluate_parts", "joined_rows", "measure"]


def evaluate(
    objective: Objective, predictor: Predictor, params: Params, state: State, samples: Samples
) -> dict[str, float]:
    """Return the loss and the metrics over all samples; the predictor is of the objective's layers."""
    backend = predictor.backend
    z = samples.outputs(predictor, params, state)
    scorer = _Scorer(objective, backend)
    rows = [scorer.convert(array) for array in (z, *samples.targets(backend))]
    loss = scorer.loss(*rows) + scorer.penalty(params)
    return {"loss": float(loss)} | scorer.metrics(*rows)


def evaluate_parts(
    objective: Objective,
    predictor: Predictor,
    params: Params,
    state: State,
    parts: Iterable[tuple[Samples, int]],
) -> dict[str, float]:
    """Return the loss and the metrics over samples that come in blocks.

    One block is in memory at a time; for metrics the outputs and the targets of all are kept.
    """
    scorer = _Scorer(objective, predictor.backend)
    losses, weights, kept = [], [], []
    for part, _ in parts:
        z = predictor.predict(params, state, part.x)
        rows = [scorer.convert(array) for array in (z, part.y, part.weight)]
        losses.append(scorer.loss(*rows))
        weights.append(len(part) if part.weight is None else float(scorer.xp.sum(rows[2])))
        if objective.metrics:
            kept.append(rows)
        del part
    weighted = zip(scorer.backend.fetch(losses), weights, strict=True)
    loss = sum(loss * weight for loss, weight in weighted) / sum(weights) + scorer.penalty(params)
    if not kept:
        return {"loss": float(loss)}
    rows = [joined_rows(arrays, scorer.backend) for arrays in zip(*kept, strict=True)]
    return {"loss": float(loss)} | scorer.metrics(*rows)


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

    def loss(self, z: Array, y: Array, weight: Array | None) -> Array:
        """Return the mean loss, without the penalty."""
        with self.backend.scope():
            return self._objective.loss(z, y, *_given(weight))[0]

    def penalty(self, params: Params) -> Array | float:
        """Return the sum of all penalties."""
        with self.backend.scope():
            return regularizers.penalty(self._objective.penalties, tree_map(self.convert, params))

    def metrics(self, z: Array, y: Array, weight: Array | None) -> dict[str, float]:
        """Return the metrics by name."""
        with self.backend.scope():
            prediction, _ = self._objective.output(z, Context(self.backend))
            found = self._objective.metrics.items()
            return {name: float(f(prediction, y, *_given(weight))) for name, f in found}


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
