"""The base class of callbacks: five events, and a state that a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.saving.schema import Check, entries

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Callback"]


class Callback:
    """Does nothing at any event; override the methods that you need.

    Attributes:
        every_batch: whether ``batch_end`` is called after every step, default True. Otherwise there may
            be many steps between two calls, as many as suit the backend.
        every_epoch: whether ``epoch_end`` is called after every epoch, default True. Otherwise short
            epochs of a single step may run many at a time, which is faster.
        schema: what the state in a checkpoint has to be, see :mod:`nnbackend.saving.schema`; default any
            table.
        last: whether it is called after all callbacks that are not, wherever it stands in the list;
            default False.
        only_watches: whether the training is the same without it, so that a resumed run may leave it
            out without a warning; default False.
    """

    every_batch: bool = True
    every_epoch: bool = True
    last: ClassVar[bool] = False
    schema: ClassVar[Check] = entries()
    only_watches: ClassVar[bool] = False

    def start(self, run: Run) -> None:
        """Called once, before the first epoch; in a resumed run after ``restore``."""

    def epoch_start(self, run: Run) -> None:
        """Called before each epoch."""

    def batch_end(self, run: Run) -> None:
        """Called after the step ``run.step``."""

    def epoch_end(self, run: Run) -> None:
        """Called after each epoch, when ``run.history`` holds its loss and metrics."""

    def stop(self, run: Run) -> None:
        """Called once at the end, also when the run ends with an error."""

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint has to keep: plain data as in JSON, and arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that :meth:`state` returned. Arrays come back as NumPy arrays."""

    @property
    def name(self) -> str:
        """The name in messages and in checkpoints."""
        return type(self).__name__

    @property
    def batch_interval(self) -> int | None:
        """The number of steps between calls of ``batch_end``; None: as suits the backend."""
        return 1 if self.every_batch else None

    @property
    def listens_to_batches(self) -> bool:
        """Whether ``batch_end`` is overridden; if not, no steps are interrupted for it."""
        return type(self).batch_end is not Callback.batch_end
