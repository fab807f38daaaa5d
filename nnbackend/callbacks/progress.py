"""Progress: a bar in a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from nnbackend.callbacks.base import Callback
from nnbackend.errors import given

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["Lines", "Progress", "choose_progress"]

HIDDEN_COLUMNS = ("epoch", "seconds", "waiting", "learning_rate")
SECONDS_BEFORE_BAR = 1.0  # brief work is not worth a bar


def _describe_epoch(run: Run) -> str:
    """Return loss and metrics of the last epoch in a line: ``loss 0.1234  accuracy 0.9500``."""
    return "  ".join(f"{k} {v:.4g}" for k, v in run.history.last.items() if k not in HIDDEN_COLUMNS)


def choose_progress(verbose: int | bool | None) -> Callback | None:
    """Return the callback that shows the progress of a run; None for silence.

    A ``verbose`` of None means: on long work at a terminal or in a notebook.
    """
    if not isinstance(verbose, int | None) or (verbose or 0) < 0:
        raise TypeError(f"verbose must be 0, 1 or None, got {given(verbose)}")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not verbose and (verbose is not None or not (terminal or in_notebook())):
        return None
    return Progress() if terminal or in_notebook() else Lines()


def in_notebook() -> bool:
    """Return whether this is a Jupyter notebook, without importing anything."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Lines(Callback):
    """A line for each epoch on standard error, for output that is not a terminal."""

    def epoch_end(self, run: Run) -> None:
        """Print the epoch's loss and metrics."""
        seconds = run.history["seconds"][-1]
        line = f"epoch {run.epoch}/{run.epochs}  {_describe_epoch(run)}  {seconds:.2f} s"
        print(line, file=sys.stderr, flush=True)


class Progress(Callback):
    """A progress bar in a terminal or a Jupyter notebook; it appears when the work takes over a second.

    It is rich's (extra ``cli`` or ``notebook``). Without rich there is a line for each epoch instead.
    """

    every_batch = False
    every_epoch = False

    def __init__(self) -> None:
        self._bar: Any = None
        self._lines: Lines | None = None

    def start(self, run: Run) -> None:
        """Remember the time."""
        self._started = time.perf_counter()

    def batch_end(self, run: Run) -> None:
        """Move the bar."""
        self._show_late(run)
        if self._bar is not None:
            done = float(len(run.history))
            if run.epoch > done and run.steps_per_epoch:
                done += run.step / run.steps_per_epoch
            # Only the losses: more would squeeze the bar in a narrow terminal.
            losses = "  ".join(f"{k} {v:.4g}" for k, v in run.history.last.items() if "loss" in k)
            epoch = f"epoch {run.epoch}/{run.epochs}"
            self._bar.update(
                self._bar.task_ids[0], completed=done, description=epoch, losses=losses
            )

    def epoch_end(self, run: Run) -> None:
        """Move the bar and show the losses."""
        self.batch_end(run)
        if self._lines is not None:
            self._lines.epoch_end(run)

    def stop(self, run: Run) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def _show_late(self, run: Run) -> None:
        """Show the bar, or lines in its place, once the work has taken a while."""
        shown = self._bar is not None or self._lines is not None
        if shown or time.perf_counter() - self._started < SECONDS_BEFORE_BAR:
            return
        try:
            self._bar = _rich_bar(run.epochs)
        except ImportError:
            self._lines = Lines()


def _rich_bar(epochs: int) -> Any:
    """Return a bar on standard error, or in the notebook, which vanishes when it stops."""
    if in_notebook():
        import ipywidgets  # noqa: F401 (without it rich would show nothing there)
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[losses]}"),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task("", total=epochs, losses="")
    bar.start()
    return bar
