"""Functions as callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Lambda"]


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
        functions = {"start": start, "epoch_start": epoch_start, "batch_end": batch_end}
        for event, function in (functions | {"epoch_end": epoch_end, "stop": stop}).items():
            if not callable(function) and function is not None:
                raise TypeError(f"{event} must be a function of the run, got {function!r}")
            if function is not None:
                setattr(self, event, function)  # takes the place of the method
        self.every_epoch = epoch_start is not None or epoch_end is not None

    @property
    def listens_to_batches(self) -> bool:
        """Whether a function was given for it."""
        return "batch_end" in vars(self)
