"""Event files for TensorBoard."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_path, check_size

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Writes the loss and the metrics of each epoch to event files, which TensorBoard shows.

    They have the names of the history and are drawn over the epochs: ``tensorboard --logdir DIRECTORY``.
    In a resumed run the epochs after the checkpoint are replaced.

    Args:
        directory: the folder of the event files, one for each run.
        every_steps: also write the loss of every so many steps, drawn over the steps, to its subfolder
            ``steps``; None: the epochs only.

    Raises:
        ImportError: tensorboardX is not installed: ``pip install 'nnbackend[tensorboard]'``.
        OSError: the files cannot be written at the start; later that is a warning.
    """

    every_batch = False
    every_epoch = False

    def __init__(
        self, directory: str | os.PathLike[str], *, every_steps: int | None = None
    ) -> None:
        self.directory = check_path("directory", directory)
        self.every_steps = None if every_steps is None else check_size("every_steps", every_steps)
        _writer_class()  # fail now, not after the data were read
        self._epochs = 0
        self._writer: Any = None
        self._step_writer: Any = None
        self._failed = False  # in this run

    @property
    def listens_to_batches(self) -> bool:
        """Whether single steps are written."""
        return self.every_steps is not None

    def start(self, run: Run) -> None:
        """Open the files."""
        self._epochs = len(run.history)
        self._writer = self._open(self.directory, self._epochs, run.resumed)
        if self.every_steps is not None:
            self._step_writer = self._open(self.directory / "steps", run.steps, run.resumed)

    def batch_end(self, run: Run) -> None:
        """Write the losses of the steps since the last call."""
        self._attempt(lambda: self._write_steps(run))

    def _write_steps(self, run: Run) -> None:
        losses = run.losses
        for step, loss in enumerate(losses, run.steps - len(losses) + 1):
            if step % (self.every_steps or 1) == 0:
                self._step_writer.add_scalar("loss", loss, step)

    def epoch_end(self, run: Run) -> None:
        """Write the loss and the metrics of the epochs since the last call."""
        self._attempt(lambda: self._write_epochs(run))

    def _write_epochs(self, run: Run) -> None:
        for row in run.history.rows(self._epochs):
            for name, value in row.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, row["epoch"])
        self._epochs = len(run.history)
        self._writer.flush()

    def stop(self, run: Run) -> None:
        """Close the files."""
        for writer in (self._writer, self._step_writer):
            if writer is not None:
                self._attempt(writer.close)
        self._writer = self._step_writer = None
        self._failed = False

    def _attempt(self, write: Callable[[], Any]) -> None:
        """Write, unless it failed before: a full disk is a warning, and must not cost the training."""
        if self._failed:
            return
        try:
            write()
        except OSError as error:
            self._failed = True
            problem = (
                f"the log {self.directory} cannot be written, and the training goes on: {error}"
            )
            warnings.warn(problem, UserWarning, stacklevel=3)

    def _open(self, directory: Path, done: int, resumed: bool) -> Any:
        """Return a writer; what an earlier one wrote after ``done`` is no longer shown."""
        purge = {"purge_step": done + 1} if resumed else {}
        # By default the writer gives two files of the same second the same name.
        suffix = f".{time.time_ns()}"
        return _writer_class()(str(directory), filename_suffix=suffix, **purge)


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ImportError(
            "TensorBoard needs tensorboardX; run: pip install 'nnbackend[tensorboard]'"
        ) from error
    return SummaryWriter
