"""Make results where they go at once, if they are only copied there: a gradient in the vector of all."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from nnbackend.backends.replay.calls import Call, assign, owner_of, same_place
from nnbackend.core.types import Array

__all__ = ["without_copies"]


def without_copies(calls: list[Call], kept: set[int | None]) -> list[Call]:
    """Return the calls, which are changed, without copies of what one call makes and no other uses.

    Args:
        calls: the calls in their order.
        kept: the ids of buffers that will be looked at when all calls have been made.
    """
    users: dict[Any, list[int]] = defaultdict(list)  # the numbers of the calls that touch a buffer
    for i, call in enumerate(calls):
        for buffer_id in {call.buffer_id, *(r.buffer_id for r in call.reads)}:
            users[buffer_id].append(i)
    owners = [{id(owner_of(array)) for array in (call.target, *_read(call))} for call in calls]
    dropped = set()
    for i, copy in enumerate(calls):
        if copy.function is not assign or len(copy.reads) != 1 or copy.reads[0].is_constant:
            continue
        source = copy.reads[0].buffer_id
        if source in kept or len(users[source]) != 2 or users[source][1] != i:
            continue
        first, owner = users[source][0], id(owner_of(copy.target))
        between = [calls[j] for j in range(first + 1, i) if owner in owners[j] and j not in dropped]
        if not _can_make(calls[first], copy, between):
            continue
        maker = calls[first]
        maker.args[maker.out], maker.buffer_id, maker.form = copy.target, copy.buffer_id, None
        owners[first].add(owner)
        users[copy.buffer_id] = sorted({first, *users[copy.buffer_id]} - {i})
        dropped.add(i)
    return [call for i, call in enumerate(calls) if i not in dropped]


def _can_make(maker: Call, copy: Call, between: list[Call]) -> bool:
    """Return whether a call can write to where its result is copied: nobody touches that before."""
    source, target = copy.reads[0], copy.target
    if maker.function is assign or maker.buffer_id != source.buffer_id:
        return False
    if any(r.buffer_id == source.buffer_id for r in maker.reads):  # it changes what is there
        return False
    if target.shape != source.array.shape or not same_place(maker.target, source.array):
        return False
    if target.dtype != source.array.dtype:  # one call that converts is slower than two that do not
        return False
    touched = [*_read(maker), *(a for call in between for a in (call.target, *_read(call)))]
    return not any(np.may_share_memory(array, target) for array in touched)


def _read(call: Call) -> list[Array]:
    return [r.array for r in call.reads]
