"""Gradient accumulation: the gradient of a batch from microbatches that fit in memory.

The loss of a batch is a mean over its rows, weighted if they have weights. With the rows' weights adding
up to ``W``, and to ``W_m`` in microbatch ``m``, loss and gradient of the whole are the sums over the
microbatches of theirs times ``W_m / W``. So the loss's gradient at the output is multiplied by
``W_m / W``, and what the backward passes give is added up: the same as in one pass, to rounding.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.tree import count_rows, map_arrays, slice_rows, tree_map
from nnbackend.core.types import Array, Arrays, Batch, Context, Layer, Params, State
from nnbackend.errors import given
from nnbackend.losses import Loss
from nnbackend.losses.base import check_nesting, unchecked, weighs_rows

__all__ = ["Microbatches", "accumulate_gradients", "gradients", "loss_and_gradient", "state_after"]


@dataclass(frozen=True)
class Microbatches:
    """The most microbatches that a batch has, and the rows of each; the last may have fewer."""

    count: int
    rows: int


def gradients(
    layers: Layer, loss: Loss, params: Params, batch: Batch, ctx: Context
) -> tuple[Array, Params]:
    """Return the loss of a batch, and its gradients with respect to the parameters."""
    output, backward = layers.forward(params, batch.x, ctx)
    value, dy = loss_and_gradient(loss, output, batch)
    _, grads = backward(dy, input_grad=False)
    return value, grads


def accumulate_gradients(
    microbatches: Microbatches,
    with_output: bool,
    layers: Layer,
    loss: Loss,
    params: Params,
    batch: Batch,
    ctx: Context,
) -> tuple[Array, Arrays | None, Params, State]:
    """Return loss, output, gradients and new state of a batch, computed one microbatch after the other.

    Microbatch ``m`` of step ``t`` draws the random numbers of step ``t * microbatches.count + m``, so
    that each has its own dropout masks, and gets the state of the one before. The
    output is None unless ``with_output``; in ``ctx`` the pass was started.
    """
    xp, size, rows = ctx.xp, microbatches.rows, count_rows(batch.x)
    # The rows of a process may begin within a microbatch of the whole batch: they go on with it.
    begun, first_row = divmod(ctx.first_row, size)
    first_number, total = ctx.step * microbatches.count + begun, rows
    if batch.weight is not None:
        total = xp.sum(batch.weight)
        total = xp.where(total > 0.0, total, xp.ones_like(total))  # all weights 0: no gradient

    def run(number: Any, part: Batch, state: State, first_row: int = 0) -> Any:
        """Return the shares of a microbatch in loss and gradients, the new state, and its output."""
        ctx.start_pass(first_number + number, state, part.weight, first_row)
        output, backward = layers.forward(params, part.x, ctx)
        value, dy = loss_and_gradient(loss, output, part)
        share = (count_rows(part.x) if part.weight is None else xp.sum(part.weight)) / total
        _, grads = backward(map_arrays(lambda d: d * share, dy), input_grad=False)
        return (value * share, grads), state_after(ctx), output if with_output else None

    head = min(size - first_row, rows)
    sums, state, output = run(0, slice_rows(batch, 0, head), ctx.whole_state, first_row)
    outputs = [output]
    whole = (rows - head) // size  # microbatches of full size after the first one
    end = head + whole * size
    if whole > 0:  # as one loop, which a compiler need not unroll
        middle = map_arrays(
            lambda a: xp.reshape(a, (whole, size, *a.shape[1:])), slice_rows(batch, head, end)
        )

        def add(carry: Any, i: Any) -> Any:
            sums, state = carry
            more, state, output = run(i + 1, map_arrays(lambda a: a[i, ...], middle), state)
            return (_add_up(sums, more), state), output

        (sums, state), stacked = ctx.backend.loop(add, (sums, state), whole)
        outputs.append(map_arrays(lambda a: xp.reshape(a, (whole * size, *a.shape[2:])), stacked))
    if end < rows:
        more, state, output = run(whole + 1, slice_rows(batch, end, rows), state)
        sums = _add_up(sums, more)
        outputs.append(output)
    value, grads = sums
    return value, map_arrays(lambda *parts: xp.concat(list(parts)), *outputs), grads, state


def state_after(ctx: Context) -> State:
    """Return the state after a pass; rows that all have weight 0, as padding has, leave it as it was."""
    old, new, weight = ctx.whole_state, ctx.new_state(), ctx.row_weight
    if weight is None or not old:
        return new
    counts = ctx.xp.sum(weight) > 0.0
    return tree_map(lambda a, b: ctx.xp.where(counts, a, b), new, old)


def loss_and_gradient(loss: Loss, output: Arrays, batch: Batch) -> tuple[Array, Arrays]:
    """Return the loss of a batch and its gradient at the output.

    Raises:
        TypeError, ValueError: a loss that a user wrote returned something else.
    """
    weight, function, counts = batch.weight, unchecked(loss), None
    if weight is not None and not weighs_rows(loss):
        # Of rows that all have weight 0 a user's mean would be 0 / 0.
        xp = namespace(weight)
        counts = xp.sum(weight) > 0.0
        weight = xp.where(counts, weight, xp.ones_like(weight))
    try:
        found = function(output, batch.y) if weight is None else function(output, batch.y, weight)
    except Exception as error:
        check_nesting(loss, output, batch.y, error)
        raise
    try:
        value, dy = found
    except (TypeError, ValueError):
        raise TypeError(
            "a loss returns its value and the gradient at the prediction, (value, dy); "
            f"{_name(loss)} returned {type(found).__name__}"
        ) from None
    if getattr(value, "shape", ()) != ():
        raise TypeError(f"the value of a loss is a number; {_name(loss)} returned {given(value)}")
    if isinstance(output, (tuple, dict)):
        map_arrays(lambda y, d: _check_shape(y, d, loss), output, dy)
    else:
        _check_shape(output, dy, loss)
    if counts is not None:
        value, dy = map_arrays(lambda a: xp.where(counts, a, xp.zeros_like(a)), (value, dy))
    return value, dy


def _check_shape(output: Array, dy: Array, loss: Loss) -> None:
    """Check the shape of the gradient that a loss returned."""
    if dy.shape != output.shape:
        raise ValueError(
            f"the gradient that {_name(loss)} returns must have the prediction's shape "
            f"{tuple(output.shape)}, got {tuple(dy.shape)}"
        )


def _name(loss: Loss) -> str:
    return str(getattr(loss, "__name__", loss))


def _add_up(sums: tuple[Array, Params], more: tuple[Array, Params]) -> tuple[Array, Params]:
    """Return loss and gradients with those of one more microbatch; the sums are consumed."""
    return sums[0] + more[0], tree_map(operator.iadd, sums[1], more[1])
