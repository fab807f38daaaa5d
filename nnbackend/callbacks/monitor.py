"""A metric that is watched, and its best value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnbackend.core.checks import check_choice, check_number, check_text
from nnbackend.errors import UnknownNameError, unknown_name

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Monitor"]

SMALLER_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "mape")
LARGER_IS_BETTER = ("accuracy", "precision", "recall", "f1", "auc", "r2", "score")


class Monitor:
    """A metric of the history and its best value so far.

    Args:
        name: the name in the history, ``"validation_loss"``.
        min_delta: the least improvement on the best value that counts, default 0.
        mode: ``"min"`` or ``"max"``: which values are better; None: as the name says.

    Attributes:
        best: the best value so far, or None.

    Raises:
        ValueError: an argument is out of range, or the name does not say which values are better.
    """

    def __init__(self, name: str, min_delta: float = 0.0, mode: str | None = None) -> None:
        self.name = check_text("monitor", name)
        self.min_delta = check_number("min_delta", min_delta, 0.0)
        if mode is None:
            mode = _mode_of(name)
        self.mode = check_choice("mode", mode, ("min", "max"))
        self.best: float | None = None

    def value(self, run: Run) -> float:
        """Return the value of the last epoch.

        Raises:
            UnknownNameError: the history has no such metric.
        """
        if self.name not in run.history:
            hint = ""
            if self.name.startswith("validation_"):
                hint = "; for metrics on validation data give validation_data or validation_split"
            unknown = unknown_name("metric", self.name, run.history)
            raise UnknownNameError(f"{unknown}{hint}")
        return run.history[self.name][-1]

    def improve(self, value: float) -> bool:
        """Return whether a value is better than the best; if so, it becomes the best."""
        if math.isnan(value):
            return False
        sign = 1.0 if self.mode == "min" else -1.0
        if self.best is not None and not sign * value < sign * self.best - self.min_delta:
            return False
        self.best = value
        return True


def _mode_of(name: str) -> str:
    for mode, words in (("min", SMALLER_IS_BETTER), ("max", LARGER_IS_BETTER)):
        if any(word in name for word in words):
            return mode
    raise ValueError(f"is a small or a large {name!r} better? Say mode='min' or mode='max'")
