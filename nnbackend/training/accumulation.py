"""Gradient accumulation: the gradient of a batch from parts of it that fit in memory.

The loss of a batch is a mean over its rows, weighted if they have weights. With the rows' weights adding
up to ``W``, and to ``W_m`` in part ``m``, loss and gradient of the whole are the sums over the parts of
theirs times ``W_m / W``. So the loss's gradient at the output is multiplied by ``W_m / W``, and what the
parts' backward passes give is added up: the same as in one pass, to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend.core.tree import tree_map
from nnbackend.core.types import Array, Context, Layer, Params
from nnbackend.losses import Loss

__all__ = ["Parts", "accumulate_gradients", "gradients"]


@dataclass(frozen=True)
class Parts:
    """How a batch is divided.

    Attributes:
        count: the most parts that a batch has.
        rows: of each part. The last may have fewer, and the last batch of an epoch fewer parts.
    """

    count: int
    rows: int

    @classmethod
    def of(cls, count: int, batch_size: int) -> Parts:
        """Return the parts of batches of a size."""
        return cls(count, math.ceil(batch_size / count))


def gradients(
    layers: Layer,
    loss: Loss,
    params: Params,
    x: Array,
    y: Array,
    weight: Array | None,
    ctx: Context,
) -> tuple[Array, Array, Params]:
    """Return the loss of a batch, the output and the gradients of the parameters."""
    prediction, backward = layers.forward(params, x, ctx)
    value, dy = _value_and_gradient(loss, prediction, y, weight)
    _, grads = backward(dy, input_grad=False)
    return value, prediction, grads


def accumulate_gradients(
    parts: Parts,
    watched: bool,
    layers: Layer,
    loss: Loss,
    params: Params,
    x: Array,
    y: Array,
    weight: Array | None,
    ctx: Context,
) -> tuple[Array, Array | None, Params]:
    """Return what :func:`gradients` does, computed one part after the other.

    Part ``m`` of step ``t`` draws the random numbers of step ``t * parts.count + m``, so that each has
    dropout masks of its own. The output is None unless it is ``watched``.
    """
    xp, size, rows = ctx.xp, parts.rows, x.shape[0]
    first_number, total = ctx.step * parts.count, rows
    if weight is not None:
        total = xp.sum(weight)
        total = xp.where(total > 0.0, total, xp.ones_like(total))  # all weights 0: no gradient

    def part(number: Any, x: Array, y: Array, weight: Array | None) -> Any:
        """Return what a part adds to loss and gradients, and its output."""
        ctx.step = first_number + number
        prediction, backward = layers.forward(params, x, ctx)
        value, dy = _value_and_gradient(loss, prediction, y, weight)
        share = (x.shape[0] if weight is None else xp.sum(weight)) / total
        _, grads = backward(dy * share, input_grad=False)
        return (value * share, grads), prediction if watched else None

    def cut(start: int, stop: int) -> Any:
        return (None if a is None else a[start:stop, ...] for a in (x, y, weight))

    whole = rows // size  # parts of full size
    sums, output = part(0, *cut(0, min(size, rows)))
    outputs = [output]
    if whole > 1:  # as one loop, which a compiler need not unroll
        middle = [
            None if a is None else xp.reshape(a, (whole - 1, size, *a.shape[1:]))
            for a in cut(size, whole * size)
        ]

        def add(sums: Any, i: Any) -> Any:
            more, output = part(i + 1, *(None if a is None else a[i, ...] for a in middle))
            return _added(sums, more), output

        sums, stacked = ctx.backend.loop(add, sums, whole - 1)
        if watched:
            outputs.append(xp.reshape(stacked, ((whole - 1) * size, *stacked.shape[2:])))
    if 0 < whole * size < rows:
        more, output = part(whole, *cut(whole * size, rows))
        sums = _added(sums, more)
        outputs.append(output)
    value, grads = sums
    return value, xp.concat(outputs) if watched else None, grads


def _value_and_gradient(
    loss: Loss, prediction: Array, y: Array, weight: Array | None
) -> tuple[Array, Array]:
    """Return the loss and its gradient at the prediction.

    Raises:
        TypeError, ValueError: a loss of the user's own returned something else.
    """
    found = loss(prediction, y) if weight is None else loss(prediction, y, weight)
    try:
        value, dy = found
    except (TypeError, ValueError):
        raise TypeError(
            "a loss returns its value and the gradient at the prediction, (value, dy); "
            f"{_called(loss)} returned {type(found).__name__}"
        ) from None
    if dy.shape != prediction.shape:
        raise ValueError(
            f"the gradient that {_called(loss)} returns must have the prediction's shape "
            f"{tuple(prediction.shape)}, got {tuple(dy.shape)}"
        )
    return value, dy


def _called(loss: Loss) -> str:
    return str(getattr(loss, "__name__", loss))


def _added(sums: tuple[Array, Params], more: tuple[Array, Params]) -> tuple[Array, Params]:
    """Return loss and gradients with those of one more part; the sums are consumed."""
    return sums[0] + more[0], tree_map(_add, sums[1], more[1])


def _add(total: Array, more: Array) -> Array:
    total += more
    return total
