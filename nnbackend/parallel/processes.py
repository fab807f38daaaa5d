"""The processes that train a network together: what they tell each other, and how they end.

None waits without end: what the others have to do is asked for again and again until a deadline. A
process that fails alone ends all of them; what fails in all alike is raised in all alike.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nnbackend.parallel.notices import Notices
from nnbackend.parallel.sums import Exchange

if TYPE_CHECKING:
    from nnbackend.parallel.watcher import Watched

__all__ = ["Processes"]

_YIELDING = 0.1  # seconds without a pause, in which what takes several messages comes at once
_LONGEST_PAUSE = 1e-3
_LOOKS_FOR_NOTICES = 0.1
_PRINTING = 0.3  # seconds in which the launcher passes on what was printed, before it ends all
_GRACE = 3.0  # seconds for the others to say that they failed, or wait, too


class Processes:
    """All processes that train a network together, seen from one of them.

    Args:
        comm: the communicator of mpi4py.
        timeout: the seconds that a process may let the others wait.

    Attributes:
        comm: the communicator.
        first: a duplicate for what is sent first, in the order of the program.
        second: another one, for what is sent when that has come.
        rank: the number of this process, from 0.
        size: how many there are.
        has_left: whether this process has come to its end, and waits for the others or has left them.
        places: the machine and the number there of each process, in words.
        exchange: the sums that are under way.
        runs_callbacks: whether this process calls callbacks, which the others wait for.
        shows_traceback: whether an error that ends all processes is shown with where it happened.
        silences: whether the warnings of other processes than the first are left out in a training.
    """

    def __init__(self, comm: Any, timeout: float) -> None:
        self.comm, self.timeout = comm, timeout
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.shows_traceback, self.silences, self.runs_callbacks = True, True, False
        self._notices = Notices(comm)
        self._failures = 0
        self._exchanges = 0  # that this process has done; -1: one of them was left by an error
        self._is_out_of_step = False
        self._judged: list[tuple[BaseException, bool]] = []
        self._watched: Watched | None = None
        self._pid, self.has_left = os.getpid(), False
        self.places: list[str] = []
        self.first, self.second = self._duplicate(), self._duplicate()
        self._farewell = self._duplicate()
        self.exchange = Exchange(self)
        self.places = self.gather(f"pid {os.getpid()} on {socket.gethostname()}")
        from nnbackend.parallel.watcher import Watched  # what it imports takes long

        self._watched = Watched(self)

    def _duplicate(self) -> Any:
        comm, request = self.comm.Idup()
        self.wait(request.Test)
        return comm

    # Waiting

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Wait until something is done that needs the other processes, at most ``timeout`` seconds.

        If it is not done by then, the message says which process the others wait for, and all end.
        """
        began = looked = time.monotonic()
        while time.monotonic() - began < _YIELDING:
            if is_done():
                return
            _let_others_run()
        pause, told = 1e-5, 0
        while not is_done():
            time.sleep(pause)
            pause = min(2.0 * pause, _LONGEST_PAUSE)
            now = time.monotonic()
            if now - looked > _LOOKS_FOR_NOTICES:
                looked = now
                told = self._look(told, is_done)
            if now - began > self.timeout:
                self._end_stalled()

    def _look(self, told: int, is_done: Callable[[], bool]) -> int:
        """Take notices; answer those who ask whether this process waits. Return how many asked."""
        self._notices.receive()
        asked = sum(self._notices.count(rank, "waiting") for rank in range(self.size))
        if asked > told:
            self._notices.send("waiting")
        left = [rank for rank in range(self.size) if self._notices.count(rank, "left")]
        # What the one that left has sent before may still be under way.
        if left and not self._comes(is_done):
            if self.rank > min(rank for rank in range(self.size) if rank not in left):
                time.sleep(_GRACE)  # that one says it
            self.abort(
                f"{self.name(left[0])} has ended, and the others wait for it: all processes run the "
                "same program"
            )
        return asked

    def _comes(self, is_done: Callable[[], bool]) -> bool:
        """Return whether something is done within the time of grace."""
        until = time.monotonic() + _GRACE
        while time.monotonic() < until:
            if is_done():
                return True
            time.sleep(_LONGEST_PAUSE)
        return False

    def _end_stalled(self) -> NoReturn:
        """End all processes, and name those that do not answer."""
        self._notices.send("waiting")
        others = [rank for rank in range(self.size) if rank != self.rank]

        def all_wait() -> bool:
            self._notices.receive()
            return all(self._notices.count(rank, "waiting") for rank in others)

        self._comes(all_wait)
        waiting = [rank for rank in others if self._notices.count(rank, "waiting")]
        stalled = [rank for rank in others if rank not in waiting]
        if waiting and min(waiting) < self.rank:
            time.sleep(_GRACE)  # that one says it
            self.abort()
        for_whom = "; ".join(map(self.name, stalled))
        self.abort(
            f"no answer for {self.timeout:g} s from {for_whom}"
            if stalled
            else f"all processes have waited for each other for {self.timeout:g} s: they do not run the "
            "same program on the same data"
        )

    def is_child(self) -> bool:
        """Return whether this is a child that was forked, in which MPI does not work."""
        return os.getpid() != self._pid

    def name(self, rank: int) -> str:
        """Return a process in words."""
        where = f" ({self.places[rank]})" if self.places else ""
        return f"process {rank} of {self.size}{where}"

    # Plain data

    def gather(self, data: Any) -> list[Any]:
        """Return the plain data, as in JSON, that each process gives."""
        own = np.frombuffer(json.dumps(data).encode(), dtype=np.uint8)
        sizes = self.gather_numbers(len(own))[:, 0]
        found = np.empty(int(sizes.sum()), dtype=np.uint8)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.finish("Iallgatherv", own, [found, (sizes, starts[:-1])])
        return [json.loads(found[a:b].tobytes()) for a, b in pairwise(starts)]

    def gather_numbers(self, *numbers: int) -> np.ndarray[Any, Any]:
        """Return the whole numbers that each process gives, of shape (processes, numbers)."""
        found = np.empty((self.size, len(numbers)), dtype=np.int64)
        self.finish("Iallgather", np.array(numbers, dtype=np.int64), found)
        return found

    def share(self, data: Any = None) -> Any:
        """Return the plain data, as in JSON, that process 0 gives."""
        own = np.frombuffer(json.dumps(data).encode(), dtype=np.uint8).copy()
        size = np.array([len(own)], dtype=np.int64)
        self.finish("Ibcast", size)
        if self.rank:
            own = np.empty(int(size[0]), dtype=np.uint8)
        self.finish("Ibcast", own)
        return json.loads(own.tobytes())

    def share_arrays(self, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Return copies of the arrays of process 0; the others give arrays of the same shapes."""
        copies = [np.array(array, order="C") for array in arrays]
        for copy in copies:
            self.finish("Ibcast", copy)
        return copies

    def finish(self, operation: str, *buffers: Any) -> None:
        """Start an operation on the first communicator and wait for its end."""
        with self.exchanging():
            # It stays, with its buffers: MPI may write to them after an error.
            self._request = getattr(self.first, operation)(*buffers)
            self.wait(self._request.Test)

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Do in the block what all processes do in the same order.

        Raises:
            RuntimeError: an error has come to them at different moments of it, as that of a signal's
                handler does: what one would send now is not what another takes it for.
        """
        if self._is_out_of_step:
            raise RuntimeError(
                "an error came to the processes at different moments, as one raised by the handler of a "
                "signal does, and they cannot train together any more: start the program again, and go "
                "on from a checkpoint (resume=)"
            )
        done, self._exchanges = self._exchanges, -1
        yield
        self._exchanges = done + 1

    # The end

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Let an error in the block be raised if all processes have one; else it ends all of them."""
        try:
            yield
        except Exception as error:
            self.end_unless_all_failed(error)
            raise

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Leave warnings to process 0: the others have the same."""
        with warnings.catch_warnings():
            if self.rank and self.silences:
                warnings.simplefilter("ignore")
            yield

    def end_unless_all_failed(self, error: BaseException, code: int = 1) -> None:
        """End all processes with a message if not all of them failed."""
        if not self.all_failed(error):
            if self.shows_traceback:
                traceback.print_exception(error, file=sys.__stderr__)
            self.abort(f"{self.name(self.rank)}: {type(error).__name__}: {error}", code)

    def all_failed(self, error: BaseException) -> bool:
        """Return whether all processes failed, waiting a few seconds for it; they all ask this.

        Of errors that one raised because of another the first one counts.
        """
        for known in _causes(error):
            for judged, outcome in self._judged:
                if judged is known:
                    return outcome
        self._failures += 1
        self._notices.send("exchanges", str(self._exchanges))
        self._notices.send("failed", type(error).__name__)
        others = [rank for rank in range(self.size) if rank != self.rank]

        def have_failed() -> bool:
            self._notices.receive()
            return all(self._notices.count(r, "failed") >= self._failures for r in others)

        outcome = have_failed() or self._comes(have_failed)
        self._judged.append((error, outcome))
        if outcome:
            told = [self._notices.text(r, "exchanges", self._failures - 1) for r in others]
            moments = {self._exchanges, *map(int, told)}
            self._is_out_of_step |= len(moments) > 1 or -1 in moments
        if not outcome and any(self._notices.count(r, "failed") for r in range(self.rank)):
            time.sleep(_GRACE)  # a process before this one says what is wrong
        return outcome

    def has_been_said(self, error: BaseException) -> bool:
        """Return whether process 0 has the same error, and this is another process."""
        same = [kind for kind in self._notices.received[0] if kind[0] == "failed"]
        judged = any(known is one for known in _causes(error) for one, all_ in self._judged if all_)
        return self.rank > 0 and judged and bool(same) and same[-1][1] == type(error).__name__

    def leave(self) -> None:
        """Wait at the end of the program for the others; tell those that do not come in the meantime.

        MPI would wait without end, and so would they for what this process no longer does.
        """
        if self.has_left or self.is_child():
            return
        self.has_left = True
        request = self._farewell.Ibarrier()
        if not self._comes(request.Test):
            self._notices.send("left")
            until = time.monotonic() + self.timeout
            while not request.Test():
                time.sleep(_LONGEST_PAUSE)
                if time.monotonic() > until:
                    self.abort(f"{self.name(self.rank)} has ended, and others go on without it")
        sent = np.empty(self.size, dtype=np.int64)
        request = self._farewell.Iallgather(np.array([self._notices.sent], dtype=np.int64), sent)
        # MPI does not end well while messages are under way.
        if self._comes(request.Test):
            self._comes(lambda: self._notices.have_come(sent.tolist()))
        self._end_watch()

    def end(self) -> None:
        """Leave, and end MPI, as the end of Python would do."""
        from mpi4py import MPI

        self.leave()
        MPI.Finalize()

    def abort(self, message: str = "", code: int = 1) -> NoReturn:
        """End all processes at once."""
        if message:
            print(f"nnbackend: {message}", file=sys.__stderr__)
        for stream in (sys.stdout, sys.stderr, sys.__stderr__):
            if stream is not None:
                stream.flush()
        self._end_watch()
        time.sleep(_PRINTING)
        self.comm.Abort(code)
        raise SystemExit(code)

    def _end_watch(self) -> None:
        if self._watched is not None:
            self._watched.end()


def _let_others_run() -> None:
    """Give the core to another process that waits for one; go on at once if there is none.

    A sleep would take some 60 us, however short, and an exchange of several messages several of them.
    """
    os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0.0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those because of which it was raised."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
