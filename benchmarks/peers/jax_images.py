"""JAX on images without a library on top, channels last: one compiled call for a step."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.networks import ImageTask, Spec

_NAMES = ("NHWC", "HWIO", "NHWC")


def weights(specs: tuple[Spec, ...], shape: tuple[int, ...], rng: Any) -> tuple[list[Any], Any]:
    """Return the weights of each layer, and the shape of an output."""
    found: list[Any] = []
    for i, (kind, *numbers) in enumerate(specs):
        made, length, channels = None, shape[0], shape[-1]
        normed = specs[i + 1 : i + 2] == (("norm",),)
        match kind:
            case "conv" | "valid":
                outputs, size = numbers[:2]
                made = (
                    _drawn(rng, (size, size, channels, outputs)),
                    None if normed else jnp.zeros(outputs, jnp.float32),
                )
                step = numbers[2] if kind == "conv" else 1
                after = -(-length // step) if kind == "conv" else length - size + 1
                shape = (after, after, outputs)
            case "depthwise":
                size, step = numbers
                made = (
                    _drawn(rng, (size, size, 1, channels)),
                    None if normed else jnp.zeros(channels, jnp.float32),
                )
                shape = (-(-length // step), -(-length // step), channels)
            case "norm":
                made = jnp.ones(channels, jnp.float32), jnp.zeros(channels, jnp.float32)
            case "pool":
                shape = (length // 2, length // 2, channels)
            case "residual":
                inner, after_inner = weights(numbers[0], shape, rng)
                made = inner, weights(numbers[1], shape, rng)[0]
                shape = after_inner
            case "mean":
                shape = (channels,)
            case "flatten":
                shape = (int(np.prod(shape)),)
            case "dense":
                made = _drawn(rng, (shape[0], numbers[0])), jnp.zeros(numbers[0], jnp.float32)
                shape = (numbers[0],)
        found.append(made)
    return found, shape


def _drawn(rng: Any, shape: tuple[int, ...]) -> Any:
    bound = (6 / np.prod(shape[:-1])) ** 0.5
    return jnp.asarray(rng.uniform(-bound, bound, shape), jnp.float32)


def forward(specs: tuple[Spec, ...], params: list[Any], x: Any) -> Any:
    """Return the output of layers, batch norm by the batch's statistics."""
    for (kind, *numbers), own in zip(specs, params, strict=True):
        match kind:
            case "conv" | "valid" | "depthwise":
                size = numbers[1] if kind != "depthwise" else numbers[0]
                step = 1 if kind == "valid" else numbers[-1]
                side = 0 if kind == "valid" else size // 2
                groups = x.shape[-1] if kind == "depthwise" else 1
                x = jax.lax.conv_general_dilated(
                    x, own[0], (step, step), [(side, side)] * 2, dimension_numbers=_NAMES,
                    feature_group_count=groups,
                )  # fmt: skip
                x = x if own[1] is None else x + own[1]
            case "norm":
                mean = x.mean((0, 1, 2))
                x = (x - mean) * jax.lax.rsqrt(((x - mean) ** 2).mean((0, 1, 2)) + 1e-5)
                x = x * own[0] + own[1]
            case "relu":
                x = jax.nn.relu(x)
            case "pool":
                window = (1, 2, 2, 1)
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
            case "residual":
                x = forward(numbers[0], own[0], x) + forward(numbers[1], own[1], x)
            case "mean":
                x = x.mean((1, 2))
            case "flatten":
                x = x.reshape((len(x), -1))
            case "dense":
                x = x @ own[0] + own[1]
    return x


class Steps:
    """A training loop around a compiled step with Adam."""

    def __init__(self, task: ImageTask) -> None:
        assert task.network is not None
        self.task, specs = task, task.network.layers
        self.start, _ = weights(specs, task.network.shape, np.random.default_rng(0))
        rows = jnp.asarray(task.x).reshape((task.steps, task.batch, *task.x.shape[1:]))
        labels = jnp.asarray(task.y.astype("int32")).reshape((task.steps, task.batch))
        self.batches = list(zip(rows, labels, strict=True))

        def loss(params: Any, x: Any, y: Any) -> Any:
            logarithms = jax.nn.log_softmax(forward(specs, params, x))
            return -jnp.take_along_axis(logarithms, y[:, None], axis=1).mean()

        def step(carry: Any, batch: Any) -> Any:
            params, m, v, t = carry
            value, grads = jax.value_and_grad(loss)(params, *batch)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
            rate, root = task.rate / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
            move = partial(_moved, rate, root)
            return (jax.tree.map(move, params, m, v), m, v, t), value

        self.step = jax.jit(step, donate_argnums=0)

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        params = jax.tree.map(partial(jnp.array, copy=True), self.start)
        m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        self.carry = jax.block_until_ready((params, m, v, jnp.zeros((), jnp.float32)))

    def run(self) -> float:
        """Train for an epoch."""
        losses = []
        for batch in self.batches:
            self.carry, loss = self.step(self.carry, batch)
            losses.append(loss)
        jax.block_until_ready(self.carry)
        return float(jnp.stack(losses).mean())


def _moved(rate: Any, root: Any, p: Any, m: Any, v: Any) -> Any:
    return p - rate * m / (jnp.sqrt(v) / root + 1e-8)


CONVOLUTION = {"JAX, one jit per step": Steps}
