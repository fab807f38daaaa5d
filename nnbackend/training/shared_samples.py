"""Samples whose outputs several processes compute together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.tree import arrays_in, slice_rows
from nnbackend.core.types import Array, Arrays, Params, State
from nnbackend.data.samples import Samples
from nnbackend.errors import DataError
from nnbackend.inference.predictor import Predictor
from nnbackend.saving.run_identity import data_checksum
from nnbackend.training.communicator import Communicator, counts_of_processes

__all__ = [
    "NO_BLOCK",
    "SharedSamples",
    "block_identity",
    "check_same_block",
    "shared",
    "shared_blocks",
]

NO_BLOCK = 0, 0, 0


def shared(samples: Samples, communicator: Communicator | None) -> Samples:
    """Return samples whose outputs the processes compute together; without others the samples."""
    if communicator is None:
        return samples
    return SharedSamples(*samples.arrays, samples, communicator)


def shared_blocks(
    blocks: Iterable[tuple[Samples, int]], communicator: Communicator | None, backend: Backend
) -> Iterator[Samples]:
    """Yield the blocks of a stream, whose outputs the processes compute together.

    Raises:
        DataError: the processes do not have the same blocks.
    """
    for block, size in blocks:
        if communicator is not None:
            own = block_identity(block, size, backend)
            check_same_block(communicator.gather_numbers(*own))
        yield shared(block, communicator)
    if communicator is not None:
        check_same_block(communicator.gather_numbers(*NO_BLOCK))


def block_identity(block: Samples, size: int, backend: Backend) -> tuple[int, int, int]:
    """Return the rows of a block, those of a step, and a checksum of some rows."""
    to_numpy = block.placement(backend).to_numpy
    return len(block), size, data_checksum([*arrays_in(block.arrays[:3])], to_numpy)


def check_same_block(identities: Sequence[Sequence[int]]) -> None:
    """Check that all processes have the same rows next; see :func:`block_identity`.

    Raises:
        DataError: they do not.
    """
    first, *others = identities
    for rank, other in enumerate(others, 1):
        if other[:2] != first[:2]:
            here, there = (
                f"{rows} rows in batches of {size}" if rows else "no more rows"
                for rows, size, _ in (first, other)
            )
            raise DataError(
                f"process 0 has {here}, and process {rank} has {there}: all of them have to be given "
                "the same data"
            )
        if other != first:
            raise DataError(
                f"processes 0 and {rank} have other rows, or the same ones in another order: all of "
                "them have to be given the same data, shuffled with a fixed seed"
            )


@dataclass(frozen=True)
class SharedSamples(Samples):
    """Samples that each process has; it computes the outputs for its share, and gets those of all.

    Loss and metrics of them are then those of one process, and the same bits in all processes.

    Attributes:
        samples: the samples.
        communicator: of the processes.
    """

    samples: Any = None
    communicator: Any = None

    def outputs(self, predictor: Predictor, params: Params, state: State) -> Arrays:
        """Return the outputs for all rows."""
        counts = counts_of_processes(len(self), self.communicator.size)
        own, first = counts[self.communicator.rank], sum(counts[: self.communicator.rank])
        # A process without rows computes one, to have an array of the right kind, and gives none.
        rows = self.samples.slice(first, first + own) if own else self.samples.slice(0, 1)
        found = slice_rows(rows.outputs(predictor, params, state), 0, own)
        return self.communicator.gather_rows(found, counts)

    def targets(self, backend: Backend) -> tuple[Arrays, Array | None]:
        """Return targets and weights on the backend."""
        found: tuple[Arrays, Array | None] = self.samples.targets(backend)
        return found
