"""The loop over epochs: order, validation, history, callbacks, and what ends it early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nnbackend.callbacks import Callback, Run
from nnbackend.core import random
from nnbackend.core.history import History
from nnbackend.core.tree import arrays_in, flatten, leaves, unflatten
from nnbackend.data.samples import Samples
from nnbackend.data.stream import BatchStream
from nnbackend.errors import WEIGHTS_KEPT, DivergenceError, ModelFileError
from nnbackend.saving.run_identity import check_same_run, data_checksum, describe
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["Loop", "raise_divergence", "steps_per_epoch"]

_BRIEF_SECONDS = 0.02
"""While epochs of one step take less time together, more of them are run together."""
_MAX_EPOCHS_TOGETHER = 8192


class Loop(Run):
    """Trains for a number of epochs. It is the run that callbacks see.

    Args:
        rows: which of the samples, by number; None: all. They are gathered a block at a time, so that a
            part of large data is not copied as a whole.
        batch_size: rows of a step; None: all.
        publish: makes the parameters in training visible; called before callbacks are.
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
        self._trainer, self._validation, self.publish = trainer, validation, publish
        self._order, self._evaluate, self._checks_finite = order, evaluate, check_finite
        self._stream: BatchStream | None = None
        self._batch_size: int | None = None  # of a stream: as its blocks come
        steps = steps_per_epoch(samples, rows, batch_size)
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
        else:
            self._stream = samples
        super().__init__(network, epochs, callbacks=callbacks, steps_per_epoch=steps)
        # After how many steps callbacks are to be called; None: as suits the backend.
        intervals = [n for n in (c.batch_interval for c in self.listening) if n is not None]
        self._interval = math.gcd(*intervals) if intervals else None
        self._each_block = self._tell_callbacks if self.listening else None
        # Whether a callback set parameters, or the layers' state, at the last event.
        self._sets_params = self._sets_state = False

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of the objective by name."""
        return self._trainer.objective.metrics

    def train(self, found: Checkpoint | None = None) -> History:
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
        with self._running(found):
            while self.goes_on:
                self._begin_epoch()
                started = time.perf_counter()
                if together > 1:
                    count = min(together, self.epochs - len(self.history))
                    losses = trainer.repeat(self._samples, count)
                    if losses is None:  # one of them diverged: find it one by one
                        together, alone = 1, True
                        continue
                    columns = {"loss": losses}
                else:
                    values = {}
                    if not self.at_once:
                        with self._blocks() as blocks:
                            values = trainer.epoch(blocks, self._batch_size, self._each_block)
                        if self._stream is not None:
                            values["waiting"] = blocks.waiting
                    self._check_finite(values.get("loss", 0.0))
                    if self.at_once:  # left before its end
                        break
                    if self._validation is not None:
                        values |= self._evaluate_validation()
                    columns = {name: [value] for name, value in values.items()}
                seconds = time.perf_counter() - started
                columns["learning_rate"] = trainer.rates(len(columns["loss"]))
                self._finish_epochs(columns, seconds)
                if not alone and seconds < _BRIEF_SECONDS:
                    together = min(2 * together, _MAX_EPOCHS_TOGETHER)
        return self.history

    @contextmanager
    def _running(self, found: Checkpoint | None) -> Iterator[None]:
        """Begin the run, and end it however the block is left."""
        error = None
        if found is not None:
            self._resume_from(found)
        # What Ctrl-C and a loss that is not finite go back to: the parameters after the last epoch.
        self._good = self._trainer.snapshot()
        self.begin()
        try:
            yield
        except KeyboardInterrupt:
            self._trainer.restore(self._good)
            done = len(self.history)
            self.reason = f"interrupted in epoch {done + 1}; the {done} before it are kept"
        except BaseException as problem:
            error = problem
            if self._trainer.backend.is_out_of_memory(problem):  # perhaps within an update
                self._trainer.restore(self._good)
            raise
        finally:
            self.publish()  # for good: parameters that a callback sets at the end, stay
            self.end(error)

    def _begin_epoch(self) -> None:
        """Announce that an epoch starts, or is resumed."""
        if self.epoch == len(self.history):
            self.epoch, self.step = self.epoch + 1, 0
        self.notify("epoch_start")

    def _finish_epochs(self, columns: dict[str, list[float]], seconds: float) -> None:
        """Write epochs into the history and run the callbacks."""
        count = len(columns["loss"])
        self._good = self._trainer.snapshot(self._good)
        self.history.extend(columns | {"seconds": [seconds / count] * count})
        self.epoch = len(self.history)
        self.network.trained = self.network.trained[0], self.first_epoch + self.epoch
        self.notify("epoch_end")
        if self._sets_params:
            self._good = self._trainer.snapshot(self._good)

    def _one_by_one(self) -> bool:
        """Return whether epochs have several steps, or someone looks at each."""
        return (
            self._stream is not None
            or self._size < self._count
            or self._validation is not None
            or self._samples.on_host
            or bool(self._trainer.objective.metrics)
            or self._interval is not None
            or any(callback.every_epoch for callback in self.callbacks)
        )

    def _tell_callbacks(self, steps: int) -> bool:
        """Tell callbacks of a block of steps; return whether to go on."""
        self.step = steps
        self.notify("batch_end")
        return not self.at_once

    def _check_finite(self, loss: float) -> None:
        """Go back to the last good parameters if these or the loss are not finite, and say so."""
        if not self._checks_finite or (math.isfinite(loss) and self._trainer.finite()):
            return
        if not self.at_once:
            raise_divergence(self._trainer, self._good, self.epoch, self.history)
        self._trainer.restore(self._good)

    @contextmanager
    def _blocks(self) -> Iterator[Any]:
        """Return the blocks of an epoch; if a source fails, go back to the last whole epoch."""
        trainer = self._trainer
        if self._stream is None:
            block_rows = None if self._interval is None else self._interval * self._size
            order = self._epoch_order(self.first_epoch + self.epoch)
            with trainer.blocks(self._samples, self._size, order, block_rows) as blocks:
                yield blocks
            return
        before = trainer.updates - self.step
        try:
            with self._stream.epoch(self.epoch, self._interval, self.first_epoch) as blocks:
                yield blocks
        except Exception:
            if self.failure is None:  # a callback that fails leaves whole steps, to resume from
                trainer.restore(self._good)
            raise
        if not self.at_once:
            self.steps_per_epoch = trainer.updates - before

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
        validation = self._validation
        assert validation is not None
        if self._evaluate is not None:
            values = self._evaluate(validation)
        else:
            values = self._trainer.evaluate(validation, self.epoch, self.first_epoch)
        return {f"validation_{name}": value for name, value in values.items()}

    # What callbacks and checkpoints see; see Run.

    @property
    def losses(self) -> list[float]:
        """The losses of the steps since the last ``batch_end``."""
        return self._trainer.log.latest_losses()

    @property
    def steps(self) -> int:
        """How many steps are done since the start of the whole run."""
        return self._trainer.updates

    def learning_rates(self, count: int) -> list[float]:
        """Return the learning rates of the last steps."""
        return self._trainer.rates(count)

    def finite(self) -> bool:
        """Return whether all parameters are finite."""
        return self._trainer.finite()

    def parameters(self) -> Any:
        """Return the parameters to predict with: those in training, or their average."""
        return self._trainer.result

    def notify(self, event: str) -> None:
        """Call the callbacks; take up parameters that they set."""
        self._sets_params = self._sets_state = False
        if event == "stop" or not self.listeners(event):
            super().notify(event)
            return
        self.publish()
        shown, state = self.network.params, self.network.state
        try:
            super().notify(event)
        finally:
            self._trainer.rate_factor = self.learning_rate_factor
            self._sets_params = self.network.params is not shown
            if self._sets_params:
                self._trainer.params = self.network.params
            self._sets_state = self.network.state is not state
            if self._sets_state:
                self._trainer.state = self.network.state

    # Resuming

    def task(self) -> dict[str, Any]:
        """Return the description that a resumed run must have, too."""
        objective, s, v = self._trainer.objective, self._stream, self._validation
        augmentation = objective.augmentation
        return {
            **super().task(),
            "loss": describe(objective.loss),
            "optimizer": describe(self._trainer.optimizer),
            "accumulate": self._trainer.accumulate,
            "augment": describe(augmentation.transforms if augmentation else ()),
            "metrics": {name: describe(metric) for name, metric in objective.metrics.items()},
            "validation rows": len(v) if isinstance(v, Samples) else v and v.describe(),
            **(self._describe_samples() if s is None else s.describe()),
        }

    def _describe_samples(self) -> dict[str, Any]:
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

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps beside the parameters."""
        trainer = self._trainer
        return super().state() | {
            "optimizer": trainer.optimizer_state(),
            "so_far": trainer.log.state(),
            "raw": trainer.params if trainer.averages else None,
        }

    def check(self, found: Checkpoint) -> None:
        """Check that a checkpoint is of this run, and whole.

        Raises:
            ResumeError: it is of another run.
            ModelFileError: it does not hold together.
        """
        check_same_run(found, self.task())
        state, trainer, misfit = found.state, self._trainer, ""
        found.check_network(trainer.params, trainer.state)
        if state.get("optimizer") is None:
            misfit = "its optimizer's state is missing"
        elif wrong := trainer.misfit(found.optimizer_state()):
            misfit = f"its optimizer's {wrong}"
        elif state["batch"] and state.get("so_far") is None:
            misfit = f"its batch is {state['batch']}, and what came of the steps is missing"
        elif state["batch"] and trainer.rounds is not None:
            misfit = (
                "it was written within an epoch, where with local_steps each process has optimizer's "
                "arrays of its own. Take one that was written after an epoch"
            )
        elif state["batch"] and not self._fits(state["so_far"]["outputs"]):
            misfit = "the outputs of its unfinished epoch are not those that the metrics need"
        if misfit:
            raise ModelFileError(f"{found.path} cannot be resumed from: {misfit}")

    def _fits(self, outputs: Any) -> bool:
        """Return whether outputs of an unfinished epoch are there if metrics need them."""
        if outputs is None or not self._trainer.objective.metrics:
            return outputs is None and not self._trainer.objective.metrics
        of_one = isinstance(outputs, np.ndarray)
        return not of_one or outputs.shape[1:] == self.network.output_shape

    def _resume_from(self, found: Checkpoint) -> None:
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


def steps_per_epoch(
    samples: Samples | BatchStream, rows: Any, batch_size: int | None
) -> int | None:
    """Return the number of steps of an epoch; None if a stream does not have it."""
    if not isinstance(samples, Samples):
        return samples.steps
    count = len(samples if rows is None else rows)
    return math.ceil(count / min(batch_size or count, count))


def raise_divergence(
    trainer: Trainer, good: Any, epoch: int, history: History, advice: str | None = None
) -> NoReturn:
    """Restore the last good parameters and raise the error that says what happened."""
    trainer.restore(good)
    if advice is None:
        other = "dtype='float64'"
        if trainer.backend.precision == "float16":
            other = "precision='bfloat16' or 'float32' (float16 ends at 65504)"
        rate = trainer.rates(1)[0]
        advice = (
            f"Try a smaller learning rate (it was {rate:g}), scaled inputs and targets, or {other}"
        )
    kept = f"{WEIGHTS_KEPT}. {advice}"
    if not all(map(trainer.backend.all_finite, [*leaves(trainer.params), *leaves(trainer.state)])):
        kept = "the weights that it began with are not finite. Load others, or make a new network"
    raise DivergenceError(
        f"the loss is no longer a finite number in epoch {epoch}; {kept}", history
    )
