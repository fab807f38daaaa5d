"""A partner for each row of a batch, and mixtures of rows with their partners."""

from __future__ import annotations

from typing import Any

from nnbackend.core.tree import count_rows, map_arrays
from nnbackend.core.types import Array, Batch, Context
from nnbackend.transforms.base import row_words

__all__ = ["mixed", "mixed_targets", "partners"]


def partners(batch: Batch, ctx: Context) -> Array:
    """Return the number of each row's partner.

    The rows are put in a random order, and each has the next one for its partner, the last the first: so
    every row is the partner of one other. Rows of weight 0 are nobody's but their own.
    """
    xp, rows, weight = ctx.xp, count_rows(batch.x), batch.weight
    keys = row_words(ctx, rows, 1)[:, 0]
    count: Any = rows
    if weight is not None:
        counts = weight > 0.0
        keys = xp.where(counts, keys, xp.full_like(keys, 1 << 24))  # behind all others
    order = xp.argsort(keys, stable=True)
    if weight is not None:
        count = xp.sum(xp.astype(counts, order.dtype), dtype=order.dtype)
    following = xp.argsort(order, stable=True) + 1
    following = xp.where(following < count, following, xp.zeros_like(following))
    partner = xp.take(order, following)
    if weight is None:
        return partner
    own = xp.arange(rows, dtype=order.dtype, device=ctx.backend.device)
    return xp.where(counts, partner, own)


def mixed(array: Array, partner: Array, share: Array, ctx: Context) -> Array:
    """Return ``share * row + (1 - share) * partner`` for each row; ``share`` has shape (rows or 1,)."""
    xp, wide = ctx.xp, ctx.backend.dtype
    if xp.isdtype(array.dtype, ("integral", "bool")):
        raise ValueError(
            f"Mixup and CutMix mix numbers, and this network takes, or learns, indices ({array.dtype})"
        )
    share = xp.reshape(share, (share.shape[0],) + (1,) * (len(array.shape) - 1))
    others = xp.take(array, partner, axis=0)
    own = xp.astype(array, wide, copy=False) * share
    own = own + xp.astype(others, wide, copy=False) * (1.0 - share)
    return xp.astype(own, array.dtype, copy=False)


def mixed_targets(batch: Batch, x: Any, partner: Array, share: Array, ctx: Context) -> Batch:
    """Return a batch of mixed inputs with targets and weights mixed to the same shares."""
    y = map_arrays(lambda array: mixed(array, partner, share, ctx), batch.y)
    weight = batch.weight
    return Batch(x, y, None if weight is None else mixed(weight, partner, share, ctx))
