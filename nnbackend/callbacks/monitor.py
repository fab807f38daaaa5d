"""A metric that is watched, and its best value."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from nnbackend.core.checks import check_choice, check_number, check_text
from nnbackend.errors import UnknownNameError, given, nearest, unknown_name

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Monitor"]

_WORDS = {
    "min": {"loss", "error", "mse", "mae", "rmse", "mape"},
    "max": {"accuracy", "precision", "recall", "f1", "auc", "r2", "score"},
}
_QUALIFIERS = {
    "macro",
    "micro",
    "weighted",
    "binary",
    "rate",
    "score",
}  # they may follow such a word
_REVERSING = {
    "neg",
    "negative",
    "negated",
    "minus",
    "inverse",
    "inv",
    "inverted",
    "not",
    "non",
    "d2",
    "skill",
    "complement",
    "gain",
    "gap",
    "drop",
    "change",
    "delta",
    "reduction",
    "improvement",
    "saved",
}


class Monitor:
    """A metric of the history and its best value so far.

    Args:
        name: the name in the history, ``"validation_loss"``.
        min_delta: the least improvement on the best value that counts, default 0.
        mode: ``"min"`` or ``"max"``: which values are better; None: as the metric says, or its name.
        ties: which of several equal best values counts, the ``"first"`` (the default) or the ``"last"``.

    Attributes:
        best: the best value so far, or None.
        mode: which values are better; None until the run starts, if it was not given.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, name: str, min_delta: float = 0.0, mode: str | None = None, ties: str = "first"
    ) -> None:
        self.name = check_text("monitor", name)
        self.min_delta = check_number("min_delta", min_delta, 0.0)
        self.mode = None if mode is None else check_choice("mode", mode, ("min", "max"))
        self._given_mode = self.mode
        self._later_counts = check_choice("ties", ties, ("first", "last")) == "last"
        self.best: float | None = None

    def start(self, run: Run) -> None:
        """Find out which values are better, from ``larger_is_better`` of the metric or from its name.

        Raises:
            UnknownNameError: it is no metric of the run, nor a name that says it.
            ValueError: neither says it.
        """
        if self._given_mode is not None:
            return
        name = self.name.removeprefix("validation_")
        larger = getattr(run.metrics.get(name), "larger_is_better", None)
        if larger is not None:
            self.mode = "max" if larger else "min"
            return
        try:
            self.mode = _mode_of(self.name)
        except ValueError as error:
            known = ["loss", *run.metrics]
            if name in known or not (run.metrics or nearest(name, known)):
                raise
            named = [f"{self.name.removesuffix(name)}{other}" for other in known]
            unknown = unknown_name("metric to monitor", self.name, named)
            raise UnknownNameError(
                f"{unknown}; if a callback adds it to the history: {error}"
            ) from None

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
        """Return whether a value counts as the best from now on; if so, it becomes that."""
        if math.isnan(value):
            return False
        if self.mode is None:  # no run has started
            self.mode = _mode_of(self.name)
        if self._later_counts and value == self.best:
            return True
        sign = 1.0 if self.mode == "min" else -1.0
        if self.best is not None and not sign * value < sign * self.best - self.min_delta:
            return False
        self.best = value
        return True


def _mode_of(name: str) -> str:
    """Return which values are better, where a name leaves no doubt.

    It ends in a word that says so (``"roc_auc"``, ``"f1_macro"``), and no other word in it says the
    opposite or may reverse it (``"neg_log_loss"``, ``"d2_log_loss_score"``).
    """
    name_in_history, name = name, name.removeprefix("validation_").lower()
    words = re.findall(r"[^\W_]+", name) if name[:1].isalpha() else []  # "1-accuracy"
    said = set(words)
    while len(words) > 1 and (words[-1] in _QUALIFIERS or words[-1].isdigit()):
        words.pop()
    for mode, other in (("min", "max"), ("max", "min")):
        if set(words[-1:]) & _WORDS[mode] and not said & (_WORDS[other] | _REVERSING):
            return mode
    raise ValueError(
        f"monitor: is a small or a large {given(name_in_history)} better? Say mode='min' or "
        "mode='max', or give the metric an attribute larger_is_better"
    )
