"""Write checkpoints while a network is trained."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.monitor import Monitor
from nnbackend.core.checks import check_choice, check_flag, check_path, check_size
from nnbackend.saving import checkpoint as checkpoints
from nnbackend.saving.lock import FolderLock
from nnbackend.saving.schema import Check, anything, items, number, optional, record, text

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Writes the whole state of a run to files, from which ``fit(..., resume=directory)`` continues it.

    The first file is written before the first step, so that a folder that cannot be written is noticed
    at once. When a run is stopped, or another callback fails, the state of that moment is written,
    too. Each file is written whole or not at all; ``nnbackend.load`` reads the network from it.

    Args:
        directory: the folder; it is made if needed. One run at a time writes to it, and a second one is
            refused; the files of earlier runs stay.
        every: the number of epochs between two checkpoints, default 1.
        keep: the number of files of this run to keep, default 3; None: all.
        best_only: whether to write one only when ``monitor`` is better than ever before, default False.
        every_steps: the number of steps between checkpoints within an epoch; None: only after epochs.
        monitor: the metric that ``best_only`` looks at, default ``"validation_loss"``.
        mode: ``"min"`` or ``"max"``: which values are better; None: as the metric says, or its name.
        on_error: the action when a file cannot be written (a full disk): ``"raise"``, the default, ends
            the run with the error, ``"warn"`` warns once and trains on. Files written before are kept.

    Attributes:
        directory: the folder.
        latest: the path of the newest checkpoint, or None.

    Raises:
        ValueError: an argument is out of range.
        OSError: a file cannot be written, or another run writes to the folder, with
            ``on_error="raise"``.
    """

    only_watches = True
    last: ClassVar[bool] = True  # the others have handled the event when their state is saved
    schema: ClassVar[Check] = record(
        {"directory": text(), "kept": items(anything), "best": optional(number(finite=False))}
    )

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
        self.directory = check_path("directory", directory)
        self.every = check_size("every", every)
        self.keep = None if keep is None else check_size("keep", keep)
        watched = Monitor(
            monitor, 0.0, "min" if mode is None and not best_only else mode
        )  # checks both
        self.monitor = watched if best_only else None
        self.every_steps = None if every_steps is None else check_size("every_steps", every_steps)
        self.on_error = check_choice("on_error", on_error, ("raise", "warn"))
        self._lock: FolderLock | None = None
        self._reset()

    def _reset(self) -> None:
        self._kept: list[str] = []
        self._position: tuple[int, int] | None = None  # of the newest checkpoint
        self._warned = self._gave_up = False
        if self.monitor is not None:
            self.monitor.best = None

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint that is there: somebody may have removed some, or the folder."""
        return next((p for p in map(self.directory.joinpath, self._kept[::-1]) if p.exists()), None)

    @property
    def batch_interval(self) -> int | None:
        """The number of steps between calls."""
        return self.every_steps

    def start(self, run: Run) -> None:
        """Take the folder and write the first checkpoint of a run."""
        if self.monitor is not None:
            self.monitor.start(run)
        if not run.resumed:
            self._reset()
        taken = self._take_folder()
        if self._kept:
            self._position = run.position
        elif taken and self.monitor is None:
            self._save(run)

    def _take_folder(self) -> bool:
        """Make the folder and lock it, unless that is done; return whether it is done."""
        if self._lock is not None:
            return True
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.directory)
            for path in checkpoints.find_leftovers(self.directory):
                path.unlink(missing_ok=True)
        except OSError as error:
            problem = f"{self.directory} cannot be a folder of checkpoints: {error.strerror}"
            self._handle(type(error)(error.errno, problem))
        return self._lock is not None

    def _leave_folder(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def batch_end(self, run: Run) -> None:
        """Write a checkpoint within an epoch."""
        due = self.every_steps is not None and run.step % self.every_steps == 0
        leaving = run.at_once and self.monitor is None
        if leaving or (due and run.step != run.steps_per_epoch):
            self._save(run)

    def epoch_end(self, run: Run) -> None:
        """Write a checkpoint after an epoch."""
        if self.monitor is not None:
            if self.monitor.improve(self.monitor.value(run)):
                self._save(run)
        elif run.epoch % self.every == 0 or not run.goes_on:
            self._save(run)

    def stop(self, run: Run) -> None:
        """Write the state in which another callback failed, and let other runs have the folder."""
        try:
            if run.failure is not None and self.monitor is None and not self._gave_up:
                self._save(run)
        finally:
            self._leave_folder()
        if run.failure is not None and self.latest is not None:
            run.failure.add_note(f"the run can be resumed from {self.latest}")

    def _save(self, run: Run) -> None:
        """Write a checkpoint unless there is nothing new, and remove the oldest one."""
        position = run.position
        if position == self._position or not run.finite() or not self._take_folder():
            return
        path = checkpoints.next_path(self.directory, *position)
        before = self._kept
        self._kept = [*before, path.name]  # the state in the file includes the file itself
        try:
            checkpoints.save(path, run.network, run.parameters(), run.state())
        except OSError as error:
            self._kept = before
            gone = FileNotFoundError(errno.ENOENT, f"{self.directory} was removed meanwhile")
            if self.directory.is_dir():
                self._handle(error)
            else:
                self._leave_folder()  # the next checkpoint makes it again
                self._handle(gone)
            return
        self._position = position
        while self.keep is not None and len(self._kept) > self.keep:
            oldest = self.directory / self._kept.pop(0)
            try:
                oldest.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(f"{oldest} cannot be removed: {error}", UserWarning, stacklevel=2)

    def _handle(self, error: OSError) -> None:
        """Raise the error, or warn once."""
        if self.on_error == "raise":
            self._gave_up = True
            raise error
        if not self._warned:
            self._warned = True
            latest = self.latest
            others = "there is none from before" if latest is None else f"the newest is {latest}"
            warnings.warn(
                f"no checkpoint could be written, and the training continues without: {error} "
                f"({others})",
                UserWarning,
                stacklevel=2,
            )

    def state(self) -> dict[str, Any]:
        """Return the files that belong to this run, and the best value."""
        best = None if self.monitor is None else self.monitor.best
        return {"directory": str(self.directory.resolve()), "kept": self._kept, "best": best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue with the files of the run, if they are in the same folder."""
        self._reset()
        if state["directory"] == str(self.directory.resolve()):
            kept = checkpoints.named_in(self.directory, state["kept"])
            self._kept = [path.name for path in kept]
        if self.monitor is not None:
            self.monitor.best = state["best"]
