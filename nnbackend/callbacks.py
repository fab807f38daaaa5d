"""Callbacks: what happens besides learning while a network is trained.

A callback overrides any of five methods of :class:`Callback`; each is given the
:class:`~nnbackend.history.Run` and may end it with ``run.stop(reason)``. A plain function of the run
will do too: it is called at the end of each epoch. The network of a run is there to be looked at,
evaluated or saved; parameters that are set on it during training are not taken up, except in ``stop``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from nnbackend.history import Run

__all__ = ["Callback", "Progress", "resolve"]

_NOT_SHOWN = ("epoch", "seconds", "waiting", "learning_rate")
_PATIENCE = 1.0  # seconds of work before a progress bar is worth its space


class Callback:
    """Does nothing at any time; override what you need.

    Attributes:
        every_batch: whether ``batch_end`` is called after every step. Without it the steps between
            two calls may be many, as suits the backend.
        every_epoch: whether ``epoch_end`` is called after every epoch. Without it short epochs of
            a single step may be run many at a time, which is faster.
    """

    every_batch: bool = True
    every_epoch: bool = True

    def start(self, run: Run) -> None:
        """Called once, before the first epoch."""

    def epoch_start(self, run: Run) -> None:
        """Called before each epoch."""

    def batch_end(self, run: Run) -> None:
        """Called after the step ``run.step``."""

    def epoch_end(self, run: Run) -> None:
        """Called after each epoch, when ``run.history`` has its figures."""

    def stop(self, run: Run) -> None:
        """Called once at the end, also when the run ends with an error."""

    @property
    def listens_to_batches(self) -> bool:
        """Whether ``batch_end`` is overridden; if not, steps need not be interrupted for it."""
        return type(self).batch_end is not Callback.batch_end


class _EpochEnd(Callback):
    """A function of the run, called at the end of each epoch."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    def epoch_end(self, run: Run) -> None:
        self._function(run)


def resolve(callbacks: Iterable[Any], verbose: int | bool | None) -> list[Callback]:
    """Return the callbacks of a run, with one that shows its progress if wanted.

    Args:
        callbacks: callbacks and functions of the run.
        verbose: 0: silence; 1: show progress; None: show it on long work at a terminal.

    Raises:
        TypeError: something is neither a callback nor a function.
    """
    resolved: list[Callback] = []
    for callback in callbacks:
        if isinstance(callback, Callback):
            resolved.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            resolved.append(_EpochEnd(callback))
        else:
            raise TypeError(f"a callback is a Callback or a function of the run, got {callback!r}")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if verbose or (verbose is None and terminal):
        resolved.append(Progress() if terminal else Lines())
    return resolved


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
            total = run.epochs * run.steps_per_epoch or None  # a stream may not know yet
            self._bar.update(
                self._task, total=total, completed=done, description=text, figures=losses
            )

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
        total = run.epochs * run.steps_per_epoch or None
        self._task = self._bar.add_task("", total=total, figures="")
        self._bar.start()
