"""A training run as callbacks see it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nnbackend.callbacks.base import Callback, as_callback
from nnbackend.history import History

__all__ = ["Run", "resolve"]


@dataclass
class Run:
    """A training run as callbacks see it.

    Attributes:
        network: what is being trained.
        epochs: how many were asked for.
        steps_per_epoch: batches in an epoch.
        epoch: the number of the epoch, from 1.
        step: how many steps of the epoch are done.
        history: the epochs done.
        learning_rate_factor: what a callback may set to scale the learning rate of all later steps.
    """

    network: Any
    epochs: int
    steps_per_epoch: int
    history: History
    epoch: int = 0
    step: int = 0
    learning_rate_factor: float = 1.0
    reason: str | None = field(default=None, init=False)

    def stop(self, reason: str) -> None:
        """Ask for the training to end after this epoch; ``reason`` goes to ``history.stopped``."""
        self.reason = reason


def resolve(callbacks: Iterable[Any], verbose: int | bool | None) -> list[Callback]:
    """Return the callbacks of a run, with one that shows its progress if wanted.

    Args:
        callbacks: callbacks and functions of the run.
        verbose: 0: silence; 1: show progress; None: show it on long work at a terminal.

    Raises:
        TypeError: something is neither a callback nor a function.
    """
    from nnbackend.callbacks.progress import Lines, Progress

    resolved = [as_callback(spec) for spec in callbacks]
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if verbose or (verbose is None and terminal):
        resolved.append(Progress() if terminal else Lines())
    return sorted(resolved, key=lambda callback: callback.last)
