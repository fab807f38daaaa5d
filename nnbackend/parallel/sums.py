"""Sums over processes that are the same bits on all of them, and in every run.

What MPI adds up itself it may add in any order. So numbers only travel by MPI, and are added in the
order of the processes: each process adds up its part of a vector, and gives it to all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
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
    """A sum over the processes, of vectors of one length, one after the other.

    Its memory is used again for each: new memory costs more time than adding up.

    Args:
        length: of the vectors.
        dtype: of their numbers.
        exchange: the sums that are under way.
        travel: how the numbers travel.
    """

    def __init__(self, length: int, dtype: Any, exchange: Exchange, travel: Whole | Half) -> None:
        self._exchange, self._travel, self._dtype = exchange, travel, np.dtype(dtype)
        size = exchange.processes.size
        self._in_parts = size * length * self._dtype.itemsize > _SMALL_BYTES
        shape = (size, -(-length // size)) if self._in_parts else (1, length)
        self._rows = np.zeros(shape, dtype)  # for each process one; the last has zeros at its end
        self._total = np.empty((1, shape[1]), dtype)
        self._numbers = self._rows.reshape(-1)[:length]
        self._sent: Any = None
        self._came: Any = None
        self._result: Any = None
        self._request: Any = None
        self._adds = True  # else the parts are added, and go to all
        self.is_done = True

    def start(self, vector: np.ndarray[Any, Any], begun: np.ndarray[Any, Any]) -> None:
        """Start the sum of a vector, which is copied. ``begun`` becomes what :meth:`finish` reads."""
        with self._exchange.processes.exchanging():
            self._numbers[...] = vector
            begun[...] = 0
            self._adds, self.is_done = True, False
            self._send(self._rows, "Ialltoall" if self._in_parts else "Iallgather", second=False)
            self._exchange.add(self)

    def finish(self, begun: np.ndarray[Any, Any], total: np.ndarray[Any, Any]) -> None:
        """Wait for the sum, and write it into ``total``."""
        self._exchange.wait_for(self)
        total[...] = self._result

    def _send(self, rows: np.ndarray[Any, Any], operation: str, second: bool) -> None:
        """Start sending rows: one to each process, or all to all of them."""
        processes = self._exchange.processes
        self._sent = self._travel.pack(rows)
        if self._came is None:
            self._came = np.empty((processes.size, self._sent.shape[1]), self._sent.dtype)
        channel = processes.second if second else processes.first
        self._request = getattr(channel, operation)(self._sent, self._came)

    def advance(self) -> bool:
        """Do what can be done without waiting; return whether the next sum may go on, too.

        All processes begin what they send second in the same order, that of the sums.
        """
        if self.is_done:
            return True
        if not self._request.Test():
            return not self._adds
        came = self._travel.unpack(self._came, self._dtype)
        if not self._adds:
            self._result = came.reshape(-1)[: len(self._numbers)]
            self.is_done = True
            return True
        total = self._total[0]
        total[...] = came[0]
        for row in came[1:]:
            total += row
        if self._in_parts:
            self._adds = False
            self._send(self._total, "Iallgather", second=True)
        else:
            self._result = total
            self.is_done = True
        return True


class Exchange:
    """The sums that are under way, which have to go on in the order in which they began.

    There is one for all trainings: a sum that an error left under way ends in the next one, and MPI
    may write into its memory until then.

    Args:
        processes: the processes.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._open: list[Sum] = []
        self._free: dict[Any, list[Sum]] = {}

    def take(self, length: int, dtype: Any, travel: Whole | Half) -> Sum:
        """Return a sum that is not under way, for vectors of a length."""
        free = self._free.setdefault((length, np.dtype(dtype), type(travel)), [])
        # One that a recording used when an error came is still under way.
        done = next((i for i, each in enumerate(free) if each.is_done), None)
        return Sum(length, dtype, self, travel) if done is None else free.pop(done)

    def give_back(self, used: Sum, length: int, dtype: Any, travel: Whole | Half) -> None:
        """Let a sum that is done be taken again."""
        self._free[length, np.dtype(dtype), type(travel)].append(used)

    def add(self, begun: Sum) -> None:
        """Take a sum that has begun."""
        self._open.append(begun)
        self._advance()

    def wait_for(self, begun: Sum) -> None:
        """Wait until a sum is done."""

        def is_done() -> bool:
            self._advance()
            return begun.is_done

        with self.processes.exchanging():
            self.processes.wait(is_done)

    def _advance(self) -> None:
        """Let each sum go on as far as it can, and no later one further than an earlier one."""
        for each in self._open:
            if not each.advance():
                break
        self._open = [each for each in self._open if not each.is_done]
