"""All arrays of one training step by name: what went in, sums, results, gradients, the update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbackend import activations, losses
from nnbackend.core import functional
from nnbackend.core.tree import flatten, map_arrays
from nnbackend.core.types import Context
from nnbackend.errors import DivergenceError
from nnbackend.inspection.observe import ObservedStep, Passage, observe_step

if TYPE_CHECKING:
    from nnbackend.losses import Loss
    from nnbackend.network import Network
    from nnbackend.optimizers import Optimizer

__all__ = ["SUMMARY", "Snapshot", "Values", "take_snapshot"]

Values: TypeAlias = NDArray[Any]

SUMMARY = ("smallest", "mean", "largest")
"""What ``path:summary`` and ``path:dsummary`` hold."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The arrays of one training step, NumPy arrays by name.

    Attributes:
        arrays: of each layer ``"0:x"``, ``"0:y"``, ``"0:dy"``, ``"0:dx"`` and what it notes (``"0:z"``,
            ``"0:dz"``), where they are arrays; ``"0:summary"`` and ``"0:dsummary"``: smallest number,
            mean and largest of y and dy; of each parameter ``"0.weight"``, ``"0.weight:gradient"``
            (without the penalty of a regularizer) and ``"0.weight:after"``, updated by the optimizer;
            ``"output"``, what the loss is given, ``"output:gradient"``, ``"prediction"``, the network's
            output, ``"activated"``, what the activation that the loss contains makes of ``"output"``,
            ``"target"``, ``"loss"`` and ``"learning_rate"``.
        seen: the passages, the loss and the gradients as the backend's arrays.
    """

    arrays: dict[str, Values]
    seen: ObservedStep


def take_snapshot(
    network: Network, x: Any, y: Any, loss: str | Loss, optimizer: Optimizer
) -> Snapshot:
    """Return the arrays of one training step on rows; the network makes the step.

    The update is that of ``Network.partial_fit``, the first step of the optimizer: its state,
    such as a momentum, begins anew.
    Where the loss is not finite there is none, and all parameters after it are NaN.
    """
    backend = network.backend
    seen = observe_step(network, x, y, loss, step=network.trained[0])
    with backend.scope():
        arrays: dict[str, Values] = {}
        for passage in seen.passages:
            arrays |= _arrays_of(passage, backend.to_numpy)
        for name, gradient in flatten(seen.grads).items():
            arrays[f"{name}:gradient"] = _copy(backend.to_numpy(gradient))
        for name, values in flatten(network.params).items():
            arrays[name] = _copy(backend.to_numpy(values))
        arrays |= _arrays_of_loss(seen, backend)
        arrays["loss"] = _copy(backend.to_numpy(seen.loss))
    arrays["learning_rate"] = np.array(optimizer.rate(1), dtype=np.float64)
    try:
        network.partial_fit(x, y, loss=loss, optimizer=optimizer)
        is_updated = True
    except DivergenceError:  # the library takes no such step
        is_updated = False
    with backend.scope():
        for name, values in flatten(network.params).items():
            after = _copy(backend.to_numpy(values))
            arrays[f"{name}:after"] = after if is_updated else np.full(after.shape, math.nan)
    return Snapshot(arrays, seen)


def _arrays_of(passage: Passage, to_numpy: Any) -> dict[str, Values]:
    """Return the arrays of a layer; inputs or outputs that are several arrays are left out."""
    found = {"x": passage.x, "y": passage.y, "dy": passage.dy, "dx": passage.dx, **passage.notes}
    arrays = {
        f"{passage.path}:{name}": _copy(to_numpy(value))
        for name, value in found.items()
        if hasattr(value, "shape")
    }
    for name, key in (("y", "summary"), ("dy", "dsummary")):
        parts: list[Values] = []
        map_arrays(lambda a, kept=parts: kept.append(to_numpy(a)), getattr(passage, name))
        arrays[f"{passage.path}:{key}"] = _summary(parts)
    return arrays


def _summary(arrays: list[Values]) -> Values:
    """Return the smallest number, the mean and the largest of arrays."""
    numbers = np.concatenate([np.ravel(a).astype(np.float64) for a in arrays] or [np.empty(0)])
    if not numbers.size:
        return np.full(3, math.nan)
    return np.array([numbers.min(), numbers.mean(), numbers.max()])


def _arrays_of_loss(seen: ObservedStep, backend: Any) -> dict[str, Values]:
    """Return what the loss is given, and the output of the network."""
    output, target = seen.output, seen.target
    context = Context(backend, True)
    prediction = seen.objective.output(output, context)[0]
    if hasattr(target, "ndim") and target.ndim < output.ndim:  # the numbers of classes
        target = functional.one_hot(target, output.shape[-1], output.dtype, backend.xp)
    found = {
        "output": output,
        "output:gradient": seen.dy,
        "prediction": prediction,
        "target": target,
    }
    # A network may end without it, in numbers that only the loss puts through it.
    if (name := losses.absorbed_activation(seen.objective.loss)) is not None:
        found["activated"] = activations.get(name)(output, context)[0]
    return {name: _copy(backend.to_numpy(value)) for name, value in found.items()}


def _copy(values: Values) -> Values:
    """Return an array of its own, which a later step does not change."""
    return np.array(values, copy=True)
