"""A figure that is watched, and the best it has been."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnbackend.core.checks import check_number
from nnbackend.errors import unknown_name

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Monitor"]

_SMALLER = ("loss", "error", "mse", "mae", "rmse", "mape")
_LARGER = ("accuracy", "precision", "recall", "f1", "auc", "r2", "score")


class Monitor:
    """A figure of the history and its best value so far.

    Args:
        name: of the figure, ``"validation_loss"``.
        min_delta: by how much a value has to be better than the best to count.
        mode: ``"min"`` or ``"max"``: which is better; None: as the name says.

    Attributes:
        best: the best value so far, or None.

    Raises:
        ValueError: ``min_delta`` or ``mode`` is no such thing, or the name does not say.
    """

    def __init__(self, name: str, min_delta: float = 0.0, mode: str | None = None) -> None:
        self.name = name
        self.min_delta = check_number("min_delta", min_delta, 0.0)
        if mode is None:
            mode = _mode_of(name)
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        self.mode = mode
        self.best: float | None = None

    def value(self, run: Run) -> float:
        """Return the figure of the last epoch.

        Raises:
            UnknownNameError: the history has no such figure.
        """
        if self.name not in run.history:
            hint = ""
            if self.name.startswith("validation_"):
                hint = "; for figures on validation data give validation_data or validation_split"
            raise type(unknown := unknown_name("figure", self.name, run.history))(
                f"{unknown}{hint}"
            )
        return run.history[self.name][-1]

    def better(self, value: float) -> bool:
        """Return whether a value is better than the best, and make it the best then."""
        if math.isnan(value):
            return False
        sign = 1.0 if self.mode == "min" else -1.0
        if self.best is not None and not sign * value < sign * self.best - self.min_delta:
            return False
        self.best = value
        return True


def _mode_of(name: str) -> str:
    for mode, words in (("min", _SMALLER), ("max", _LARGER)):
        if any(word in name for word in words):
            return mode
    raise ValueError(f"is a small or a large {name!r} better? Say mode='min' or mode='max'")
