"""What every callback has: five events, and a state that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Callback", "as_callback"]


class Callback:
    """Does nothing at any time; override what you need.

    Attributes:
        every_batch: whether ``batch_end`` is called after every step. Without it the steps between
            two calls may be many, as suits the backend.
        every_epoch: whether ``epoch_end`` is called after every epoch. Without it short epochs of
            a single step may be run many at a time, which is faster.
        last: whether it is called after those that are not, whatever its place in the list.
        only_watches: whether the training is the same without it, so that a resumed run may leave it
            out without a warning.
    """

    every_batch: bool = True
    every_epoch: bool = True
    last: ClassVar[bool] = False
    only_watches: ClassVar[bool] = False

    def start(self, run: Run) -> None:
        """Called once, before the first epoch; of a resumed run, after ``restore``."""

    def epoch_start(self, run: Run) -> None:
        """Called before each epoch."""

    def batch_end(self, run: Run) -> None:
        """Called after the step ``run.step``."""

    def epoch_end(self, run: Run) -> None:
        """Called after each epoch, when ``run.history`` has its figures."""

    def stop(self, run: Run) -> None:
        """Called once at the end, also when the run ends with an error."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep: plain data of JSON's kinds, and arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state` returned. Arrays come back as NumPy's."""

    @property
    def name(self) -> str:
        """What it is called in messages, and in checkpoints."""
        return type(self).__name__

    @property
    def batch_interval(self) -> int | None:
        """After how many steps ``batch_end`` has to be called; None: as suits the backend."""
        return 1 if self.every_batch else None

    @property
    def listens_to_batches(self) -> bool:
        """Whether ``batch_end`` is overridden; if not, steps need not be interrupted for it."""
        return type(self).batch_end is not Callback.batch_end


class EpochEnd(Callback):
    """A function of the run, called at the end of each epoch."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self._function, "__qualname__", type(self._function).__name__)

    def epoch_end(self, run: Run) -> None:
        """Call the function."""
        self._function(run)


def as_callback(spec: Any) -> Callback:
    """Return a callback as it is, and a function as the callback that calls it after each epoch.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(spec, Callback):
        return spec
    if callable(spec) and not isinstance(spec, type):
        return EpochEnd(spec)
    raise TypeError(f"a callback is a Callback or a function of the run, got {given(spec)}")
