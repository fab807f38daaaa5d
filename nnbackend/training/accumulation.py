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

from nnbackend.core.tree import count_rows, map_arrays, slice_rows, tree_map
from nnbackend.core.types import Array, Batch, Context, Layer, Params, State
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
    batch: Batch,
    ctx: Context,
) -> tuple[Array, Array, Params, State]:
    """Return the loss of a batch, the output, the gradients of the parameters, and the new state."""
    prediction, backward = layers.forward(params, batch.x, ctx)
    value, dy = _value_and_gradient(loss, prediction, batch.y, batch.weight)
    _, grads = backward(dy, input_grad=False)
    return value, prediction, grads, _new_state(ctx)


def accumulate_gradients(
    parts: Parts,
    watched: bool,
    layers: Layer,
    loss: Loss,
    params: Params,
    batch: Batch,
    ctx: Context,
) -> tuple[Array, Array | None, Params, State]:
    """Return what :func:`gradients` does, computed one part after the other.

    Part ``m`` of step ``t`` draws the random numbers of step ``t * parts.count + m``, so that each has
    dropout masks of its own, and finds the state that the part before it left. The output is None
    unless it is ``watched``.
    """
    xp, size, rows = ctx.xp, parts.rows, count_rows(batch.x)
    first_number, first_row, total = ctx.step * parts.count, ctx.first_row, rows
    if batch.weight is not None:
        total = xp.sum(batch.weight)
        total = xp.where(total > 0.0, total, xp.ones_like(total))  # all weights 0: no gradient

    def part(number: Any, batch: Batch, state: State) -> Any:
        """Return what a part adds to loss and gradients, with the new state, and its output."""
        ctx.start_pass(first_number + number, state, batch.weight, first_row)
        prediction, backward = layers.forward(params, batch.x, ctx)
        value, dy = _value_and_gradient(loss, prediction, batch.y, batch.weight)
        share = (count_rows(batch.x) if batch.weight is None else xp.sum(batch.weight)) / total
        _, grads = backward(map_arrays(lambda d: d * share, dy), input_grad=False)
        return (value * share, grads), _new_state(ctx), prediction if watched else None

    def cut(start: int, stop: int) -> Batch:
        return slice_rows(batch, start, stop)  # type: ignore[no-any-return]

    whole = rows // size  # parts of full size
    sums, state, output = part(0, cut(0, min(size, rows)), ctx.whole_state)
    outputs = [output]
    if whole > 1:  # as one loop, which a compiler need not unroll
        middle = map_arrays(
            lambda a: xp.reshape(a, (whole - 1, size, *a.shape[1:])), cut(size, whole * size)
        )

        def add(carry: Any, i: Any) -> Any:
            sums, state = carry
            more, state, output = part(i + 1, map_arrays(lambda a: a[i, ...], middle), state)
            return (_added(sums, more), state), output

        (sums, state), stacked = ctx.backend.loop(add, (sums, state), whole - 1)
        if watched:
            flat = (whole - 1) * size
            outputs.append(map_arrays(lambda o: xp.reshape(o, (flat, *o.shape[2:])), stacked))
    if 0 < whole * size < rows:
        more, state, output = part(whole, cut(whole * size, rows), state)
        sums = _added(sums, more)
        outputs.append(output)
    value, grads = sums
    joined = map_arrays(lambda *same: xp.concat(list(same)), *outputs)
    return value, joined if watched else None, grads, state


def _new_state(ctx: Context) -> State:
    """Return the state after a pass; rows that all have weight 0, as padding has, leave it as it was."""
    old, new, weight = ctx.whole_state, ctx.new_state(), ctx.row_weight
    if weight is None or not old:
        return new
    counts = ctx.xp.sum(weight) > 0.0
    return tree_map(lambda a, b: ctx.xp.where(counts, a, b), new, old)


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
    wanted, got = (map_arrays(lambda a: tuple(a.shape), tree) for tree in (prediction, dy))
    if wanted != got:
        raise ValueError(
            f"the gradient that {_called(loss)} returns must have the prediction's shape "
            f"{wanted}, got {got}"
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
