"""Progress: a bar in a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nnbackend.callbacks.base import Callback

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
    """A progress bar; it appears when the work takes longer than a second.

    In a terminal the bar is rich's (extra ``cli``), in a Jupyter notebook tqdm's (extra
    ``notebook``). Without that package there is a line for each epoch instead.
    """

    every_batch = False
    every_epoch = False

    def __init__(self) -> None:
        self._shown: _Bar | Lines | None = None

    def start(self, run: Run) -> None:
        """Remember the time."""
        self._started = time.perf_counter()

    def batch_end(self, run: Run) -> None:
        """Move the bar."""
        bar = self._show_late(run)
        if isinstance(bar, _Bar):
            bar.show(run)

    def epoch_end(self, run: Run) -> None:
        """Move the bar and show the losses."""
        bar = self._show_late(run)
        if isinstance(bar, _Bar):
            bar.show(run)
        elif bar is not None:
            bar.epoch_end(run)

    def stop(self, run: Run) -> None:
        """Remove the bar."""
        if isinstance(self._shown, _Bar):
            self._shown.close()

    def _show_late(self, run: Run) -> _Bar | Lines | None:
        """Return the bar, or lines in its place, once the work has taken a while."""
        if self._shown is None and time.perf_counter() - self._started >= SECONDS_BEFORE_BAR:
            kind = _TqdmBar if in_notebook() else _RichBar
            try:
                self._shown = kind(run)
            except ImportError:
                self._shown = Lines()
        return self._shown


class _Bar(ABC):
    """A progress bar of some package."""

    @abstractmethod
    def __init__(self, run: Run) -> None:
        """Open it, or raise an ImportError."""

    @abstractmethod
    def move(self, done: float, epoch: str, losses: str) -> None:
        """Show how many epochs are done, and the text."""

    @abstractmethod
    def close(self) -> None:
        """Remove it."""

    def show(self, run: Run) -> None:
        """Show how far a run has come."""
        done = float(len(run.history))
        if run.epoch > done and run.steps_per_epoch:
            done += run.step / run.steps_per_epoch
        # Only the losses: more would squeeze the bar in a narrow terminal.
        losses = "  ".join(f"{k} {v:.4g}" for k, v in run.history.last.items() if "loss" in k)
        self.move(done, f"epoch {run.epoch}/{run.epochs}", losses)


class _RichBar(_Bar):
    """A bar in a terminal, on standard error."""

    def __init__(self, run: Run) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=run.epochs, losses="")
        self._bar.start()

    def move(self, done: float, epoch: str, losses: str) -> None:
        self._bar.update(self._task, completed=done, description=epoch, losses=losses)

    def close(self) -> None:
        self._bar.stop()


class _TqdmBar(_Bar):
    """A bar in a Jupyter notebook."""

    def __init__(self, run: Run) -> None:
        from tqdm.notebook import tqdm

        self._bar = tqdm(total=run.epochs, leave=False, bar_format="{desc} {bar} {postfix}")

    def move(self, done: float, epoch: str, losses: str) -> None:
        self._bar.set_description_str(epoch, refresh=False)
        self._bar.set_postfix_str(losses, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()
