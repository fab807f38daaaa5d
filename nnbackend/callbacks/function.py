"""Functions as callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_takes
from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Lambda", "as_callback"]


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
        self._name = "Lambda"
        functions = {"start": start, "epoch_start": epoch_start, "batch_end": batch_end}
        for event, function in (functions | {"epoch_end": epoch_end, "stop": stop}).items():
            if not callable(function) and function is not None:
                raise TypeError(f"{event} must be a function of the run, got {given(function)}")
            if function is not None:
                setattr(self, event, function)  # takes the place of the method
        self.every_epoch = epoch_start is not None or epoch_end is not None

    @property
    def name(self) -> str:
        return self._name

    @property
    def listens_to_batches(self) -> bool:
        return "batch_end" in vars(self)


_OTHER_NAMES = {  # of methods in Keras and in Lightning, with those that they are here
    "on_train_begin": "start",
    "on_train_start": "start",
    "on_fit_start": "start",
    "on_epoch_begin": "epoch_start",
    "on_epoch_start": "epoch_start",
    "on_train_epoch_start": "epoch_start",
    "on_batch_end": "batch_end",
    "on_train_batch_end": "batch_end",
    "on_epoch_end": "epoch_end",
    "on_train_epoch_end": "epoch_end",
    "on_train_end": "stop",
    "on_fit_end": "stop",
}


def as_callback(spec: Any) -> Callback:
    """Return a callback unchanged; for a function, a callback that calls it after each epoch.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(spec, Callback):
        for name, own in _OTHER_NAMES.items():
            if hasattr(spec, name) and getattr(type(spec), own) is getattr(Callback, own):
                raise TypeError(
                    f"callbacks: {type(spec).__name__} has a method {name}, which nothing calls; "
                    f"here it is {own}(run)"
                )
        return spec
    if not callable(spec) or isinstance(spec, type):
        raise TypeError(
            f"callbacks: a callback is a Callback or a function of the run, got {given(spec)}"
        )
    check_takes("callbacks: a function", spec, "run")
    callback = Lambda(epoch_end=spec)
    callback._name = getattr(spec, "__qualname__", type(spec).__name__)
    return callback
