"""Which rows of an epoch one of several processes reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["ReadingShare"]


class ReadingShare(NamedTuple):
    """The rows of an epoch that one of several processes reads.

    Where the number of rows is known, all rows in the order of the epoch are cut into one stretch for
    each process, in the proportion of their parts of a batch: then all of them have as many batches,
    and every batch but the last has its whole size. If not, a process reads every so many'th piece.

    Attributes:
        rank: the number of the process, from 0.
        size: how many there are.
        batch_size: rows of a batch of all of them together.
    """

    rank: int = 0
    size: int = 1
    batch_size: int = 1

    @property
    def first(self) -> int:
        """The number of the process's first row in a batch."""
        return self.batch_size * self.rank // self.size

    @property
    def rows_of_batch(self) -> int:
        """How many rows of a batch are the process's."""
        return self.batch_size * (self.rank + 1) // self.size - self.first

    def cut(
        self, order: Iterable[int], rows: Sequence[int | None]
    ) -> Iterator[tuple[int, int, int | None]]:
        """Yield the pieces to read: the number of each, its first row, and its last one plus 1.

        Args:
            order: the numbers of the pieces in the order of the epoch.
            rows: how many rows each piece has; None: unknown, and all of them are read.
        """
        if self.size == 1:
            yield from ((number, 0, None) for number in order)
            return
        counts = [count for count in rows if count is not None]
        if len(counts) < len(rows):
            yield from ((number, 0, None) for number in list(order)[self.rank :: self.size])
            return
        total, seen = sum(counts), 0
        begin = total * self.first // self.batch_size
        end = total * (self.first + self.rows_of_batch) // self.batch_size
        for number in order:
            start, stop = max(begin - seen, 0), min(end - seen, counts[number])
            seen += counts[number]
            if start < stop:
                yield number, start, stop
