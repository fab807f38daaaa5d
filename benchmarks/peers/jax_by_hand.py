"""JAX without a library on top: one compiled call for a step, or for all steps."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.work import Task

_PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "float32"}


def there(task: Task, arrays: Any) -> Any:
    """Return arrays where the task computes.

    Raises:
        RuntimeError: this JAX knows no GPU.
    """
    return jax.device_put(arrays, jax.devices("cuda" if task.device == "cuda" else "cpu")[0])


def exactly(task: Task) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which products are as exact as the task says; alone, JAX takes TF32."""
    return jax.default_matmul_precision(_PRODUCTS[task.precision])  # type: ignore[no-any-return]


def release() -> None:
    """Give back the memory of compiled programs."""
    jax.clear_caches()


def forward(params: Any, x: Any) -> Any:
    """Return the logits."""
    *hidden, (weight, bias) = params
    for w, b in hidden:
        x = jax.nn.relu(x @ w + b)
    return x @ weight + bias


def cross_entropy(params: Any, x: Any, y: Any, mixed: bool) -> Any:
    """Return the mean loss; mixed: of logits computed in bfloat16."""
    if mixed:
        params, x = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, x))
    log_probabilities = jax.nn.log_softmax(forward(params, x).astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def step(carry: Any, batch: Any, rate: float = 1e-3, mixed: bool = False) -> tuple[Any, Any]:
    """Return the carry after a step of Adam, and the loss."""
    params, m, v, t = carry
    loss, grads = jax.value_and_grad(cross_entropy)(params, *batch, mixed)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    rate = rate / (1 - 0.9**t)
    root = jnp.sqrt(1 - 0.999**t)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), params, m, v)
    return (params, m, v, t), loss


class Steps:
    """A training loop in Python around a compiled step, or one compiled program with all steps.

    The clock runs for the steps and for reading the mean loss. Batches are cut and labels are whole
    numbers beforehand, and parameters and running means are made by ``reset``; a ``fit`` checks its
    data, encodes labels, copies parameters and makes running means in its time, once for all steps.
    """

    def __init__(self, task: Task, many: bool) -> None:
        self.task = task
        self.weights = task.shared("JAX weights", lambda: there(task, task.weights))
        rows = task.x.reshape(task.steps, task.batch, -1)
        labels = task.y.astype("int32").reshape(task.steps, task.batch)
        self.one = one = partial(step, rate=task.rate, mixed=task.precision == "bfloat16")
        if many:
            self.batches = there(task, (rows, labels))
            self.train = jax.jit(lambda carry, xs: jax.lax.scan(one, carry, xs), donate_argnums=0)
        else:
            self.batches = [there(task, batch) for batch in zip(rows, labels, strict=True)]
            self.step, self.train = jax.jit(one, donate_argnums=0), self._one_by_one

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        params = jax.tree.map(partial(jnp.array, copy=True), self.weights)
        m, v = (
            jax.tree.map(lambda p: jnp.zeros_like(p, device=p.sharding), params) for _ in range(2)
        )
        self.carry = jax.block_until_ready((params, m, v, jnp.zeros((), jnp.float32)))

    def run(self) -> float:
        """Train for an epoch."""
        with exactly(self.task):
            self.carry, losses = self.train(self.carry, self.batches)
        jax.block_until_ready(self.carry)
        return float(losses.mean())

    def _one_by_one(self, carry: Any, batches: Any) -> tuple[Any, Any]:
        losses = []
        for batch in batches:
            carry, loss = self.step(carry, batch)
            losses.append(loss)
        return carry, jnp.stack(losses)


class Summing(Steps):
    """A training loop around a compiled step that adds its loss to a sum: nothing else is dispatched."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, many=False)

        def summing(carry: Any, total: Any, batch: Any) -> tuple[Any, Any]:
            carry, loss = self.one(carry, batch)
            return carry, total + loss

        self.step = jax.jit(summing, donate_argnums=(0, 1))

    def _one_by_one(self, carry: Any, batches: Any) -> tuple[Any, Any]:
        total = there(self.task, np.zeros((), np.float32))
        for batch in batches:
            carry, total = self.step(carry, total, batch)
        return carry, total / len(batches)


class Predict:
    """A compiled forward pass."""

    def __init__(self, task: Task) -> None:
        self.task, self.calls = task, task.calls
        self.x, self.params = there(task, (task.x, task.weights))
        self.forward = jax.jit(lambda params, x: jax.nn.softmax(forward(params, x)))

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        with exactly(self.task):
            for _ in range(self.calls):
                probabilities = self.forward(self.params, self.x).block_until_ready()
        return float(probabilities[:, 0].mean())


STEPS = {
    "JAX, one jit per step": partial(Steps, many=False),
    "JAX, one jit over many steps": partial(Steps, many=True),
}
PREDICT = {"JAX, jit": Predict}
GPU_STEPS = STEPS | {"JAX, one jit per step": Summing}
GPU_PREDICT = PREDICT
