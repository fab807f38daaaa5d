"""Lower the learning rate when a metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.monitor import Monitor
from nnbackend.core.checks import check_number, check_size
from nnbackend.saving.schema import Check, number, optional, record, whole

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by a factor when a metric has not improved for a number of epochs.

    It works with every optimizer that has a learning rate, and with every schedule, whose rates are all
    multiplied. A new rate holds from the next epoch on; nothing is compiled again for it.

    Args:
        monitor: the metric, by its name in the history, default ``"validation_loss"``.
        factor: the learning rate is multiplied by it, below 1, default 0.1.
        patience: the number of epochs without a better value that lower the rate, default 10.
            (PyTorch counts one less: the epochs that may pass.)
        min_delta: the least improvement on the best value that counts, default 0.
        cooldown: for how many epochs after a reduction none is counted, default 0.
        minimum: the learning rate does not fall below this, default 0.
        mode: ``"min"`` or ``"max"``: which values are better; None: as the metric says, or its name.

    Raises:
        ValueError: an argument is out of range.
        UnknownNameError: the history has no such metric (at the end of the first epoch).

    Source: PyTorch's ReduceLROnPlateau, with an absolute threshold.
    """

    schema: ClassVar[Check] = record(
        {"best": optional(number(finite=False)), "worse": whole(), "cooling": whole()}
    )

    def __init__(
        self,
        monitor: str = "validation_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        cooldown: int = 0,
        minimum: float = 0.0,
        *,
        mode: str | None = None,
    ) -> None:
        self.monitor = Monitor(monitor, min_delta, mode)
        self.factor = check_number("factor", factor, 0.0, 1.0)
        self.patience = check_size("patience", patience)
        self.cooldown = check_size("cooldown", cooldown, 0)
        self.minimum = check_number("minimum", minimum, 0.0)
        self._reset()

    def _reset(self) -> None:
        self.monitor.best = None
        self._worse = 0  # epochs in a row without a better value
        self._cooling = 0  # epochs until they are counted again

    def start(self, run: Run) -> None:
        self.monitor.start(run)
        if not run.resumed:
            self._reset()

    def epoch_end(self, run: Run) -> None:
        better = self.monitor.improve(self.monitor.value(run))
        self._worse = 0 if better else self._worse + 1
        if self._cooling > 0:
            self._cooling -= 1
            self._worse = 0
        if self._worse >= self.patience:
            self._worse, self._cooling = 0, self.cooldown
            run.learning_rate_factor *= self._reduction(run)

    def _reduction(self, run: Run) -> float:
        """Return the factor, or the one that leads to the minimum."""
        if self.minimum == 0.0:
            return self.factor
        rates = run.learning_rates(1)
        if not rates:
            raise ValueError(
                "minimum= needs to know the learning rate: in your own loop call "
                "run.batch_end(loss, learning_rate)"
            )
        return max(self.factor, min(1.0, self.minimum / rates[-1])) if rates[-1] > 0.0 else 1.0

    def state(self) -> dict[str, Any]:
        """Return the best value and the counts of epochs; the run keeps the factor."""
        return {"best": self.monitor.best, "worse": self._worse, "cooling": self._cooling}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.monitor.best = state["best"]
        self._worse = state["worse"]
        self._cooling = state["cooling"]
