"""Samples whose outputs several processes compute together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.tree import slice_rows
from nnbackend.core.types import Array, Arrays, Params, State
from nnbackend.data.samples import Samples
from nnbackend.inference.predictor import Predictor
from nnbackend.training.communicator import Communicator, counts_of_processes

__all__ = ["SharedSamples", "shared"]


def shared(samples: Samples, communicator: Communicator | None) -> Samples:
    """Return samples whose outputs the processes compute together; without others the samples."""
    if communicator is None:
        return samples
    return SharedSamples(*samples.arrays, samples, communicator)


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
