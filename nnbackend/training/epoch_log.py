"""What the steps of an epoch leave behind: their losses and, for metrics, outputs and targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.tree import map_arrays, slice_rows
from nnbackend.core.types import Arrays, StepResult
from nnbackend.data.samples import Samples
from nnbackend.errors import DataError
from nnbackend.inference.evaluate import NO_WEIGHT, joined_rows

__all__ = ["EpochLog"]

_MAX_UNREAD_BLOCKS = 256
"""Blocks of steps whose losses are on the device; then they are read, which waits for the steps."""


class EpochLog:
    """The losses of an epoch's steps, and the outputs of their rows if metrics are computed from them.

    Losses stay on the device until they are read, so that steps need not wait. ``steps`` are in it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.steps = 0
        self._losses: list[Any] = []  # of each block of steps
        self._weights: list[Any] = []
        self._read_blocks = 0  # how many of them are on the host
        self._outputs: list[Arrays] = []
        self._targets: list[tuple[Arrays, Any]] = []  # with the weights of their rows

    def append(self, block: Samples, batch_size: int, results: StepResult) -> None:
        """Add what ``Backend.scan`` returned for the steps of a block of rows."""
        rows = len(block)
        steps = math.ceil(rows / batch_size)
        weights = results.weight
        if weights is None:
            weights = np.full(steps, batch_size, dtype=np.float64)
            weights[-1] = rows - (steps - 1) * batch_size
        self._losses.append(results.loss)
        self._weights.append(weights)
        self.steps += steps
        if results.output is not None:
            self._outputs.append(slice_rows(results.output, 0, rows))  # without padding
            self.append_targets(block)
        if len(self._losses) - self._read_blocks >= _MAX_UNREAD_BLOCKS:
            self._read()

    def append_targets(self, block: Samples) -> None:
        """Add the targets of rows whose outputs are there."""
        self._targets.append((block.y, block.weight))

    @property
    def has_outputs(self) -> bool:
        """Whether it has outputs."""
        return bool(self._outputs)

    def mean(self) -> float:
        """Return the mean loss, each step counting by the weights of its rows.

        Raises:
            DataError: none has a weight, which of rows on a device shows here first.
        """
        losses, weights = self._read()
        total = weights.sum()
        if total == 0.0:
            raise DataError(NO_WEIGHT)
        # The mean of one loss is that loss, which the formula may miss by a rounding.
        return float(losses @ weights / total if len(losses) > 1 else losses[0])

    def latest_losses(self) -> list[float]:
        """Return the losses of the last block of steps, waiting for them."""
        return self._fetch(self._losses[-1]).tolist() if self._losses else []

    def rows(self) -> list[Arrays]:
        """Return outputs, targets and weights of all rows."""
        targets, weights = zip(*self._targets, strict=True)
        return [joined_rows(parts, self._backend) for parts in (self._outputs, targets, weights)]

    def state(self) -> dict[str, Any] | None:
        """Return the state of an unfinished epoch for a checkpoint; None for one without steps."""
        if not self._losses:
            return None
        losses, step_weights = self._read()
        outputs = None
        if self._outputs:  # joined once
            outputs = joined_rows(self._outputs, self._backend)
            self._outputs = [outputs]
        return {"losses": losses, "masses": step_weights, "outputs": outputs}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; the targets are to be added when their rows come by again."""
        self._losses, self._weights = [state["losses"]], [state["masses"]]
        self.steps, self._read_blocks = len(state["losses"]), 1
        if state["outputs"] is not None:
            outputs = _with_tuples(state["outputs"])
            self._outputs = [map_arrays(self._backend.asarray, outputs)]

    def _read(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return losses and weights of all steps, read once each."""
        unread = slice(self._read_blocks, None)
        self._losses[unread] = map(self._fetch, self._losses[unread])
        self._weights[unread] = map(self._fetch, self._weights[unread])
        self._read_blocks = len(self._losses)
        return np.concatenate(self._losses), np.concatenate(self._weights)

    def _fetch(self, numbers: Any) -> np.ndarray[Any, Any]:
        """Return the numbers of a block's steps on the host."""
        read = isinstance(numbers, np.ndarray) and numbers.dtype == np.float64
        return numbers if read else self._backend.fetch(numbers)


def _with_tuples(outputs: Any) -> Arrays:
    """Return outputs as a network gives them: JSON makes lists of tuples."""
    if isinstance(outputs, dict):
        return {name: _with_tuples(item) for name, item in outputs.items()}
    return tuple(map(_with_tuples, outputs)) if isinstance(outputs, list) else outputs
