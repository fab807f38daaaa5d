"""The loop over epochs: order, validation, history, callbacks, and what ends it early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.callbacks import Callback, Run
from nnbackend.core import random
from nnbackend.core.history import History
from nnbackend.core.tree import arrays_in, flatten, unflatten
from nnbackend.data.samples import Samples
from nnbackend.data.stream import BatchStream
from nnbackend.errors import DivergenceError, ModelFileError
from nnbackend.saving.run_identity import check_same_run, data_checksum, describe
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["FitRun", "Loop", "raise_divergence"]

_BRIEF_SECONDS = 0.02
"""While epochs of one step take less time together, more of them are run together."""
_MAX_EPOCHS_TOGETHER = 8192


class Loop:
    """Trains for a number of epochs.

    Args:
        trainer: holds the parameters.
        samples: the training samples, or the feed of a source.
        rows: which of them, by number; None: all. They are gathered a block at a time, so that a
            part of large data is not copied as a whole.
        batch_size: rows of a step; None: all.
        shuffle: whether each epoch has a new order.
        validation: the samples to evaluate after each epoch, or the feed of a source.
        callbacks: see :mod:`nnbackend.callbacks`.
        publish: makes the parameters in training visible; called before callbacks are.
        network: what callbacks are shown.
        epochs: how many, counted from the start of the whole run.
        order: the rows of each epoch in their order, from the epoch's number; None: ``shuffle`` says.
            It is called once for each epoch, in turn.
        evaluate: the metrics on the validation data, which the history calls ``validation_...``; None:
            the loss and the metrics of the objective.
        check_finite: whether a loss or parameters that are not finite end the run with an error.
    """

    def __init__(
        self,
        trainer: Trainer,
        samples: Samples | BatchStream,
        rows: np.ndarray[Any, Any] | None = None,
        *,
        batch_size: int | None,
        shuffle: bool,
        validation: Samples | BatchStream | None,
        callbacks: Sequence[Callback],
        publish: Callable[[], None],
        network: Any,
        epochs: int,
        order: Callable[[int], np.ndarray[Any, Any]] | None = None,
        evaluate: Callable[[Samples | BatchStream], dict[str, float]] | None = None,
        check_finite: bool = True,
    ) -> None:
        self._trainer = trainer
        self._order, self._evaluate, self._checks_finite = order, evaluate, check_finite
        self._stream: BatchStream | None = None
        self._batch_size: int | None = None  # of a stream: as its blocks come
        steps: int | None
        if isinstance(samples, Samples):
            self._count = len(samples if rows is None else rows)
            self._size = min(batch_size or self._count, self._count)
            every_step_takes_all = self._size == self._count and order is None
            if rows is not None and every_step_takes_all:
                samples, rows = samples.take(rows, trainer.backend), None
            self._batch_size = self._size
            self._shuffle = shuffle and self._size < self._count
            if self._shuffle or rows is not None or order is not None:
                samples = samples.packed(trainer.backend)
            self._samples, self._rows = samples, rows
            steps = math.ceil(self._count / self._size)
        else:
            self._stream, steps = samples, samples.steps
        self._validation = validation
        self._run = run = FitRun(network, epochs, callbacks, steps, trainer, publish, self._task)
        # After how many steps callbacks are to be called; None: as suits the backend.
        intervals = [n for n in (c.batch_interval for c in run.listening) if n is not None]
        self._interval = math.gcd(*intervals) if intervals else None
        self._each_block = self._tell_callbacks if run.listening else None

    def run(self, found: Checkpoint | None = None) -> History:
        """Train; return the history.

        Ctrl-C ends the run with the parameters of the last whole epoch. Brief epochs of one step that
        no callback sees are done many at a time.

        Args:
            found: the checkpoint to go on from, which :meth:`check` let pass.

        Raises:
            DivergenceError: a loss is not finite; the trainer has its last finite parameters.
            DataError, or whatever a source raises: the trainer has the parameters of the last whole
                epoch.
        """
        trainer, together, alone = self._trainer, 1, self._one_by_one()
        with self._running(found) as run:
            while run.goes_on:
                run.epoch_begins()
                started = time.perf_counter()
                if together > 1:
                    losses = trainer.repeat(
                        self._samples, min(together, run.epochs - len(run.history))
                    )
                    if losses is None:  # one of them diverged: find it one by one
                        together, alone = 1, True
                        continue
                    columns = {"loss": losses}
                else:
                    values = {}
                    if not run.at_once:
                        with self._blocks() as blocks:
                            values = trainer.epoch(blocks, self._batch_size, self._each_block)
                        if self._stream is not None:
                            values["waiting"] = blocks.waiting
                    self._check_finite(values.get("loss", 0.0))
                    if run.at_once:  # left before its end
                        break
                    if self._validation is not None:
                        values |= self._evaluate_validation()
                    columns = {name: [value] for name, value in values.items()}
                seconds = time.perf_counter() - started
                self._finish_epochs(columns, seconds)
                if not alone and seconds < _BRIEF_SECONDS:
                    together = min(2 * together, _MAX_EPOCHS_TOGETHER)
        return run.history

    @contextmanager
    def _running(self, found: Checkpoint | None) -> Iterator[FitRun]:
        """Begin the run, and end it however the block is left."""
        run, error = self._run, None
        if found is not None:
            run.restore_all(found)
        # What Ctrl-C and a loss that is not finite go back to: the parameters after the last epoch.
        self._good = self._trainer.snapshot()
        run.begin()
        try:
            yield run
        except KeyboardInterrupt:
            self._trainer.restore(self._good)
            done = len(run.history)
            run.reason = f"interrupted in epoch {done + 1}; the {done} before it are kept"
        except BaseException as problem:
            error = problem
            if self._trainer.backend.is_out_of_memory(
                problem
            ):  # perhaps in the middle of an update
                self._trainer.restore(self._good)
            raise
        finally:
            run.publish()  # for good: parameters that a callback sets at the end, stay
            run.end(error)
            run.let_go()

    def check(self, found: Checkpoint) -> None:
        """Check that a checkpoint is of this run, and whole.

        Raises:
            ResumeError: it is of another run.
            ModelFileError: it does not hold together.
        """
        check_same_run(found, self._run.task())
        state, misfit = found.state, "is missing"
        if state.get("optimizer") is not None:
            misfit = self._trainer.misfit(state["optimizer"])
        if misfit:
            raise ModelFileError(f"{found.path} cannot be resumed from: its optimizer's {misfit}")
        shapes, own = (
            {name: tuple(a.shape) for name, a in arrays.items()}
            for arrays in (found.layer_state, flatten(self._trainer.state))
        )
        if shapes != own:
            raise ModelFileError(
                f"{found.path} cannot be resumed from: its layers' state is not this network's"
            )
        if state["batch"] and state.get("so_far") is None:
            raise ModelFileError(
                f"{found.path} cannot be resumed from: its batch is {state['batch']}, and what came "
                "of the steps is missing"
            )

    def publish(self) -> None:
        """Make the parameters in training those of the network."""
        self._run.publish()

    @property
    def epochs_of_network(self) -> int:
        """How many epochs the network has been trained for, those before this run included."""
        before: int = self._run.first_epoch
        return before + len(self._run.history)

    def _finish_epochs(self, columns: dict[str, list[float]], seconds: float) -> None:
        """Write epochs into the history and run the callbacks."""
        run, trainer, count = self._run, self._trainer, len(columns["loss"])
        self._good = trainer.snapshot(self._good)
        columns["learning_rate"] = trainer.rates(count)
        columns["seconds"] = [seconds / count] * count
        run.history.extend(columns)
        run.epoch = len(run.history)
        run.notify("epoch_end")
        if run.changed:
            self._good = trainer.snapshot(self._good)

    def _one_by_one(self) -> bool:
        """Return whether epochs have several steps, or someone looks at each."""
        return (
            self._stream is not None
            or self._size < self._count
            or self._validation is not None
            or self._samples.on_host
            or bool(self._trainer.objective.metrics)
            or self._interval is not None
            or any(callback.every_epoch for callback in self._run.callbacks)
        )

    def _tell_callbacks(self, steps: int) -> bool:
        """Tell callbacks of a block of steps; return whether to go on."""
        self._run.step = steps
        self._run.notify("batch_end")
        return not self._run.at_once

    def _check_finite(self, loss: float) -> None:
        """Go back to the last good parameters if these or the loss are not finite, and say so."""
        if not self._checks_finite or (math.isfinite(loss) and self._trainer.finite()):
            return
        if not self._run.at_once:
            raise_divergence(self._trainer, self._good, self._run.epoch, self._run.history)
        self._trainer.restore(self._good)

    @contextmanager
    def _blocks(self) -> Iterator[Any]:
        """Return the blocks of an epoch; if a source fails, go back to the last whole epoch."""
        run, trainer = self._run, self._trainer
        epoch = run.first_epoch + run.epoch
        if self._stream is None:
            block_rows = None if self._interval is None else self._interval * self._size
            order = self._epoch_order(epoch)
            with trainer.blocks(self._samples, self._size, order, block_rows) as blocks:
                yield blocks
            return
        before = trainer.updates - run.step
        try:
            with self._stream.epoch(epoch, self._interval) as blocks:
                yield blocks
        except Exception:
            if (
                run.failure is None
            ):  # a callback that fails leaves whole steps, from which a run resumes
                trainer.restore(self._good)
            raise
        if not run.at_once:
            run.steps_per_epoch = trainer.updates - before

    def _epoch_order(self, epoch: int) -> Any:
        """Return the rows of an epoch in their order; None: all in the order of the data."""
        if self._order is not None:
            return self._order(epoch)
        if not self._shuffle:
            return self._rows
        order = random.permutation(self._trainer.seed, self._count, "order", epoch)
        return order if self._rows is None else self._rows[order]

    def _evaluate_validation(self) -> dict[str, float]:
        """Return the loss and the metrics on the validation data, as the history calls them."""
        validation, epoch = self._validation, self._run.first_epoch + self._run.epoch
        assert validation is not None
        if self._evaluate is not None:
            values = self._evaluate(validation)
        elif isinstance(validation, Samples):
            values = self._trainer.evaluate(validation)
        else:
            with validation.epoch(epoch) as blocks:
                values = self._trainer.evaluate(blocks)
        return {f"validation_{name}": value for name, value in values.items()}

    def _task(self) -> dict[str, Any]:
        """Return the description, beside the network, that a resumed run must have, too."""
        objective, s, v = self._trainer.objective, self._stream, self._validation
        return {
            "loss": describe(objective.loss),
            "optimizer": describe(self._trainer.optimizer),
            "accumulate": self._trainer.accumulate,
            "metrics": {name: describe(metric) for name, metric in objective.metrics.items()},
            "validation rows": len(v) if isinstance(v, Samples) else v and v.describe(),
        } | (self._lying() if s is None else s.describe())

    def _lying(self) -> dict[str, Any]:
        """Return the description of samples in memory that a resumed run must have, too."""
        s, home = self._samples.learned(), self._samples.placement(self._trainer.backend)
        some = s.take(np.unique(np.linspace(0, len(s) - 1, 16).astype(int)), self._trainer.backend)
        return {
            "rows": self._count,
            "batch_size": self._size,
            "shuffle": self._shuffle,
            "weights": s.weight is not None,
            "data (a checksum)": data_checksum([*arrays_in(some.arrays[:3])], home.to_numpy),
        }


class FitRun(Run):
    """The run of a loop; its parameters and state are the trainer's.

    Args:
        network: what callbacks are shown.
        epochs: how many.
        trainer: holds the parameters.
        publish: makes the parameters in training visible.
        given: what must be the same for a run to go on, beside the network.

    Attributes:
        changed: whether a callback set parameters at the last event.
    """

    def __init__(
        self,
        network: Any,
        epochs: int,
        callbacks: Sequence[Callback],
        steps_per_epoch: int | None,
        trainer: Trainer,
        publish: Callable[[], None],
        given: Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__(network, epochs, callbacks=callbacks, steps_per_epoch=steps_per_epoch)
        self._trainer, self.publish, self._given = trainer, publish, given
        self.changed = False

    @property
    def losses(self) -> list[float]:
        """The losses of the steps since the last ``batch_end``."""
        return self._trainer.log.latest_losses()

    def finite(self) -> bool:
        """Return whether all parameters are finite."""
        return self._trainer.finite()

    def parameters(self) -> Any:
        """Return the parameters to predict with: those in training, or their average."""
        return self._trainer.result

    def epoch_begins(self) -> None:
        """Announce that an epoch starts, or is resumed."""
        if self.epoch == len(self.history):
            self.epoch, self.step = self.epoch + 1, 0
        self.notify("epoch_start")

    @property
    def steps(self) -> int:
        """How many steps are done since the start of the whole run."""
        return self._trainer.updates

    def learning_rates(self, count: int) -> list[float]:
        """Return the learning rates of the last steps."""
        return self._trainer.rates(count)

    def notify(self, event: str) -> None:
        """Call the callbacks; take up parameters that they set."""
        self.changed = False
        if event == "stop" or not self.listeners(event):
            super().notify(event)
            return
        self.publish()
        shown, state = self.network.params, self.network.state
        try:
            super().notify(event)
        finally:
            self._trainer.rate_factor = self.learning_rate_factor
            self.changed = self.network.params is not shown
            if self.changed:
                self._trainer.params = self.network.params
            if self.network.state is not state:
                self._trainer.state = self.network.state

    def task(self) -> dict[str, Any]:
        """Return the description that a resumed run must have, too."""
        return super().task() | self._given()

    def let_go(self) -> None:
        """Part from the loop, which refers to this: else the memory would wait for the collector."""
        self._given = dict

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps beside the parameters."""
        trainer = self._trainer
        return super().state() | {
            "optimizer": trainer.optimizer_state(),
            "so_far": trainer.log.state(),
            "raw": trainer.params if trainer.averages else None,
        }

    def restore_all(self, found: Checkpoint) -> None:
        """Go on from a checkpoint, with its parameters and optimizer."""
        trainer, state = self._trainer, found.state
        trainer.restore_optimizer(state["optimizer"])
        raw = found.params if state.get("raw") is None else flatten(state["raw"])
        on_device = {n: trainer.backend.asarray(p) for n, p in raw.items()}
        trainer.params = unflatten(on_device, trainer.params)
        layer_state = {n: trainer.backend.asarray(a) for n, a in found.layer_state.items()}
        trainer.state = unflatten(layer_state, trainer.state)
        trainer.steps = state["trained"][0]
        trainer.rate_factor = state["learning_rate_factor"]
        so_far = state.get("so_far")
        if so_far is not None:
            trainer.resume_epoch(so_far)
        self.publish()
        self.restore(state)


def raise_divergence(trainer: Trainer, good: Any, epoch: int, history: History) -> None:
    """Restore the last good parameters and raise the error that says what happened."""
    trainer.restore(good)
    rate, other = trainer.rates(1)[0], "dtype='float64'"
    if trainer.backend.precision == "float16":
        other = "precision='bfloat16' or 'float32' (float16 ends at 65504)"
    raise DivergenceError(
        f"the loss is no longer a finite number in epoch {epoch}; the network keeps its last finite "
        f"weights. Try a smaller learning rate (it was {rate:g}), scaled inputs and targets, or "
        f"{other}",
        history,
    )
