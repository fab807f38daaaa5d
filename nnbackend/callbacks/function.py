"""Functions as callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Lambda"]

_EVENT_NAMES = ("start", "epoch_start", "batch_end", "epoch_end", "stop")


class Lambda(Callback):
    """Calls functions of the run: ``Lambda(epoch_end=lambda run: print(run.history.last))``.

    Args:
        start: called once, before the first epoch; None, as for the others: nothing is called.
        epoch_start: called before each epoch.
        batch_end: called after each step.
        epoch_end: called after each epoch.
        stop: called once at the end.

    Raises:
        TypeError: something is not a function.
    """

    def __init__(
        self,
        *,
        start: Callable[[Run], Any] | None = None,
        epoch_start: Callable[[Run], Any] | None = None,
        batch_end: Callable[[Run], Any] | None = None,
        epoch_end: Callable[[Run], Any] | None = None,
        stop: Callable[[Run], Any] | None = None,
    ) -> None:
        functions = dict(
            zip(_EVENT_NAMES, (start, epoch_start, batch_end, epoch_end, stop), strict=True)
        )
        for event, function in functions.items():
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{event} must be a function of the run, got {function!r}")
            setattr(self, event, function)  # takes the place of the method
        self.every_epoch = epoch_start is not None or epoch_end is not None

    @property
    def listens_to_batches(self) -> bool:
        """Whether a function was given for it."""
        return "batch_end" in vars(self)
