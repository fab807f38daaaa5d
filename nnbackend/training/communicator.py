"""Training one network in several processes: each computes a part of every batch's gradient.

With the weights of the rows of process ``r`` adding up to ``W_r``, and all to ``W``, loss and gradient
of a batch are the sums over the processes of theirs times ``W_r / W``. So each step adds up ``W_r``
times loss, gradients and state, and divides by ``W``: the same as in one process, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from nnbackend.backends.base import Backend
from nnbackend.core.tree import count_rows, map_arrays, slice_rows
from nnbackend.core.types import Array, Arrays, Batch
from nnbackend.parallel.local_steps import LocalSteps

__all__ = [
    "Communicator",
    "Share",
    "counts_of_processes",
    "processes_of_batch",
    "share_of_process",
    "whole_output",
]


class Communicator(Protocol):
    """Adds up arrays over the processes that train one network together.

    All processes call its methods in the same order.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
        local_steps: how many steps a process takes alone; None: gradients are summed in each step.
        reads_share: whether a batch is what this process has of it, some rows perhaps of weight 0; if
            not, all have the whole batch.
        first_row: the number of its first row in a batch that is read in shares.
        is_recordable: whether a step that uses it may be recorded and played.
    """

    rank: int
    size: int
    local_steps: LocalSteps | None
    reads_share: bool
    first_row: int
    is_recordable: bool

    def sum(self, arrays: list[Array]) -> list[Array]:
        """Return the sum over all processes of each array."""

    def start_sum(self, array: Array) -> Callable[[], Array]:
        """Start a sum of gradients; return the function that waits for it and returns it.

        Several may be under way. They may travel with fewer bits than those of :meth:`sum`.
        """

    def gather_numbers(self, *numbers: int) -> list[list[int]]:
        """Return the whole numbers that each process gives."""

    def gather_all(self, arrays: Arrays) -> Arrays:
        """Return the rows of all processes, of which each has any number; None stays None."""

    def gather_rows(self, arrays: Arrays, counts: Sequence[int]) -> Arrays:
        """Return the rows of all processes, one after the other; each has so many as ``counts`` says."""


class Share(NamedTuple):
    """The part of a batch that is one process's.

    Attributes:
        batch: its rows. A process without any has a row of weight 0.
        first_row: the number of the first one in the whole batch.
        counts: how many rows each process has; of batches that are read in shares, none.
    """

    batch: Batch
    first_row: int
    counts: list[int]


def counts_of_processes(rows: int, size: int) -> list[int]:
    """Return how many rows of a batch each of the processes has: as equal as may be."""
    if rows < size:
        return [int(rank < rows) for rank in range(size)]
    return [rows * (rank + 1) // size - rows * rank // size for rank in range(size)]


def processes_of_batch(communicator: Communicator | None) -> int:
    """Return among how many processes a batch is divided; one that is read in shares is already."""
    if communicator is None or communicator.reads_share:
        return 1
    return communicator.size


def share_of_process(batch: Batch, communicator: Communicator | None, backend: Backend) -> Share:
    """Return the share of this process in a batch; without a communicator all of it."""
    if communicator is None:
        return Share(batch, 0, [])
    if communicator.reads_share:
        return Share(batch, communicator.first_row, [])
    counts = counts_of_processes(count_rows(batch.x), communicator.size)
    own, first = counts[communicator.rank], sum(counts[: communicator.rank])
    if own:
        return Share(slice_rows(batch, first, first + own), first, counts)
    x, y, weight = map_arrays(lambda array: array[:1, ...], batch)
    if weight is None:
        weight = backend.xp.zeros(1, dtype=backend.dtype, device=backend.device)
    return Share(Batch(x, y, weight * 0.0), 0, counts)


def whole_output(output: Arrays, share: Share, communicator: Communicator) -> Arrays:
    """Return the output of a whole batch from this process's; its own of batches read in shares.

    Processes that take steps alone bring theirs together later.
    """
    if not share.counts:
        return output
    own = slice_rows(output, 0, share.counts[communicator.rank])  # without the row of weight 0
    return own if communicator.local_steps else communicator.gather_rows(own, share.counts)
