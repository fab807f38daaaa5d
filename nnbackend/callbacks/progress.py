"""Progress: a bar in a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.run import Run

__all__ = ["Lines", "Progress", "figures"]

_NOT_SHOWN = ("epoch", "seconds", "learning_rate")
_PATIENCE = 1.0  # seconds of work before a progress bar is worth its space


def figures(run: Run) -> str:
    """Return the figures of the last epoch in a line: ``loss 0.1234  accuracy 0.9500``."""
    return "  ".join(f"{k} {v:.4g}" for k, v in run.history.last.items() if k not in _NOT_SHOWN)


class Lines(Callback):
    """A line for each epoch on standard error, for output that is not a terminal."""

    def epoch_end(self, run: Run) -> None:
        """Print the epoch's figures."""
        seconds = run.history["seconds"][-1]
        line = f"epoch {run.epoch}/{run.epochs}  {figures(run)}  {seconds:.2f} s"
        print(line, file=sys.stderr, flush=True)


class Progress(Callback):
    """A progress bar on standard error; it appears when the work takes longer than a second.

    The bar is rich's; without that package (extra ``cli``) there is a line for each epoch instead.
    """

    every_batch = False
    every_epoch = False

    def __init__(self) -> None:
        self._bar: Any = None
        self._lines: Lines | None = None

    def start(self, run: Run) -> None:
        """Note the time."""
        self._started = time.perf_counter()

    def batch_end(self, run: Run) -> None:
        """Move the bar."""
        self._show(run, (run.epoch - 1) * run.steps_per_epoch + run.step)

    def epoch_end(self, run: Run) -> None:
        """Move the bar and show the figures."""
        if self._lines is not None:
            self._lines.epoch_end(run)
        self._show(run, run.epoch * run.steps_per_epoch)

    def stop(self, run: Run) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _show(self, run: Run, done: int) -> None:
        if self._bar is None and self._lines is None:
            if time.perf_counter() - self._started < _PATIENCE:
                return
            self._open(run)
        if self._bar is not None:
            text = f"epoch {run.epoch}/{run.epochs}"
            # The losses alone: more would squeeze the bar in a narrow terminal.
            losses = "  ".join(f"{k} {v:.4g}" for k, v in run.history.last.items() if "loss" in k)
            self._bar.update(self._task, completed=done, description=text, figures=losses)

    def _open(self, run: Run) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar
        except ModuleNotFoundError:
            self._lines = Lines()
            return
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        total = run.epochs * run.steps_per_epoch
        self._task = self._bar.add_task("", total=total, figures="")
        self._bar.start()
