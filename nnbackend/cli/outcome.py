"""What came of a training of ``nnbackend train``, whatever the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows
from nnbackend.core.history import History
from nnbackend.tables.model import Model

__all__ = ["Outcome", "check_epochs"]


@dataclass(frozen=True)
class Outcome:
    """A trained model and all there is to know about its training.

    Attributes:
        model: the model.
        settings: the settings of the training, as plain data.
        histories: of each network that was trained.
        counts: how many rows trained, and how many validated.
        x: the features of the rows that a report is about: the validation rows, or where there are none
            the training rows.
        y: their targets.
        metrics: on the rows that train, on those that validate, and of a baseline.
        baseline_answer: what the baseline always answers.
        plan: what was announced of the training, in words.
        parts: the training rows, and those of ``x``, before they were encoded, if they were kept.
        divisions: of each of several networks the numbers of the rows that trained it, and of those held
            out, of the table that is then the first of ``parts``.
        outputs: of the rows of ``x``, if they come of networks that did not see them; None: those of the
            model.
        more: further facts, as plain data.
    """

    model: Model
    settings: dict[str, Any]
    histories: list[History]
    counts: tuple[int, int]
    x: Any
    y: NDArray[Any]
    metrics: dict[str, Any]
    baseline_answer: str
    plan: dict[str, str]
    parts: tuple[TableRows | None, TableRows | None] = (None, None)
    divisions: Sequence[tuple[NDArray[Any], NDArray[Any]]] = ()
    outputs: NDArray[Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def row_count(self) -> int:
        """The number of rows; with folds each trains networks, and validates another."""
        return sum(self.counts) if self.outputs is None else self.counts[0]

    @property
    def epochs(self) -> int:
        """The number of epochs; of several networks the largest."""
        return max(len(history) for history in self.histories)

    @property
    def seconds(self) -> float:
        """The seconds of all epochs."""
        return sum(second for history in self.histories for second in history["seconds"])

    @property
    def stopped(self) -> str | None:
        """Why training ended before the last epoch, or None; of several networks the last reason."""
        reasons = [history.stopped for history in self.histories if history.stopped]
        return reasons[-1] if reasons else None


def check_epochs(history: History, max_time: float | None = None) -> None:
    """Refuse a training that ended before an epoch was done.

    Args:
        history: of the training.
        max_time: the seconds that it had; None (the default): all the time.

    Raises:
        KeyboardInterrupt: it was interrupted.
        ValueError: it ended for another reason.
    """
    if not len(history):
        if (history.stopped or "").startswith("interrupted"):
            raise KeyboardInterrupt
        if max_time is not None:
            raise ValueError(
                f"no model was written: no epoch could be done in the time of {max_time:g} s; give "
                "more by --max-time, or fewer rows"
            )
        raise ValueError(f"no model was written: no epoch was done, {history.stopped}")
