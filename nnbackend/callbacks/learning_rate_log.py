"""Record the learning rate of each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_size
from nnbackend.saving.schema import Check, items, number, record, whole

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["LearningRateLog"]


class LearningRateLog(Callback):
    """Records the learning rates of steps; the history has only that of the last step of each epoch.

    It does not interrupt the training: the rates of a block of steps are recorded together.

    Args:
        every: which steps are recorded, default 1: every step; 100: steps 100, 200 ...

    Attributes:
        steps: the numbers of the steps, counted from 1 at the start of the run.
        rates: the learning rate of each.
    """

    only_watches = True
    every_batch = False
    every_epoch = False
    schema: ClassVar[Check] = record(
        {"steps": items(whole()), "rates": items(number(finite=False))}
    )

    def __init__(self, every: int = 1) -> None:
        self.every = check_size("every", every)
        self._reset()

    def _reset(self) -> None:
        self.steps: list[int] = []
        self.rates: list[float] = []
        self._seen = 0

    def start(self, run: Run) -> None:
        if not run.resumed:
            self._reset()
        self._seen = run.steps

    def batch_end(self, run: Run) -> None:
        rates = run.learning_rates(run.steps - self._seen)
        for step, rate in enumerate(rates, run.steps - len(rates) + 1):
            if step % self.every == 0:
                self.steps.append(step)
                self.rates.append(rate)
        self._seen = run.steps

    def epoch_end(self, run: Run) -> None:
        """Record the rates of epochs that ran together."""
        if run.steps > self._seen:
            self.batch_end(run)

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "rates": self.rates}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.steps, self.rates = list(state["steps"]), list(state["rates"])
