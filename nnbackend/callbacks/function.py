"""Functions as callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Lambda"]

_EVENTS = ("start", "epoch_start", "batch_end", "epoch_end", "stop")


class Lambda(Callback):
    """Calls functions of the run: ``Lambda(epoch_end=lambda run: print(run.history.last))``.

    Args:
        start: called once, before the first epoch.
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
        given = dict(zip(_EVENTS, (start, epoch_start, batch_end, epoch_end, stop), strict=True))
        self._functions = {event: f for event, f in given.items() if f is not None}
        for event, function in self._functions.items():
            if not callable(function):
                raise TypeError(f"{event} must be a function of the run, got {function!r}")
        self.every_epoch = epoch_start is not None or epoch_end is not None

    @property
    def listens_to_batches(self) -> bool:
        """Whether there is a function for it."""
        return "batch_end" in self._functions

    def _call(self, event: str, run: Run) -> None:
        if event in self._functions:
            self._functions[event](run)

    def start(self, run: Run) -> None:
        """Call the function given."""
        self._call("start", run)

    def epoch_start(self, run: Run) -> None:
        """Call the function given."""
        self._call("epoch_start", run)

    def batch_end(self, run: Run) -> None:
        """Call the function given."""
        self._call("batch_end", run)

    def epoch_end(self, run: Run) -> None:
        """Call the function given."""
        self._call("epoch_end", run)

    def stop(self, run: Run) -> None:
        """Call the function given."""
        self._call("stop", run)
