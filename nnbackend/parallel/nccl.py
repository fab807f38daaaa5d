"""Adds up CuPy's arrays from card to card, by NCCL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.types import Array
from nnbackend.parallel.communicator import HostCommunicator
from nnbackend.parallel.processes import Processes

__all__ = ["NCCLCommunicator", "nccl_of"]


def nccl_of(backend: Backend, processes: Processes) -> Any:
    """Return the module of NCCL if all processes have it for their backend, else None."""
    found = getattr(backend, "nccl", lambda: None)()
    return found if all(processes.gather_numbers(found is not None)[:, 0]) else None


class NCCLCommunicator(HostCommunicator):
    """Adds up floating-point arrays by NCCL; all else goes through the host's memory.

    For given cards and a given number of processes NCCL adds up in the same order each time.

    Args:
        processes: the processes, each with a card of its own.
        backend: CuPy, on that card.
    """

    def __init__(self, processes: Processes, backend: Any) -> None:
        super().__init__(processes, backend)
        self._cupy_backend = backend
        self._nccl = nccl = backend.nccl()
        self._types = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        made = list(nccl.get_unique_id()) if processes.rank == 0 else None
        name = tuple(processes.share(made))
        with backend.scope():
            self._links = nccl.NcclCommunicator(processes.size, name, processes.rank)

    def start_sum(self, array: Array) -> Callable[[], Array]:
        """Start a sum on the current stream; return the function that waits for it and returns it."""
        kind = self._types.get(str(array.dtype))
        if kind is None:
            return super().start_sum(array)
        # What is sent has to stay until the sum is there.
        sent, total, event = self._cupy_backend.sum_by_nccl(self._links, array, kind)

        def finish(sent: Array = sent) -> Array:
            self.processes.wait(lambda: event.done)  # the deadline holds for the cards, too
            return total

        return finish

    def sum(self, arrays: list[Array]) -> list[Array]:
        """Return the sum over all processes of each array; all of them call it in the same order."""
        return [finish() for finish in [self.start_sum(array) for array in arrays]]
