"""Recorded calls in the form that NumPy is fastest at. The results are the same, to the last bit."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from nnbackend.backends.replay.calls import (
    NUMBER,
    Call,
    Operand,
    assign,
    nested_arrays,
    owner_of,
    same_place,
)

__all__ = ["optimize_calls"]

_SMALL_SIZE = 512  # numbers of a result for which it makes no difference
_SPREAD_BYTES = 1 << 19  # of a number that is written out; more would not stay in the cache
_NARROW_COLUMNS = 32  # of rows whose maxima are found column by column
_FEW_ROWS = 16  # that are not worth it

_maximum: Any = np.maximum.reduce


def optimize_calls(calls: list[Call], kept: set[int | None], for_numpy: bool) -> list[Call]:
    """Change calls for the better; return those that are left.

    Args:
        calls: the calls in their order, which are changed.
        kept: the ids of buffers that will be looked at when all calls have been made.
        for_numpy: whether to use forms that NumPy alone is faster at.
    """
    calls = _without_copies(calls, kept)
    for call in calls if for_numpy else ():
        if call.function in (np.maximum, np.minimum):
            _spread(call)
        elif call.function == _maximum and _is_of_short_rows(call):
            x, _, _, out, _ = call.args
            columns = np.empty((x.shape[1], x.shape[0]), x.dtype)
            call.function, call.args, call.out = _row_maxima, [x, columns, out.reshape(-1)], 2
    return calls


def _without_copies(calls: list[Call], kept: set[int | None]) -> list[Call]:
    """Make results that are only copied in the place of the copy, as a gradient in the vector of all."""
    by_buffer: dict[Any, list[int]] = defaultdict(list)  # the numbers of the calls that touch it
    by_owner: dict[int, list[int]] = defaultdict(list)
    for i, call in enumerate(calls):
        for buffer_id in {call.buffer_id, *(r.buffer_id for r in call.reads)}:
            by_buffer[buffer_id].append(i)
        for owner in {id(owner_of(array)) for array in _touched(call)}:
            by_owner[owner].append(i)
    dropped = set()
    for i in range(len(calls) - 1, -1, -1):
        call = calls[i]
        if call.function is not assign or len(call.reads) != 1 or call.reads[0].is_constant:
            continue
        users = by_buffer[call.reads[0].buffer_id]
        if call.reads[0].buffer_id in kept or not _is_needless(calls, i, users, by_owner):
            continue
        # Calls between that touch the new place are known not to touch the same part of it, and those
        # that are looked at later come before: they need no more than the order by number.
        touching = by_owner[id(owner_of(call.target))]
        touching[:] = sorted({*touching, *users} - {i})
        by_buffer[call.buffer_id] = sorted({*by_buffer[call.buffer_id], *users} - {i})
        for j in users[:-1]:
            _redirect(calls[j], call)
        dropped.add(i)
    return [call for i, call in enumerate(calls) if i not in dropped]


def _is_needless(
    calls: list[Call], copy: int, users: list[int], by_owner: dict[int, list[int]]
) -> bool:
    """Return whether what call ``copy`` copies may be made where it goes at once.

    Nobody may use it later, or but a part of it, nor touch its new place before the copy is made.
    """
    call = calls[copy]
    (source,), target = call.reads, call.target
    if len(users) < 2 or users[-1] != copy or source.array.shape != target.shape:
        return False
    if source.array.dtype != target.dtype:  # one call that converts is slower than two that do not
        return False
    first = calls[users[0]]
    if first.buffer_id != source.buffer_id or first.function is assign:
        return False
    if any(r.buffer_id == source.buffer_id for r in first.reads):
        return False
    for user in (calls[i] for i in users):
        own = [r.array for r in user.reads if r.buffer_id == source.buffer_id]
        own += [user.target] if user.buffer_id == source.buffer_id else []
        inside = nested_arrays([arg for arg in user.args if not isinstance(arg, np.ndarray)])
        if not all(same_place(array, source.array) for array in own):
            return False
        if any(same_place(array, source.array) for array in inside):
            return False
    touching = by_owner[id(owner_of(target))]
    between = touching[bisect_left(touching, users[0]) : bisect_left(touching, copy)]
    return not any(
        np.may_share_memory(array, target)
        for i in between
        for array in _touched(calls[i], reads_only=i == users[0])
    )


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
    call.uses_dot = None


def _spread(call: Call) -> None:
    """Write a number out: of an array and a number, NumPy finds the larger one number at a time."""
    target = call.target
    numbers = [r.array for r in call.reads if r.buffer_id == NUMBER]
    if target.size < _SMALL_SIZE or target.nbytes > _SPREAD_BYTES:
        return
    for i in (0, 1):
        number = call.args[i]
        if any(number is known for known in numbers):
            call.args[i] = np.full(target.shape, number, dtype=number.dtype)


def _is_of_short_rows(call: Call) -> bool:
    """Return whether a call finds the maxima of many rows that are short."""
    x, axis, dtype, out, _ = call.args
    if x.ndim != 2 or axis not in (-1, 1) or dtype is not None or not out.flags.c_contiguous:
        return False
    return bool(x.shape[1] <= _NARROW_COLUMNS and x.shape[0] >= _FEW_ROWS)


def _row_maxima(x: Any, columns: Any, out: Any) -> None:
    """Find the largest number of each row; of whole columns at a time NumPy is several times as fast."""
    columns.T[...] = x
    _maximum(columns, 0, None, out)
