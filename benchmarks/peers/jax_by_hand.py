"""JAX without a library on top: one compiled call for a step, or for all steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.work import Task


def forward(params: Any, x: Any) -> Any:
    """Return the logits."""
    *hidden, (weight, bias) = params
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ weight + bias


def cross_entropy(params: Any, x: Any, y: Any) -> Any:
    """Return the mean loss."""
    log_probabilities = jax.nn.log_softmax(forward(params, x))
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def step(carry: Any, batch: Any) -> tuple[Any, Any]:
    """Return the carry after a step of Adam, and the loss."""
    params, m, v, t = carry
    loss, grads = jax.value_and_grad(cross_entropy)(params, *batch)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    rate = 1e-3 / (1 - 0.9**t)
    root = jnp.sqrt(1 - 0.999**t)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), params, m, v)
    return (params, m, v, t), loss


class Steps:
    """A training loop in Python around a compiled step, or one compiled program with all steps.

    The clock runs for the steps and for reading the mean loss. Batches are cut, and parameters and
    running means made, beforehand. A ``fit`` checks its data, encodes labels, copies parameters and
    makes running means within its time, once for all steps.
    """

    def __init__(self, task: Task, many: bool) -> None:
        self.weights = task.weights
        x = jnp.asarray(task.x).reshape(task.steps, task.batch, -1)
        y = jnp.asarray(task.y, dtype=jnp.int32).reshape(task.steps, task.batch)
        self.batches: Any = (x, y) if many else list(zip(x, y, strict=True))
        if many:
            self.train = jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs), donate_argnums=0)
        else:
            self.step, self.train = jax.jit(step, donate_argnums=0), self._one_by_one

    def reset(self) -> None:
        """Take the initial weights and a new optimiser."""
        params = jax.tree.map(partial(jnp.array, copy=True), self.weights)
        m, v = jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)
        self.carry = jax.block_until_ready((params, m, v, jnp.zeros(())))

    def run(self) -> float:
        """Train for an epoch."""
        self.carry, losses = self.train(self.carry, self.batches)
        jax.block_until_ready(self.carry)
        return float(losses.mean())

    def _one_by_one(self, carry: Any, batches: Any) -> tuple[Any, Any]:
        losses = []
        for batch in batches:
            carry, loss = self.step(carry, batch)
            losses.append(loss)
        return carry, jnp.stack(losses)


class Predict:
    """A compiled forward pass."""

    def __init__(self, task: Task) -> None:
        self.x, self.calls = jnp.asarray(task.x), task.calls
        self.params = jax.tree.map(jnp.asarray, task.weights)
        self.forward = jax.jit(lambda params, x: jax.nn.softmax(forward(params, x)))

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        for _ in range(self.calls):
            probabilities = self.forward(self.params, self.x).block_until_ready()
        return float(probabilities[:, 0].mean())


STEPS = {
    "JAX, one jit per step": partial(Steps, many=False),
    "JAX, one jit over many steps": partial(Steps, many=True),
}
PREDICT = {"JAX, jit": Predict}
