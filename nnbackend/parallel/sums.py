"""Sums over processes that are the same bits on all of them, and in every run.

What MPI adds up itself it may add in any order. So numbers only travel by MPI, and are added in the
order of the processes: each process adds up its part of a vector, and gives it to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnbackend.parallel.processes import Processes

__all__ = ["Exchange", "Half", "Sum", "Whole"]

_SMALL_BYTES = 1 << 14  # of all processes together, that are sent to all at once


class Whole:
    """How numbers travel: as they are."""

    def pack(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return what is sent of the rows of a matrix."""
        return np.ascontiguousarray(rows)

    def unpack(self, rows: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
        """Return the rows again."""
        return rows


class Half:
    """How numbers travel: in float16, each row divided by its largest, which goes before it."""

    def pack(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return what is sent of the rows of a matrix."""
        largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True).astype(np.float32)
        sent = np.empty((len(rows), rows.shape[1] + 2), dtype=np.float16)
        sent[:, :2] = largest.view(np.float16)
        sent[:, 2:] = rows / np.where(largest == 0.0, np.float32(1.0), largest)
        return sent

    def unpack(self, rows: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
        """Return the rows again, to 11 bits; what was not finite is NaN."""
        largest = np.ascontiguousarray(rows[:, :2]).view(np.float32)
        numbers: np.ndarray[Any, Any] = rows[:, 2:].astype(dtype)
        numbers *= largest.astype(dtype)
        return numbers


class Sum:
    """A sum over the processes that is under way.

    Args:
        vector: the numbers of this process, which stay as they are until the sum is there.
        processes: the processes.
        travel: how the numbers travel.
    """

    def __init__(
        self, vector: np.ndarray[Any, Any], processes: Processes, travel: Whole | Half
    ) -> None:
        self._processes, self._travel = processes, travel
        self._dtype, self._length = vector.dtype, len(vector)
        self.result: np.ndarray[Any, Any] | None = None
        size = processes.size
        self._in_parts = size * vector.nbytes > _SMALL_BYTES
        if self._in_parts:
            rows = np.zeros((size, -(-len(vector) // size)), dtype=vector.dtype)
            rows.reshape(-1)[: len(vector)] = vector
        else:
            rows = vector[None, :]
        self._sent = travel.pack(rows)
        self._came = np.empty((size, self._sent.shape[1]), dtype=self._sent.dtype)
        start = processes.first.Ialltoall if self._in_parts else processes.first.Iallgather
        self._request = start(self._sent, self._came)
        self._adds = True  # else the parts are added, and go to all

    def advance(self) -> bool:
        """Do what can be done without waiting; return whether the next sum may go on, too.

        All processes begin what they send second in the same order, that of the sums.
        """
        if self.result is not None:
            return True
        if not self._request.Test():
            return not self._adds
        rows = self._travel.unpack(self._came, self._dtype)
        if not self._adds:
            self.result = rows.reshape(-1)[: self._length]
            return True
        total = rows[0].copy()
        for row in rows[1:]:
            total += row
        if not self._in_parts:
            self.result = total
            return True
        self._adds = False
        self._sent = self._travel.pack(total[None, :])
        self._came = np.empty_like(self._came)
        self._request = self._processes.second.Iallgather(self._sent, self._came)
        return True


class Exchange:
    """The sums that are under way, which have to go on in the order in which they began.

    Args:
        processes: the processes.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._open: list[Sum] = []

    def start(
        self, vector: np.ndarray[Any, Any], travel: Whole | Half
    ) -> Callable[[], np.ndarray[Any, Any]]:
        """Start a sum; return the function that waits for it and returns it."""
        begun = Sum(vector, self._processes, travel)
        self._open.append(begun)
        self._advance()

        def is_done() -> bool:
            self._advance()
            return begun.result is not None

        def finish() -> np.ndarray[Any, Any]:
            self._processes.wait(is_done)
            assert begun.result is not None
            return begun.result

        return finish

    def _advance(self) -> None:
        """Let each sum go on as far as it can, and no later one further than an earlier one."""
        for each in self._open:
            if not each.advance():
                break
        self._open = [each for each in self._open if each.result is None]
