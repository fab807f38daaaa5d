"""How an estimator learns: batches for the stochastic solvers, SciPy's L-BFGS for ``lbfgs``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import scipy.optimize

from nnbackend import regularizers
from nnbackend.backends.base import Backend
from nnbackend.core import random
from nnbackend.core.tree import at, paths, tree_map, unflatten
from nnbackend.core.types import Array, Batch, Context, Namespace, Params
from nnbackend.data.samples import Samples
from nnbackend.training.accumulation import gradients
from nnbackend.training.objective import Objective
from nnbackend.training.trainer import Trainer

__all__ = ["PenalizedTrainer", "minimize"]

Path = tuple[str, ...]

_PRINTS = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)  # no option of later ones


def weights_of(params: Params) -> list[Path]:
    """Return the paths of what is penalized: weights, and no biases."""
    return [path for path in paths(params) if path[-1] == "weight"]


def penalized(
    value: Array,
    grads: Params,
    params: Params,
    weights: Sequence[Path],
    strength: Any,
    xp: Namespace,
) -> Array:
    """Return the loss with ``strength / 2 * sum(w**2)`` added; add its gradient to ``grads``."""
    for path in weights:
        w, tree = at(params, path), at(grads, path[:-1])
        tree[path[-1]] += strength * w  # an array that the backward pass made
        flat = xp.reshape(w, (-1,))
        value = value + (0.5 * strength) * xp.vecdot(flat, flat)
    return value


@dataclass(frozen=True)
class Penalty:
    """scikit-learn's penalty in a training step: ``alpha / 2 * sum(w**2) / (rows of the batch)``.

    Args:
        weights: the paths of what is penalized.
    """

    weights: tuple[Path, ...]

    def __call__(
        self, value: Array, grads: Params, params: Params, total: Any, alpha: Any, xp: Namespace
    ) -> tuple[Array, Params]:
        """Return a loss and its gradients with the penalty added; the gradients are consumed."""
        return penalized(value, grads, params, self.weights, alpha / total, xp), grads


class PenalizedTrainer(Trainer):
    """A trainer whose loss has scikit-learn's penalty: ``alpha / 2 * sum(w**2) / (rows of the batch)``.

    With sample weights their sum takes the place of the number of rows. The mean loss of an epoch
    counts batches by their rows either way.

    Args:
        alpha: the strength of the penalty.
        args, kwargs: those of :class:`~nnbackend.training.trainer.Trainer`.
    """

    count_rows = True

    def __init__(self, alpha: float, *args: Any, **kwargs: Any) -> None:
        params: Params = args[3]
        penalty = Penalty(tuple(weights_of(params))) if alpha else None
        super().__init__(*args, **kwargs, penalty=penalty, strength=alpha)


def minimize(
    objective: Objective,
    backend: Backend,
    params: Params,
    samples: Samples,
    order: list[Path],
    *,
    alpha: float,
    tol: float,
    max_iter: int,
    max_fun: int,
    verbose: bool,
    seed: int,
) -> Any:
    """Return what SciPy says of its minimum.

    SciPy's L-BFGS-B works on the host; loss and gradient are the backend's, in its dtype.

    Args:
        objective: what to minimize.
        backend: where.
        params: to start from.
        samples: to learn from, all in each evaluation.
        order: the paths of the parameters in SciPy's vector.
        alpha: strength of the penalty.
        tol: SciPy's ``gtol``.
        max_iter: SciPy's ``maxiter``.
        max_fun: SciPy's ``maxfun``.
        verbose: whether SciPy prints.
        seed: of what is random in the layers.
    """
    xp, weights = backend.xp, weights_of(params)
    total = len(samples) if samples.weight is None else float(xp.sum(samples.weight))

    def evaluate(current: Params, x: Array, y: Array) -> tuple[Array, Params]:
        ctx = Context(backend, True, random.forward_key(seed), 0)
        batch = Batch(x, y, samples.weight)
        value, grads = gradients(objective.layers, objective.loss, current, batch, ctx)
        if objective.penalties:
            value, grads = regularizers.penalized(objective.penalties, current, value, grads)
        return penalized(value, grads, current, weights, alpha / total, xp), grads

    def loss_and_gradient(vector: Any) -> tuple[float, Any]:
        current = tree_map(backend.asarray, unpacked(vector, params, order))
        value, grads = evaluate(current, samples.x, samples.y)
        gradient = [np.ravel(backend.to_numpy(at(grads, path))) for path in order]
        return float(value), np.concatenate(gradient).astype(np.float64, copy=False)

    start = np.concatenate([np.ravel(backend.to_numpy(at(params, path))) for path in order])
    return scipy.optimize.minimize(
        loss_and_gradient,
        start,
        method="L-BFGS-B",
        jac=True,
        options={
            "maxfun": max_fun,
            "maxiter": max_iter,
            "gtol": tol,
            **({"iprint": 1 if verbose else -1} if _PRINTS else {}),
        },
    )


def check_same_each_time(
    objective: Objective, backend: Backend, params: Params, samples: Samples, seed: int
) -> None:
    """Refuse layers that make the loss another one in each step, which a line search cannot minimize.

    Raises:
        ValueError: two steps have different outputs.
    """
    outputs = []
    for step in (0, 1):
        ctx = Context(backend, True, random.forward_key(seed), step)
        outputs.append(objective.layers.forward(params, samples.x, ctx)[0])
    if not bool(backend.xp.all(outputs[0] == outputs[1])):
        raise ValueError(
            "solver='lbfgs' minimizes a function that is the same each time, so layers such as "
            "dropout cannot be trained by it; take solver='adam' or 'sgd'"
        )


def unpacked(vector: Any, params: Params, order: list[Path]) -> Params:
    """Return copies of the parameters in a vector, shaped and nested as ``params`` are."""
    flat, start = {}, 0
    for path in order:
        shape = tuple(at(params, path).shape)
        stop = start + math.prod(shape)
        flat[".".join(path)] = vector[start:stop].reshape(shape).copy()
        start = stop
    return unflatten(flat, params)
