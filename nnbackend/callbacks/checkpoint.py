"""Checkpoints while a network is trained."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.monitor import Monitor
from nnbackend.core.checks import check_flag, check_size

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Writes the whole state of a run to files, from which ``fit(..., resume=directory)`` goes on.

    The first is written before the first step, so that a folder that cannot be written is found then.
    When a run is asked to stop, or another callback fails, the state of that moment is written too.
    Each file is written whole or not at all; ``nnbackend.load`` takes the network from it.

    Args:
        directory: a folder, which is made if need be. It is one run's at a time; files that other runs
            left in it stay.
        every: after how many epochs.
        keep: how many files of this run to keep; None: all.
        best_only: whether to write one only when ``monitor`` is better than ever.
        every_steps: also after so many steps within each epoch; None: not.
        monitor: the figure for ``best_only``.
        mode: ``"min"`` or ``"max"``: which is better; None: as the name of the figure says.
        on_error: when a file cannot be written (a full disk): ``"raise"`` ends the run with the error,
            ``"warn"`` says so once and trains on. The files written before are untouched either way.

    Attributes:
        directory: the folder.
        latest: the path of the checkpoint written last, or None.

    Raises:
        ValueError: an argument is out of range.
        OSError: a file cannot be written, with ``on_error="raise"``.
    """

    only_watches = True
    last: ClassVar[bool] = True  # so that the state of the others is that after the event

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: int = 1,
        keep: int | None = 3,
        best_only: bool = False,
        *,
        every_steps: int | None = None,
        monitor: str = "validation_loss",
        mode: str | None = None,
        on_error: str = "raise",
    ) -> None:
        check_flag("best_only", best_only)
        if best_only and every_steps is not None:
            raise ValueError("best_only looks at whole epochs: leave every_steps out")
        if on_error not in ("raise", "warn"):
            raise ValueError(f"on_error must be 'raise' or 'warn', got {on_error!r}")
        self.directory = Path(directory)
        self.every = check_size("every", every)
        self.keep = None if keep is None else check_size("keep", keep)
        self.monitor = Monitor(monitor, 0.0, mode) if best_only else None
        self.every_steps = None if every_steps is None else check_size("every_steps", every_steps)
        self.on_error = on_error
        self._forget()

    def _forget(self) -> None:
        self._kept: list[str] = []
        self._position: tuple[int, int] | None = None  # of what was written last
        self._warned = self._gave_up = False
        if self.monitor is not None:
            self.monitor.best = None

    @property
    def latest(self) -> Path | None:
        """The checkpoint written last."""
        return self.directory / self._kept[-1] if self._kept else None

    @property
    def batch_interval(self) -> int | None:
        """After how many steps it has to be called."""
        return self.every_steps

    def start(self, run: Run) -> None:
        """Make the folder and write the first checkpoint of a run."""
        from nnbackend.saving import checkpoint as checkpoints

        if not run.resumed:
            self._forget()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in checkpoints.find_leftovers(self.directory):
                path.unlink(missing_ok=True)
        except OSError as error:
            what = f"{self.directory} cannot be a folder of checkpoints: {error.strerror}"
            self._failed(type(error)(error.errno, what))
        if self._kept:
            self._position = run.position
        elif self.monitor is None:
            self._save(run)

    def batch_end(self, run: Run) -> None:
        """Write a checkpoint within an epoch."""
        due = self.every_steps is not None and run.step % self.every_steps == 0
        left = run.at_once and self.monitor is None
        if left or (due and run.step != run.steps_per_epoch):
            self._save(run)

    def epoch_end(self, run: Run) -> None:
        """Write a checkpoint after an epoch."""
        if self.monitor is not None:
            if self.monitor.better(self.monitor.value(run)):
                self._save(run)
        elif run.epoch % self.every == 0 or not run.goes_on:
            self._save(run)

    def stop(self, run: Run) -> None:
        """Write the state in which another callback failed."""
        if run.failure is None:
            return
        if self.monitor is None and not self._gave_up:
            self._save(run)
        if self.latest is not None:
            run.failure.add_note(f"the run can be resumed from {self.latest}")

    def _save(self, run: Run) -> None:
        """Write a checkpoint, unless there is nothing new; remove the oldest one."""
        from nnbackend.saving import checkpoint as checkpoints

        position = run.position
        if position == self._position or not run.finite():
            return
        path = checkpoints.next_path(self.directory, *position)
        before = self._kept
        self._kept = [*before, path.name]  # the file knows itself, too
        try:
            checkpoints.save(path, run.network, run.parameters(), run.state())
        except OSError as error:
            self._kept = before
            self._failed(error)
            return
        self._position = position
        while self.keep is not None and len(self._kept) > self.keep:
            oldest = self.directory / self._kept.pop(0)
            try:
                oldest.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(f"{oldest} cannot be removed: {error}", UserWarning, stacklevel=2)

    def _failed(self, error: OSError) -> None:
        """Raise the error, or say so once."""
        if self.on_error == "raise":
            self._gave_up = True
            raise error
        if not self._warned:
            self._warned = True
            there = "none was written before" if not self._kept else f"the newest is {self.latest}"
            warnings.warn(
                f"no checkpoint could be written, and the training goes on without: {error} ({there})",
                UserWarning,
                stacklevel=2,
            )

    def state(self) -> dict[str, Any]:
        """Return which files are this run's, and the best figure."""
        best = None if self.monitor is None else self.monitor.best
        return {"directory": str(self.directory.resolve()), "kept": self._kept, "best": best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the files of the run, if they are in the same folder."""
        self._forget()
        if state["directory"] == str(self.directory.resolve()):
            self._kept = [name for name in state["kept"] if (self.directory / name).exists()]
        if self.monitor is not None:
            self.monitor.best = state["best"]
