"""A smaller learning rate when a figure gets no better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.monitor import Monitor
from nnbackend.core.checks import check_number, check_size

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by a factor when a figure has got no better for a number of epochs.

    It goes together with any optimizer and any schedule, whose rates are all multiplied. A new rate
    holds from the next epoch on, and compiles nothing. L-BFGS has no learning rate.

    Args:
        monitor: the figure, a name of the history.
        factor: by which the learning rate is multiplied, below 1.
        patience: after how many epochs without a better value it is. (PyTorch counts one less: the
            epochs that are let pass.)
        min_delta: by how much a value has to be better than the best to count.
        cooldown: for how many epochs after that none is counted.
        minimum: no learning rate below this is made.
        mode: ``"min"`` or ``"max"``: which is better; None: as the name of the figure says.

    Raises:
        ValueError: an argument is out of range.
        UnknownNameError: the history has no such figure (at the end of the first epoch).

    Source: PyTorch's ReduceLROnPlateau, with an absolute threshold.
    """

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
        self.cooldown = cooldown if cooldown == 0 else check_size("cooldown", cooldown)
        self.minimum = check_number("minimum", minimum, 0.0)
        self._forget()

    def _forget(self) -> None:
        self.monitor.best = None
        self._worse = 0  # epochs in a row
        self._cooling = 0  # epochs that are left

    def start(self, run: Run) -> None:
        """Forget another run."""
        if not run.resumed:
            self._forget()

    def epoch_end(self, run: Run) -> None:
        """Compare the figure with the best."""
        better = self.monitor.better(self.monitor.value(run))
        self._worse = 0 if better else self._worse + 1
        if self._cooling > 0:
            self._cooling -= 1
            self._worse = 0
        if self._worse >= self.patience:
            self._worse, self._cooling = 0, self.cooldown
            run.learning_rate_factor *= self._shrinking(run)

    def _shrinking(self, run: Run) -> float:
        """Return the factor, or the one that leads to the smallest rate allowed."""
        if self.minimum == 0.0:
            return self.factor
        rates = run.learning_rates(1)
        if not rates:
            raise ValueError(
                "minimum= needs to know the learning rate: in a loop of your own say "
                "run.batch_end(loss, learning_rate)"
            )
        return max(self.factor, min(1.0, self.minimum / rates[-1])) if rates[-1] > 0.0 else 1.0

    def state(self) -> dict[str, Any]:
        """Return the best value and the counts of epochs; the factor is the run's."""
        return {"best": self.monitor.best, "worse": self._worse, "cooling": self._cooling}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.monitor.best = state["best"]
        self._worse = state["worse"]
        self._cooling = state["cooling"]
