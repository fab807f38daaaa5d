"""Training one network in several processes: each computes a part of every batch's gradient.

With the weights of the rows of process ``r`` adding up to ``W_r``, and all to ``W``, loss and gradient
of a batch are the sums over the processes of theirs times ``W_r / W``. So each step adds up ``W_r``
times loss, gradients and state, and divides by ``W``: the same as in one process, to rounding.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from nnbackend.core.tree import count_rows, leaves, slice_rows, tree_map
from nnbackend.core.types import Array, Batch, Namespace, Params, State

__all__ = ["Communicator", "all_reduce", "rows_of_process"]

BUCKET_NUMBERS = 1 << 22
"""The size of a bucket: the gradients' numbers that are summed together."""


class Communicator(Protocol):
    """Adds up arrays over the processes that train one network together.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
    """

    rank: int
    size: int

    def sum(self, arrays: list[Array]) -> list[Array]:
        """Return the sum over all processes of each array; all of them call it in the same order."""


def rows_of_process(batch: Batch, communicator: Communicator | None) -> tuple[Batch, int]:
    """Return the rows of a batch of this process, all without others, and the first one's number.

    Raises:
        ValueError: the batch has fewer rows than there are processes.
    """
    if communicator is None:
        return batch, 0
    rows, rank, size = count_rows(batch.x), communicator.rank, communicator.size
    if rows < size:
        raise ValueError(f"a batch of {rows} rows cannot be divided among {size} processes")
    first = rows * rank // size
    return slice_rows(batch, first, rows * (rank + 1) // size), first


def all_reduce(
    communicator: Communicator,
    count: Any,
    value: Array,
    grads: Params,
    state: State,
    xp: Namespace,
) -> tuple[Any, Array, Params, State]:
    """Return the count of a whole batch, its mean loss, gradients and state, from those of its parts.

    The count is the sum of the rows' weights, or how many they are.
    """
    buckets = [xp.stack([value * count, xp.zeros_like(value) + count])]
    buckets += _to_buckets([leaf * count for leaf in (*leaves(grads), *leaves(state))], xp)
    loss_and_total, *summed = communicator.sum(buckets)
    loss, total = loss_and_total[0], loss_and_total[1]
    divisor = xp.where(total > 0.0, total, xp.ones_like(total))  # all weights 0: no gradient
    flat = iter(_from_buckets([bucket / divisor for bucket in summed], grads, state, xp))
    grads, state = (tree_map(lambda _: next(flat), tree) for tree in (grads, state))
    return total, loss / divisor, grads, state


def _to_buckets(arrays: list[Array], xp: Namespace) -> list[Array]:
    """Return arrays as few vectors, one after the other."""
    buckets: list[list[Array]] = []
    room = 0
    for array in arrays:
        flat = xp.reshape(array, (-1,))
        if flat.shape[0] > room or not buckets:
            buckets.append([])
            room = BUCKET_NUMBERS
        buckets[-1].append(flat)
        room -= flat.shape[0]
    return [xp.concat(bucket) for bucket in buckets]


def _from_buckets(buckets: list[Array], grads: Params, state: State, xp: Namespace) -> list[Array]:
    """Return the arrays of which vectors were made."""
    arrays, number, start = [], 0, 0
    for like in (*leaves(grads), *leaves(state)):
        size = math.prod(like.shape)
        if start + size > buckets[number].shape[0]:
            number, start = number + 1, 0
        arrays.append(xp.reshape(buckets[number][start : start + size], like.shape))
        start += size
    return arrays
