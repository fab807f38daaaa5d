"""The step at other moments of the training: with the parameters that were recorded then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnbackend.callbacks.record import Record
from nnbackend.core.tree import flatten
from nnbackend.microscope.explanation import Moment
from nnbackend.microscope.formulas import Number
from nnbackend.microscope.snapshot import Snapshot, Values, take_snapshot
from nnbackend.optimizers import Optimizer

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["StepTaker", "find_moments"]

_MOST_BYTES = 300_000  # that the numbers of all moments take on the page
_BYTES = 20  # that a number takes

Curve: TypeAlias = tuple[list[int], list[float]]


@dataclass
class StepTaker:
    """Takes snapshots with other parameters; the copy of the network is all it changes."""

    network: Network
    x: Any
    y: Any
    loss: Any
    optimizer: Optimizer

    def __post_init__(self) -> None:
        self._state = self.network.state_dict()
        self._trained = self.network.trained

    def take(self, parameters: dict[str, Any] | None = None) -> Snapshot:
        """Return the step with the parameters given by dotted name, or those that the network has."""
        self.network.load_state_dict({**self._state, **(parameters or {})})
        self.network.trained = self._trained
        return take_snapshot(self.network, self.x, self.y, self.loss, self.optimizer)


def find_moments(
    numbers: list[Number], snapshot: Snapshot, taker: StepTaker, record: Record | None
) -> tuple[list[Moment], Curve, list[str]]:
    """Return the numbers at the moments of a record, the last one now; the losses; notes."""
    now = Moment("now", None, _values(snapshot, numbers))
    if record is None or not len(record):
        return [now], ([], []), []
    notes = [record.note] if record.note else []
    curve = record.steps.tolist(), record.loss.tolist()
    if not record.parameters:
        return [now], curve, notes
    _check_record(record, taker.network)
    most = max(2, _MOST_BYTES // (_BYTES * len(numbers)))
    chosen = np.unique(np.linspace(0, len(record) - 1, min(most, len(record))).round())
    if len(chosen) < len(record):
        notes.append(f"{len(chosen)} of the {len(record)} recorded moments are shown")
    moments = []
    for i in chosen.astype(int):
        then = taker.take({name: a[i] for name, a in record.parameters.items()})
        step, epoch = int(record.steps[i]), int(record.epochs[i])
        label = f"step {step:,}, epoch {epoch:,}" if step else "before training"
        moments.append(Moment(label, step, _values(then, numbers)))
    if not np.array_equal(moments[-1].values, now.values, equal_nan=True):
        moments.append(now)
    return moments, curve, notes


def _check_record(record: Record, network: Network) -> None:
    """Refuse the record of another network."""
    own = {name: tuple(a.shape) for name, a in flatten(network.params).items()}
    found = {name: a.shape[1:] for name, a in record.parameters.items()}
    if own != found:
        raise ValueError(
            f"the record is of another network: it has the parameters {found}, and this one {own}"
        )


def _values(snapshot: Snapshot, numbers: list[Number]) -> Values:
    """Return the values of numbers in a step."""
    values = [float(snapshot.arrays[number.array][number.place]) for number in numbers]
    return np.array(values, dtype=np.float64)
