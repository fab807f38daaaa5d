"""Make results where they go at once, if they are only copied there: a gradient in the vector of all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnbackend.backends.replay.calls import (
    Call,
    Operand,
    assign,
    nested_arrays,
    owner_of,
    same_place,
)

__all__ = ["without_copies"]


def without_copies(calls: list[Call], kept: set[int | None]) -> list[Call]:
    """Return the calls, which are changed, without copies of what could be made in its place.

    Args:
        calls: the calls in their order.
        kept: the ids of buffers that will be looked at when all calls have been made.
    """
    users: dict[Any, set[int]] = defaultdict(set)  # the numbers of the calls that touch a buffer
    for i, call in enumerate(calls):
        for buffer_id in (call.buffer_id, *(r.buffer_id for r in call.reads)):
            users[buffer_id].add(i)
    owners = [_owners(call) for call in calls]
    dropped = set()
    for i in range(len(calls) - 1, -1, -1):
        copy = calls[i]
        if copy.function is not assign or len(copy.reads) != 1 or copy.reads[0].is_constant:
            continue
        source = copy.reads[0]
        numbers = sorted(users[source.buffer_id])
        if source.buffer_id in kept or numbers[-1] != i or not _can_move(calls, numbers):
            continue
        owner = id(owner_of(copy.target))
        between = [j for j in range(numbers[0], i) if owner in owners[j] and j not in dropped]
        # Nobody may touch the new place before the copy is made; the first call writes there.
        if any(
            np.may_share_memory(array, copy.target)
            for j in between
            for array in _touched(calls[j], reads_only=j == numbers[0])
        ):
            continue
        for j in numbers[:-1]:
            _redirect(calls[j], copy)
            owners[j] = _owners(calls[j])
        users[copy.buffer_id] |= {*numbers}
        users[copy.buffer_id].discard(i)
        dropped.add(i)
    return [call for i, call in enumerate(calls) if i not in dropped]


def _can_move(calls: list[Call], numbers: list[int]) -> bool:
    """Return whether the last of the calls copies what the first one makes, and all use it whole."""
    first, copy = calls[numbers[0]], calls[numbers[-1]]
    source = copy.reads[0]
    if source.array.shape != copy.target.shape:
        return False
    if (
        source.array.dtype != copy.target.dtype
    ):  # one call that converts is slower than two that do not
        return False
    if first.buffer_id != source.buffer_id or first.function is assign:
        return False
    if any(r.buffer_id == source.buffer_id for r in first.reads):
        return False
    for user in (calls[i] for i in numbers):
        own = [r.array for r in user.reads if r.buffer_id == source.buffer_id]
        own += [user.target] if user.buffer_id == source.buffer_id else []
        inside = nested_arrays([arg for arg in user.args if not isinstance(arg, np.ndarray)])
        if not all(same_place(array, source.array) for array in own):
            return False
        if any(same_place(array, source.array) for array in inside):
            return False
    return True


def _owners(call: Call) -> set[int]:
    return {id(owner_of(array)) for array in _touched(call)}


def _touched(call: Call, reads_only: bool = False) -> Iterator[Any]:
    """Yield the arrays that a call reads and, by default, writes."""
    if not reads_only:
        yield call.target
    for r in call.reads:
        yield r.array


def _redirect(call: Call, copy: Call) -> None:
    """Let a call use the place that something is copied to instead of that it is copied from."""
    source, target = copy.reads[0], copy.target
    call.args = [
        target if isinstance(arg, np.ndarray) and same_place(arg, source.array) else arg
        for arg in call.args
    ]
    call.reads = [
        Operand(target, copy.buffer_id) if r.buffer_id == source.buffer_id else r
        for r in call.reads
    ]
    if call.buffer_id == source.buffer_id:
        call.buffer_id = copy.buffer_id
    call.form = None
