"""How an estimator learns: batches for the stochastic solvers, SciPy's L-BFGS for ``lbfgs``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import scipy.optimize

from nnbackend import random
from nnbackend.backend import Backend
from nnbackend.layout import layout_for
from nnbackend.optimizers import Optimizer
from nnbackend.training import Objective, Samples, Trainer
from nnbackend.tree import at, paths, tree_map, unflatten
from nnbackend.types import Array, Context, Namespace, Params

__all__ = ["PenalizedTrainer", "minimize"]

Path = tuple[str, ...]

_PRINTS = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)  # no option of later ones


def weights_of(params: Params) -> list[Path]:
    """Return the paths of what is penalised: weights, and no biases."""
    return [path for path in paths(params) if path[-1] == "weight"]


def penalized(
    value: Array,
    grads: Params,
    params: Params,
    weights: list[Path],
    strength: Any,
    xp: Namespace,
) -> Array:
    """Return the loss with ``strength / 2 * sum(w**2)`` added; add its gradient to ``grads``."""
    for path in weights:
        w, tree = at(params, path), at(grads, path[:-1])
        tree[path[-1]] += strength * w
        flat = xp.reshape(w, (-1,))
        value = value + (0.5 * strength) * xp.vecdot(flat, flat)
    return value


class PenalizedTrainer(Trainer):
    """A trainer whose loss has scikit-learn's penalty: ``alpha / 2 * sum(w**2) / (rows of the batch)``.

    With sample weights their sum takes the place of the number of rows. The mean loss of an epoch
    counts batches by their rows either way.

    Args:
        alpha: the strength of the penalty.
        objective: see :class:`~nnbackend.training.Trainer`, as for the rest.
    """

    def __init__(
        self,
        alpha: float,
        objective: Objective,
        optimizer: Optimizer,
        backend: Backend,
        params: Params,
        seed: int,
    ) -> None:
        super().__init__(objective, optimizer, backend, params, seed)
        self._run = _training_step(alpha, objective, optimizer, backend, seed, weights_of(params))


def _training_step(
    alpha: float,
    objective: Objective,
    optimizer: Optimizer,
    backend: Backend,
    seed: int,
    weights: list[Path],
) -> Callable[..., Any]:
    """Return the training step of :mod:`nnbackend.training` with the penalty in it."""
    layout, xp, key = layout_for(backend, optimizer), backend.xp, random.pass_key(seed)
    layers, loss, watched = objective.layers, objective.loss, bool(objective.metrics)
    shared = None if backend.static_shapes else Context(backend, True, key)

    def step(
        carry: Any, x: Array, y: Array, weight: Array | None, scalars: Any, number: Any
    ) -> tuple[Any, tuple[Array, None, Array | None]]:
        ctx = shared or Context(backend, True, key)
        ctx.step = number
        params = layout.params(carry)
        prediction, backward = layers.forward(params, x, ctx)
        if weight is None:
            value, dy = loss(prediction, y)
            total = x.shape[0]
        else:
            value, dy = loss(prediction, y, weight)
            total = xp.sum(weight)
        _, grads = backward(dy, input_grad=False)
        if alpha:
            value = penalized(value, grads, params, weights, alpha / total, xp)
        carry = layout.update(carry, grads, scalars)
        return carry, (value, None, prediction if watched else None)

    return backend.scan(step)


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
        objective: what to minimise.
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
    extra = () if samples.weight is None else (samples.weight,)

    def evaluate(current: Params, x: Array, y: Array) -> tuple[Array, Params]:
        ctx = Context(backend, True, random.pass_key(seed), 0)
        prediction, backward = objective.layers.forward(current, x, ctx)
        value, dy = objective.loss(prediction, y, *extra)
        _, grads = backward(dy, input_grad=False)
        return penalized(value, grads, current, weights, alpha / total, xp), grads

    compiled = backend.compile(evaluate)

    def loss_and_gradient(vector: Any) -> tuple[float, Any]:
        current = tree_map(backend.asarray, unpacked(vector, params, order))
        value, grads = compiled(current, samples.x, samples.y)
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


def unpacked(vector: Any, params: Params, order: list[Path]) -> Params:
    """Return copies of the parameters in a vector, shaped and nested as ``params`` are."""
    flat, start = {}, 0
    for path in order:
        shape = tuple(at(params, path).shape)
        stop = start + math.prod(shape)
        flat[".".join(path)] = vector[start:stop].reshape(shape).copy()
        start = stop
    return unflatten(flat, params)
