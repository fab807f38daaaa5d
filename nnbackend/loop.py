"""The loop over epochs: order, validation, history, callbacks, and what ends it early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnbackend import random
from nnbackend.callbacks import Callback
from nnbackend.data.feed import Feed
from nnbackend.errors import DivergenceError
from nnbackend.history import History, Run
from nnbackend.training import Samples, Trainer

__all__ = ["Loop", "raise_divergence"]

_BRIEF = 0.02  # seconds; while epochs of one step take less, more of them are run together
_MOST_TOGETHER = 1024


class Loop:
    """Trains for a number of epochs.

    Args:
        trainer: holds the parameters.
        samples: to learn from, or the feed of a source.
        rows: which of them, by number; None: all. They are gathered a block at a time, so that a
            part of large data is not copied as a whole.
        batch_size: rows of a step; None: all.
        shuffle: whether each epoch has an order of its own.
        validation: to evaluate after each epoch, or the feed of a source.
        callbacks: see :mod:`nnbackend.callbacks`.
        publish: makes the parameters in training visible; called before callbacks are.
        first_epoch: how many epochs the network has been trained for before.
    """

    def __init__(
        self,
        trainer: Trainer,
        samples: Samples | Feed,
        rows: np.ndarray[Any, Any] | None = None,
        *,
        batch_size: int | None,
        shuffle: bool,
        validation: Samples | Feed | None,
        callbacks: Sequence[Callback],
        publish: Callable[[], None],
        first_epoch: int,
    ) -> None:
        self._trainer = trainer
        self._feed: Feed | None = None
        if isinstance(samples, Samples):
            self._count = len(samples if rows is None else rows)
            self._size = min(batch_size or self._count, self._count)
            if rows is not None and self._size == self._count:  # every step takes them all
                samples, rows = samples.take(rows, trainer.backend), None
            self._samples, self._rows = samples, rows
            self._shuffle = shuffle and self._size < self._count
            self._steps = math.ceil(self._count / self._size)
        else:
            self._feed = samples
            self._steps = samples.steps or 0
        self._validation = validation
        self._callbacks = callbacks
        self._publish = publish
        self._first_epoch = first_epoch
        self._listening = [c for c in callbacks if c.listens_to_batches]
        self._every_batch = any(c.every_batch for c in self._listening)
        # What Ctrl-C and a loss that is not finite go back to: the parameters after the last epoch.
        self._good = trainer.snapshot()

    def run(self, network: Any, epochs: int) -> History:
        """Train; return the history.

        Ctrl-C ends the run with the parameters of the last whole epoch.

        Args:
            network: what callbacks are shown.
            epochs: how many.

        Raises:
            DivergenceError: a loss is not finite; the trainer has its last finite parameters.
            DataError, or whatever a source raises: the trainer has the parameters of the last whole
                epoch.
        """
        run = Run(network, epochs, self._steps, History())
        self._notify("start", run)
        try:
            self._epochs(run)
        except KeyboardInterrupt:
            self._trainer.restore(self._good)
            done = len(run.history)
            run.reason = f"interrupted in epoch {done + 1}; the {done} before it are kept"
        finally:
            self._publish()  # for good: parameters that a callback sets at the end, stay
            self._notify("stop", run)
        if len(run.history) < epochs:
            run.history.stopped = run.reason
        return run.history

    def _epochs(self, run: Run) -> None:
        """Do epoch after epoch; brief ones that nobody looks at singly, many at a time."""
        history, together, alone = run.history, 1, self._one_by_one()
        while len(history) < run.epochs and run.reason is None:
            run.epoch, run.step = len(history) + 1, 0
            self._notify("epoch_start", run)
            started = time.perf_counter()
            if together == 1:
                columns = self._one(run)
            else:
                many = self._many(min(together, run.epochs - len(history)))
                if many is None:  # one of them diverged: find it one by one
                    together, alone = 1, True
                    continue
                columns = many
            self._good = self._trainer.snapshot(self._good)
            seconds, count = time.perf_counter() - started, len(columns["loss"])
            columns["learning_rate"] = self._trainer.rates(count)
            columns["seconds"] = [seconds / count] * count
            history.extend(columns)
            run.epoch = len(history)
            self._notify("epoch_end", run)
            if not alone and seconds < _BRIEF:
                together = min(2 * together, _MOST_TOGETHER)

    def _one_by_one(self) -> bool:
        """Return whether epochs have several steps, or someone looks at each."""
        return (
            self._feed is not None
            or self._size < self._count
            or self._validation is not None
            or bool(self._trainer.objective.metrics)
            or self._every_batch
            or any(callback.every_epoch for callback in self._callbacks)
        )

    def _one(self, run: Run) -> dict[str, list[float]]:
        """Do one epoch; return its figures."""
        trainer = self._trainer

        def each_block(steps: int) -> None:
            run.step = steps
            self._notify("batch_end", run, self._listening)

        told = each_block if self._listening else None
        figures = self._streamed(run, told) if self._feed else self._held(run, told)
        if not (math.isfinite(figures["loss"]) and trainer.finite()):
            raise_divergence(trainer, self._good, run.epoch, run.history)
        if self._validation is not None:
            held_out = self._validated(run)
            figures |= {f"validation_{name}": value for name, value in held_out.items()}
        return {name: [value] for name, value in figures.items()}

    def _held(self, run: Run, each_block: Callable[[int], None] | None) -> dict[str, float]:
        """Do one epoch on the samples that lie in memory."""
        trainer, order = self._trainer, self._rows
        if self._shuffle:
            epoch = self._first_epoch + run.epoch
            order = random.permutation(trainer.seed, self._count, "order", epoch)
            order = order if self._rows is None else self._rows[order]
        block_rows = self._size if self._every_batch else None
        return trainer.epoch(self._samples, self._size, order, each_block, block_rows)

    def _streamed(self, run: Run, each_block: Callable[[int], None] | None) -> dict[str, float]:
        """Do one epoch on what a source gives; if it fails, go back to the last whole epoch."""
        assert self._feed is not None
        epoch = self._first_epoch + run.epoch
        try:
            with self._feed.epoch(epoch, single_steps=self._every_batch) as blocks:
                before = self._trainer.steps
                figures = self._trainer.learn(blocks, each_block)
        except Exception:
            self._trainer.restore(self._good)
            raise
        run.steps_per_epoch = self._trainer.steps - before
        return figures | {"waiting": blocks.waiting}

    def _validated(self, run: Run) -> dict[str, float]:
        """Return the figures on the validation data."""
        if isinstance(self._validation, Samples):
            return self._trainer.evaluate(self._validation)
        assert self._validation is not None
        with self._validation.epoch(run.epoch) as blocks:
            return self._trainer.evaluate(blocks)

    def _many(self, count: int) -> dict[str, list[float]] | None:
        """Do epochs of one step each; undo them all and return None if a loss is not finite."""
        trainer = self._trainer
        saved = trainer.layout.copy(trainer.carry), trainer.steps, trainer.updates
        losses = trainer.repeat(self._samples, count)
        if all(map(math.isfinite, losses)) and trainer.finite():
            return {"loss": losses}
        trainer.carry, trainer.steps, trainer.updates = saved
        return None

    def _notify(self, event: str, run: Run, listeners: Sequence[Callback] | None = None) -> None:
        listeners = self._callbacks if listeners is None else listeners
        if listeners and event != "stop":
            self._publish()
        for callback in listeners:
            getattr(callback, event)(run)


def raise_divergence(trainer: Trainer, good: Any, epoch: int, history: History) -> None:
    """Restore the last good parameters and raise the error that says what happened."""
    trainer.restore(good)
    rate = trainer.optimizer.rate(max(trainer.updates, 1))
    raise DivergenceError(
        f"the loss is no longer a finite number in epoch {epoch}; the network keeps its last finite "
        f"weights. Try a smaller learning rate (it was {rate:g}), scaled inputs and targets, "
        "or dtype='float64'",
        history,
    )
