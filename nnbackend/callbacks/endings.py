"""End a run when its time is up, or when a loss is no longer finite."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_number

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["TerminateOnNaN", "TimeBudget"]


class TimeBudget(Callback):
    """Ends a run after a given time, within an epoch if necessary.

    The time counts from the call of ``fit``: a resumed run has the whole time again.

    Args:
        seconds: the time limit. The run ends after the block of steps in which it is reached.

    Raises:
        ValueError: ``seconds`` is not a number, or negative.
    """

    every_batch = False
    every_epoch = False

    def __init__(self, seconds: float) -> None:
        self.seconds = check_number("seconds", seconds, 0.0)
        self._end = math.inf

    def start(self, run: Run) -> None:
        self._end = time.monotonic() + self.seconds

    def batch_end(self, run: Run) -> None:
        self._check(run, at_once=run.step != run.steps_per_epoch)

    def epoch_end(self, run: Run) -> None:
        self._check(run, at_once=False)

    def _check(self, run: Run, at_once: bool) -> None:
        if run.reason is None and time.monotonic() >= self._end:
            run.stop(f"the time of {self.seconds:g} s is up", at_once=at_once)


class TerminateOnNaN(Callback):
    """Ends a run, instead of letting it fail, when a loss is NaN or infinite.

    Without it ``fit`` raises a :class:`~nnbackend.errors.DivergenceError`. Either way the network keeps
    the parameters after the last whole epoch.
    """

    every_batch = False
    every_epoch = False

    def batch_end(self, run: Run) -> None:
        """Look at the losses of the steps since the last call."""
        losses = run.losses
        for step, loss in enumerate(losses, run.step - len(losses) + 1):
            if not math.isfinite(loss):
                run.stop(f"the loss is {loss} in epoch {run.epoch}, step {step}", at_once=True)
                return

    def epoch_end(self, run: Run) -> None:
        """Look at the losses of the epoch, the validation loss included."""
        for name, value in run.history.last.items():
            if "loss" in name and not math.isfinite(value):
                run.stop(f"the {name} is {value} in epoch {run.epoch}")
