"""Early stopping: end a run that no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.monitor import Monitor
from nnbackend.core.checks import check_flag, check_number, check_size
from nnbackend.core.state_names import known_name
from nnbackend.errors import ModelFileError, counted
from nnbackend.saving.schema import Check, array, entries, number, optional, record, whole

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Ends a run when a metric has not improved for a number of epochs.

    Args:
        monitor: the metric, by its name in the history, default ``"validation_loss"``.
        patience: the number of epochs without a better value that end the run, default 10.
        min_delta: the least improvement on the best value that counts, default 0.
        restore_best: whether the network gets the parameters of the best epoch at the end of the run,
            default True; however the run ends, unless a callback fails.
        mode: ``"min"`` or ``"max"``: which values are better; None: as the metric says, or its name.
        ties: which of several epochs with the same best value is the best, the ``"first"`` (the default)
            or the ``"last"``. Of a value with few steps, such as an accuracy on few rows, the last
            trained longer.
        patience_factor: how much the patience grows with the best epoch, 0 or more: the run ends after
            ``patience + patience_factor * best_epoch`` epochs without a better value; default 0. With
            1 a run whose best epoch is late has as long again to find a better one.

    Attributes:
        best: the best value so far, or None.
        best_epoch: the epoch of the best value.

    Raises:
        ValueError: an argument is out of range.
        UnknownNameError: the history has no such metric (at the end of the first epoch).

    Source: Prechelt (1998), Early stopping - but when?, criterion UP.
    """

    schema: ClassVar[Check] = record(
        {
            "best": optional(number(finite=False)),
            "best_epoch": whole(),
            "waited": whole(),
            "weights": optional(entries(array(kinds="f", finite=True))),
        }
    )

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
        *,
        mode: str | None = None,
        ties: str = "first",
        patience_factor: float = 0.0,
    ) -> None:
        check_flag("restore_best", restore_best)
        self.monitor = Monitor(monitor, min_delta, mode, ties)
        self.patience = check_size("patience", patience)
        self.patience_factor = check_number("patience_factor", patience_factor, 0.0)
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.monitor.best = None
        self.best_epoch = 0
        self._waited = 0
        self._weights: dict[str, Any] | None = None

    @property
    def best(self) -> float | None:
        return self.monitor.best

    def start(self, run: Run) -> None:
        """Start over, or end a resumed run whose patience was already exhausted."""
        self.monitor.start(run)
        if not run.resumed:
            self._reset()
        if self._weights is not None:
            own = {name: tuple(a.shape) for name, a in run.network.state_dict().items()}
            if {known_name(n, own): a.shape for n, a in self._weights.items()} != own:
                raise ModelFileError(
                    "the checkpoint's weights of the best epoch are not the network's"
                )
        self._check(run)

    def epoch_end(self, run: Run) -> None:
        self._waited += 1
        if self.monitor.improve(self.monitor.value(run)):
            self.best_epoch, self._waited = run.epoch, 0
            if self.restore_best:
                self._weights = run.network.state_dict()
        self._check(run)

    def _check(self, run: Run) -> None:
        if self._waited >= self.patience + self.patience_factor * self.best_epoch:
            best = "was never a number"
            if self.best is not None:
                best = f"was best in epoch {self.best_epoch} ({self.best:.6g})"
            run.stop(
                f"{self.monitor.name} {best}, and no better for {counted(self._waited, 'epoch')}"
            )

    def stop(self, run: Run) -> None:
        if self._weights is not None and run.failure is None:
            run.network.load_state_dict(self._weights)
            self._weights = None

    def state(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "weights": self._weights,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.monitor.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self._waited = state["waited"]
        self._weights = state["weights"]
