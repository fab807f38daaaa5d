"""Adds up a backend's arrays over processes, through the memory of the host."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.replay.recorded_array import written
from nnbackend.core.tree import arrays_in, flatten, leaves, map_arrays, unflatten
from nnbackend.core.types import Array, Arrays, Params
from nnbackend.parallel.local_steps import LocalSteps
from nnbackend.parallel.processes import Processes
from nnbackend.parallel.sums import Half, Whole

__all__ = ["HostCommunicator"]


class HostCommunicator:
    """Adds up arrays over processes, and brings rows together.

    Args:
        processes: the processes.
        backend: whose arrays they are.
        compress: ``"float16"``: gradients travel in 16 bits; None (the default): as they are.

    Attributes:
        compress: how gradients travel.
        local_steps: how many steps a process takes alone; None: gradients are summed in each step.
        rank: the number of this process.
        size: how many there are.
        processes: the processes.
        compress: how gradients travel, as it was given.
        reads_share: whether each process reads only its rows of the batches.
        first_row: the number of its first row in a batch then.
        is_recordable: whether a step with these sums may be recorded and played.
    """

    reads_share, first_row = False, 0
    local_steps: LocalSteps | None = None

    def __init__(self, processes: Processes, backend: Backend, compress: str | None = None) -> None:
        self.processes, self._backend = processes, backend
        self.is_recordable = backend.name == "numpy"
        self.rank, self.size = processes.rank, processes.size
        self._exchange = processes.exchange
        self.compress = compress
        self._travel = Whole() if compress is None else Half()

    def sum(self, arrays: list[Array]) -> list[Array]:
        """Return the sum over all processes of each array; all of them call it in the same order."""
        return [finish() for finish in [self._start(array, Whole()) for array in arrays]]

    def start_sum(self, array: Array) -> Callable[[], Array]:
        """Start a sum of gradients; return the function that waits for it and returns it."""
        return self._start(array, self._travel)

    def _start(self, array: Array, travel: Whole | Half) -> Callable[[], Array]:
        vector = self._on_host(array).reshape(-1)
        what = vector.size, vector.dtype, travel
        own = self._exchange.take(*what)
        begun = written(own.start, (vector,), (1,))

        def finish() -> Array:
            total = written(own.finish, (begun,), vector.shape)
            self._exchange.give_back(own, *what)
            return self._on_device(total.reshape(array.shape), array)

        return finish

    def gather_numbers(self, *numbers: int) -> list[list[int]]:
        """Return the whole numbers that each process gives."""
        found: list[list[int]] = self.processes.gather_numbers(*numbers).tolist()
        return found

    def gather_rows(self, arrays: Arrays, counts: Sequence[int]) -> Arrays:
        """Return the rows of all processes, one after the other; each has so many as ``counts`` says."""
        return map_arrays(lambda array: self._gathered(array, counts), arrays)

    def _gathered(self, array: Array, counts: Sequence[int]) -> Array:
        own = self._on_host(array)
        found = written(self._gather, (own,), (sum(counts), *own.shape[1:]), counts)
        return self._on_device(found, array)

    def _gather(
        self, own: np.ndarray[Any, Any], found: np.ndarray[Any, Any], counts: Sequence[int]
    ) -> None:
        """Write the rows of all processes into ``found``."""
        rows = np.ascontiguousarray(own)
        each = math.prod(rows.shape[1:])
        sizes = [count * each for count in counts]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
        self.processes.finish("Iallgatherv", rows, [found, (sizes, starts)])

    def _on_host(self, array: Array) -> Any:
        """Return an array in the memory of the host; one that is being recorded stays recorded."""
        if isinstance(array, np.ndarray):
            return array
        return np.asarray(self._backend.to_numpy(array))

    def _on_device(self, host: np.ndarray[Any, Any], like: Array) -> Array:
        """Return an array where another one is, in its dtype."""
        if isinstance(like, np.ndarray):
            return host
        return self._backend.asarray(host, dtype=like.dtype)

    def gather_all(self, arrays: Arrays) -> Arrays:
        """Return the rows of all processes, of which each has any number; None stays None."""
        first = next(iter(arrays_in((arrays,))), None)
        if first is None:
            return arrays
        counts = self.processes.gather_numbers(first.shape[0])[:, 0].tolist()
        return self.gather_rows(arrays, counts)

    def share_params(self, params: Params) -> Params:
        """Return named arrays of process 0, copies; the others give arrays of the same shapes."""
        backend = self._backend
        flat = flatten(params)
        shared = self.processes.share_arrays([backend.to_numpy(a) for a in flat.values()])
        pairs = zip(flat.items(), shared, strict=True)
        return unflatten({n: self._on_device(host, a) for (n, a), host in pairs}, params)

    def checksum(self, *trees: Params) -> int:
        """Return a number by which nested arrays are recognized: bit for bit the same, or not."""
        found = 0
        for leaf in (leaf for tree in trees for leaf in leaves(tree)):
            found = zlib.crc32(np.ascontiguousarray(self._backend.to_numpy(leaf)).data, found)
        return found
