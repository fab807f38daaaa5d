"""The loop over epochs: order, validation, history, callbacks, and what ends it early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
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
from nnbackend.training.trainer import PartialEpoch, Trainer

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["FitRun", "Loop", "raise_divergence"]

_BRIEF = 0.02  # seconds; while epochs of one step take less, more of them are run together
_MOST_TOGETHER = 8192


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
        network: what callbacks are shown.
        epochs: how many, counted from the start of the whole run.
        order: the rows of each epoch in their order, from the epoch's number; None: ``shuffle`` says.
            It is asked once for each epoch, in turn.
        evaluate: the figures on the validation data, which the history calls ``validation_...``; None:
            the loss and the metrics.
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
        self._order, self._evaluate, self._check_finite = order, evaluate, check_finite
        self._feed: BatchStream | None = None
        steps: int | None
        if isinstance(samples, Samples):
            self._count = len(samples if rows is None else rows)
            self._size = min(batch_size or self._count, self._count)
            every_step_takes_all = self._size == self._count and order is None
            if rows is not None and every_step_takes_all:
                samples, rows = samples.take(rows, trainer.backend), None
            self._shuffle = shuffle and self._size < self._count
            if self._shuffle or rows is not None or order is not None:
                samples = samples.packed(trainer.backend)
            self._samples, self._rows = samples, rows
            steps = math.ceil(self._count / self._size)
        else:
            self._feed, steps = samples, samples.steps
        self._validation = validation
        self._run = run = FitRun(network, epochs, callbacks, steps, trainer, publish, self._task)
        # After how many steps callbacks are to be called; None: as suits the backend.
        intervals = [n for n in (c.batch_interval for c in run.listening) if n is not None]
        self._interval = math.gcd(*intervals) if intervals else None

    def run(self, found: Checkpoint | None = None) -> History:
        """Train; return the history.

        Ctrl-C ends the run with the parameters of the last whole epoch.

        Args:
            found: the checkpoint to go on from, which :meth:`check` let pass.

        Raises:
            DivergenceError: a loss is not finite; the trainer has its last finite parameters.
            DataError, or whatever a source raises: the trainer has the parameters of the last whole
                epoch.
        """
        run, error = self._run, None
        if found is not None:
            run.restore_all(found)
        # What Ctrl-C and a loss that is not finite go back to: the parameters after the last epoch.
        self._good = self._trainer.snapshot()
        run.begin()
        try:
            self._epochs()
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
        return run.history

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

    @property
    def epochs_of_network(self) -> int:
        """How many epochs the network has been trained for, those before this run included."""
        before: int = self._run.first_epoch
        return before + len(self._run.history)

    def _epochs(self) -> None:
        """Do epoch after epoch; brief ones that nobody looks at singly, many at a time."""
        run, history, together = self._run, self._run.history, 1
        alone = self._one_by_one()
        while run.goes_on:
            run.epoch_begins()
            started = time.perf_counter()
            if together == 1:
                one = self._one()
                if one is None:  # left before its end
                    return
                columns = one
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
            run.notify("epoch_end")
            if run.changed:
                self._good = self._trainer.snapshot(self._good)
            if not alone and seconds < _BRIEF:
                together = min(2 * together, _MOST_TOGETHER)

    def _one_by_one(self) -> bool:
        """Return whether epochs have several steps, or someone looks at each."""
        return (
            self._feed is not None
            or self._size < self._count
            or self._validation is not None
            or self._samples.on_host
            or bool(self._trainer.objective.metrics)
            or self._interval is not None
            or any(callback.every_epoch for callback in self._run.callbacks)
        )

    def _one(self) -> dict[str, list[float]] | None:
        """Do one epoch; return its figures, or None if a callback asked to leave it."""
        run, trainer = self._run, self._trainer

        def each_block(steps: int) -> bool:
            run.step = steps
            run.notify("batch_end")
            return not run.at_once

        figures = {}
        if not run.at_once:
            one = self._held if self._feed is None else self._streamed
            figures = one(each_block if run.listening else None)
        finite = not self._check_finite or (
            math.isfinite(figures.get("loss", 0.0)) and trainer.finite()
        )
        if not finite:
            if not run.at_once:
                raise_divergence(trainer, self._good, run.epoch, run.history)
            trainer.restore(self._good)
        if run.at_once:
            return None
        if self._validation is not None:
            held_out = self._validated(self._validation)
            figures |= {f"validation_{name}": value for name, value in held_out.items()}
        return {name: [value] for name, value in figures.items()}

    def _held(self, each_block: Callable[[int], bool] | None) -> dict[str, float]:
        """Do one epoch on samples that lie in memory."""
        trainer, order = self._trainer, self._rows
        epoch = self._run.first_epoch + self._run.epoch
        if self._order is not None:
            order = self._order(epoch)
        elif self._shuffle:
            order = random.permutation(trainer.seed, self._count, "order", epoch)
            order = order if self._rows is None else self._rows[order]
        block_rows = None if self._interval is None else self._interval * self._size
        return trainer.epoch(self._samples, self._size, order, each_block, block_rows)

    def _streamed(self, each_block: Callable[[int], bool] | None) -> dict[str, float]:
        """Do one epoch on what a source gives; if it fails, go back to the last whole epoch."""
        assert self._feed is not None
        run, trainer = self._run, self._trainer
        before = trainer.updates - run.step
        try:
            with self._feed.epoch(run.first_epoch + run.epoch, self._interval) as parts:
                figures = trainer.learn(parts, each_block)
        except Exception:
            if run.failure is None:  # a callback that fails leaves whole steps, to be gone on from
                trainer.restore(self._good)
            raise
        if not run.at_once:
            run.steps_per_epoch = trainer.updates - before
        return figures | {"waiting": parts.waiting}

    def _validated(self, validation: Samples | BatchStream) -> dict[str, float]:
        """Return the figures on the validation data."""
        if self._evaluate is not None:
            return self._evaluate(validation)
        if isinstance(validation, Samples):
            return self._trainer.evaluate(validation)
        with validation.epoch(self._run.first_epoch + self._run.epoch) as parts:
            return self._trainer.evaluate(parts)

    def _task(self) -> dict[str, Any]:
        """Return what must be the same, beside the network, for a run to go on."""
        objective, s, v = self._trainer.objective, self._feed, self._validation
        return {
            "loss": describe(objective.loss),
            "optimizer": describe(self._trainer.optimizer),
            "accumulate": self._trainer.accumulate,
            "metrics": {name: describe(metric) for name, metric in objective.metrics.items()},
            "validation rows": len(v) if isinstance(v, Samples) else v and v.describe(),
        } | (self._lying() if s is None else s.describe())

    def _lying(self) -> dict[str, Any]:
        """Return what must be the same about samples in memory."""
        s, home = self._samples.learned(), self._samples.placement(self._trainer.backend)
        some = s.take(np.unique(np.linspace(0, len(s) - 1, 16).astype(int)), self._trainer.backend)
        return {
            "rows": self._count,
            "batch_size": self._size,
            "shuffle": self._shuffle,
            "weights": s.weight is not None,
            "data (a checksum)": data_checksum([*arrays_in(some.arrays[:3])], home.to_numpy),
        }

    def _many(self, count: int) -> dict[str, list[float]] | None:
        """Do epochs of one step each; undo them all and return None if a loss is not finite."""
        losses = self._trainer.repeat(self._samples, count)
        return None if losses is None else {"loss": losses}


class FitRun(Run):
    """The run of a loop: what is in training is a trainer's.

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
        return self._trainer.latest_losses()

    def finite(self) -> bool:
        """Return whether all parameters are finite."""
        return self._trainer.finite()

    def parameters(self) -> Any:
        """Return the parameters to predict with: those in training, or their average."""
        return self._trainer.result

    def epoch_begins(self) -> None:
        """Say that an epoch starts, or goes on."""
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
        """Return what must be the same for a run to go on."""
        return super().task() | self._given()

    def let_go(self) -> None:
        """Part from the loop, which refers to this: else the memory would wait for the collector."""
        self._given = dict

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps beside the parameters."""
        begun = self._trainer.begun()
        so_far = None
        if begun is not None:
            so_far = {"losses": begun.losses, "masses": begun.masses, "outputs": begun.outputs}
        optimizer = self._trainer.optimizer_state()
        raw = self._trainer.params if self._trainer.optimizer.averages else None
        return super().state() | {"optimizer": optimizer, "so_far": so_far, "raw": raw}

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
            trainer.resume_epoch(PartialEpoch(state["batch"], **so_far))
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
