"""How long a step of data-parallel training takes on a cluster, from what was measured on one machine.

    time(n) = fixed + by_rows / n + handling + 2 (n - 1) / n * bytes / bandwidth + 2 log2(n) * latency

``fixed`` is what a step costs for any number of rows: the optimizer's update, and calling things. What
is left of it, ``by_rows``, is divided among n processes. ``handling`` is what a process does for a sum
beside waiting, as packing gradients and adding them up; one process alone has none of it. Each process
sends and receives every byte of the gradients 2 (n - 1) / n times, in parts first and then the sums.
That takes 2 log2(n) messages one after the other where they go by halves, and up to 2 (n - 1) where
each process sends to each. Nothing overlaps: where sums travel during the backward pass, a step is
shorter, by at most the time of that pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["COUNTS", "Link", "Work"]

COUNTS = [2**power for power in range(11)]  # of processes: 1 to 1,024


@dataclass(frozen=True)
class Link:
    """What connects the processes.

    Attributes:
        bits: in a second, each way.
        latency: seconds from sending a short message to having it.
        direct: whether each process sends to each, and messages wait for each other.
    """

    bits: float
    latency: float
    direct: bool = False


@dataclass(frozen=True)
class Work:
    """A training step.

    Attributes:
        rows: of a batch.
        fixed: seconds that do not depend on the rows.
        by_rows: seconds that all rows together take one process.
        handling: seconds of a sum beside waiting for it.
        size: bytes of the gradients.
    """

    rows: int
    fixed: float
    by_rows: float
    handling: float
    size: int

    @property
    def counts(self) -> list[int]:
        """The numbers of processes that have a row each."""
        return [n for n in COUNTS if n <= self.rows]

    def computing(self, n: int) -> float:
        """Return the seconds of a step without communication."""
        return self.fixed + self.by_rows / n

    def communicating(self, n: int, link: Link) -> float:
        """Return the seconds that a sum over n processes takes."""
        if n == 1:
            return 0.0
        messages = 2 * (n - 1) if link.direct else 2 * math.log2(n)
        carried = 2 * (n - 1) / n * 8 * self.size / link.bits
        return self.handling + carried + messages * link.latency

    def speedup(self, n: int, link: Link) -> float:
        """Return how many times faster n processes are than one."""
        return self.computing(1) / (self.computing(n) + self.communicating(n, link))

    def speedup_of_grown(self, n: int, link: Link) -> float:
        """Return how many times more rows n processes learn from, if each has a batch of its own."""
        return n * self.computing(1) / (self.computing(1) + self.communicating(n, link))

    def best_count(self, link: Link) -> int:
        """Return the number of processes beyond which more of them do not make a step shorter."""
        return max(self.counts, key=lambda n: self.speedup(n, link))

    def last_efficient_count(self, link: Link) -> int:
        """Return the largest number of processes that are at least half as many times faster."""
        return max(n for n in self.counts if self.speedup(n, link) >= n / 2)

    def rows_for(self, n: int, link: Link, share: float) -> int:
        """Return the rows of a process with which communication takes a share of the time of a step."""
        computing = self.communicating(n, link) * (1 - share) / share
        return max(1, math.ceil((computing - self.fixed) / self.by_rows * self.rows))

    def steps_for(self, n: int, link: Link, share: float) -> int:
        """Return after how many steps of its own a process may communicate to spend that share on it."""
        own = self.computing(min(n, self.rows))
        return max(1, math.ceil(self.communicating(n, link) * (1 - share) / share / own))
