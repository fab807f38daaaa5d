"""A training run: what callbacks see, and how they are called."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from nnbackend.callbacks.base import Callback
from nnbackend.callbacks.function import as_callback
from nnbackend.callbacks.progress import choose_progress
from nnbackend.core.checks import check_items
from nnbackend.core.history import History
from nnbackend.core.state_names import state_name
from nnbackend.core.tree import leaves
from nnbackend.core.version import __version__
from nnbackend.errors import ModelFileError
from nnbackend.saving import checkpoint as checkpoints
from nnbackend.saving.run_identity import check_same_run, describe
from nnbackend.saving.schema import Check, entries

__all__ = ["Run", "resolve"]


class Run:
    """A training run as callbacks see it; in your own training loop, it calls them.

    ``fit`` makes a run itself. Your own loop does it like this::

        with nnb.callbacks.Run(net, epochs=20, callbacks=[...]) as run:  # start ... stop
            for epoch in run:  # epoch_start; ends when a callback stops the run
                for x, y in batches:
                    ...
                    run.batch_end(loss)
                run.epoch_end(loss=mean_loss)
        run.history

    Args:
        network: the network that is trained.
        epochs: the number of epochs, counted from the start of the whole run.
        callbacks: callbacks and functions of the run, default none.
        steps_per_epoch: the number of batches in an epoch; None: unknown.
        verbose: 0, the default: silence; 1: show progress; None: show it on long work at a terminal.
        resume: a checkpoint, or a folder of them, to resume from; the network gets its parameters. None:
            a new run.

    Attributes:
        network: the network that is trained.
        epochs: the number of epochs of the whole run.
        steps_per_epoch: the number of batches in an epoch, or None.
        epoch: the number of the epoch, from 1.
        step: the number of steps of the epoch done.
        history: the epochs done.
        callbacks: the callbacks in the order in which they are called.
        learning_rate_factor: a factor of the learning rate of all later steps, which callbacks may set.
            Your own loop multiplies by it.
        optimizer_state: in your own loop, set it to the state that ``optimizer.update`` returned last,
            for checkpoints to keep; in a resumed run it is the state that they kept; else None.
        user_state: more data for checkpoints to keep, of your own loop or a callback: a dictionary of
            plain data and arrays.
        reason: why the run is to end, if a callback stopped it.
        at_once: whether it is to end before the epoch is over.
        resumed: whether it was resumed from a checkpoint.
        failure: the error that a callback raised, if one did.

    Raises:
        TypeError: something is neither a callback nor a function.
        FileNotFoundError, ModelFileError: there is no checkpoint, or it is damaged.
        ResumeError: it is of another run.
    """

    def __init__(
        self,
        network: Any,
        epochs: int,
        *,
        callbacks: Iterable[Any] = (),
        steps_per_epoch: int | None = None,
        verbose: int | bool | None = 0,
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self.network = network
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.epoch = self.step = 0
        self.history = History()
        self.callbacks = resolve(callbacks, verbose)
        self.learning_rate_factor = 1.0
        self.optimizer_state: dict[str, Any] | None = None
        self.user_state: dict[str, Any] = {}
        self.reason: str | None = None
        self.at_once = False
        self.failure: Exception | None = None
        self.first_epoch: int = network.trained[1]
        self.listening = [c for c in self.callbacks if c.listens_to_batches]
        self.resumed = False
        self._steps = 0
        self._losses: list[Any] = []
        self._rates: list[float] = []
        self._resume = resume

    # For callbacks

    @property
    def steps(self) -> int:
        """How many steps have been done since the start of the whole run."""
        return self._steps

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End the run after this epoch; ``reason`` becomes ``history.stopped``.

        Args:
            reason: the reason in words.
            at_once: whether to end after this step, default False. The epoch then remains unfinished: it
                is not in the history, and a checkpoint can be resumed within it.
        """
        self.reason = reason
        self.at_once = self.at_once or at_once

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics by name; your own loop's are not known."""
        return {}

    @property
    def losses(self) -> list[float]:
        """The losses of the steps since the last ``batch_end``; they are read from the device here."""
        return [float(loss) for loss in self._losses]

    @property
    def position(self) -> tuple[int, int]:
        """How many epochs are done, and how many steps of the unfinished epoch."""
        done = len(self.history)
        return done, self.step if self.epoch > done else 0

    def learning_rates(self, count: int) -> list[float]:
        """Return the learning rates of the last steps, as far as the loop has passed them."""
        return self._rates[-count:]

    def finite(self) -> bool:
        """Return whether all parameters are finite."""
        backend = self.network.backend
        return all(backend.all_finite(leaf) for leaf in leaves(self.parameters()))

    def parameters(self) -> Any:
        """Return the parameters in training; at the end a callback may have set others."""
        return self.network.params

    def state(self) -> dict[str, Any]:
        """Return the run's state for a checkpoint, besides the parameters: plain data and arrays."""
        return {
            "task": self._task,
            "epoch": self.position[0],
            "batch": self.position[1],
            "steps": self.steps,
            "first_epoch": self.first_epoch,
            "trained": list(self.network.trained),
            "learning_rate_factor": self.learning_rate_factor,
            "history": self.history.to_dict(),
            "optimizer": self.optimizer_state,
            "user": self.user_state,
            "callbacks": [
                {"name": c.name, "state": c.state(), "only_watches": c.only_watches}
                for c in self.callbacks
            ],
        }

    def task(self) -> dict[str, Any]:
        """Return the description of the run: what must be the same to resume it."""
        network = self.network
        return {
            "nnbackend": __version__,
            "network": describe(network.layers),
            "input_shape": describe(network.input_shape),
            "dtype": network.backend.dtype_name,
            "precision": network.backend.precision,
            "seed": network.seed,
            "where": network.backend.description,
        }

    @cached_property
    def _task(self) -> dict[str, Any]:
        return self.task()

    # For loops

    def __enter__(self) -> Run:
        if self._resume is not None:
            self._restore_from(self._resume)
        self.begin()
        return self

    def begin(self) -> None:
        """Tell the callbacks that the run starts; if one of them fails, that it is over."""
        try:
            self.notify("start")
        except BaseException as error:
            self.end(error)
            raise

    def __iter__(self) -> Iterator[int]:
        while self.goes_on:
            if self.epoch == len(self.history):  # else it was resumed within an epoch
                self.epoch, self.step = self.epoch + 1, 0
            self.notify("epoch_start")
            if self.at_once:
                return
            self._started = time.perf_counter()
            yield self.epoch
            if self.at_once:
                return
            if len(self.history) < self.epoch:
                raise RuntimeError("the loop must call run.epoch_end(loss=...) after each epoch")

    @property
    def goes_on(self) -> bool:
        """Whether there are epochs left, and no callback stopped the run."""
        return len(self.history) < self.epochs and self.reason is None

    def batch_end(self, loss: Any = None, learning_rate: float | None = None) -> bool:
        """Tell the callbacks that a step is done; return whether to leave the epoch at once.

        Args:
            loss: the loss of the step, a number or an array without axes; it is read only if a callback
                uses it. None: unknown.
            learning_rate: the learning rate of the step; None: unknown.
        """
        self.step += 1
        self._steps += 1
        self._losses = [] if loss is None else [loss]
        self._rates = [] if learning_rate is None else [float(learning_rate)]
        self.notify("batch_end")
        return self.at_once

    def epoch_end(self, *, loss: float, **metrics: float) -> None:
        """Tell the callbacks that an epoch is done. After an epoch that was left, do nothing.

        Args:
            loss: the mean loss of the epoch.
            metrics: other values by name, for the history: ``validation_loss=...``.
        """
        if self.at_once:
            return
        seconds = time.perf_counter() - self._started
        numbers = {"loss": loss, **metrics, "seconds": seconds}
        self.history.extend({name: [float(value)] for name, value in numbers.items()})
        self.notify("epoch_end")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the callbacks that the run is over; the history gets the reason.

        Args:
            error: the error that ended the run, or None. A callback that fails now does not hide it.
        """
        try:
            self.notify("stop")
        except Exception as another:
            if error is None or error is another:
                raise
            error.add_note(f"{type(another).__name__}: {another}; {another.__notes__[0]}")
        finally:
            if len(self.history) < self.epochs:
                self.history.stopped = self.reason

    def notify(self, event: str) -> None:
        """Call all callbacks at an event. One that fails does not keep the others from being called."""
        failure: Exception | None = None
        for callback in self.listeners(event):
            try:
                getattr(callback, event)(self)
            except Exception as error:
                when = event.replace("_", " ") + (f" of epoch {self.epoch}" if self.epoch else "")
                error.add_note(f"raised by the callback {callback.name} at the {when}")
                if failure is None:
                    failure = error
                else:
                    failure.add_note(f"{type(error).__name__}: {error}; {error.__notes__[0]}")
        if failure is not None:
            self.failure = self.failure or failure
            raise failure

    def listeners(self, event: str) -> Sequence[Callback]:
        """Return the callbacks to call at an event."""
        return self.listening if event == "batch_end" else self.callbacks

    # Resuming

    def _restore_from(self, path: str | os.PathLike[str]) -> None:
        """Resume a user's own loop from a checkpoint."""
        found = find(path, self.callbacks)
        if found is None:
            return
        check_same_run(found, self.task())
        found.check_network(self.network.params, self.network.state)
        state = {state_name(n, found.params): array for n, array in found.layer_state.items()}
        self.network.load_state_dict({**found.params, **state})
        self.restore(found.state)
        state = found.state.get("optimizer")
        self.optimizer_state = None if state is None else self._on_device(state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state. The loop itself restores parameters and optimizer."""
        columns = {name: list(c) for name, c in state["history"].items() if name != "epoch"}
        if state["epoch"]:
            self.history.extend(columns)
        self.resumed = True
        self.epoch, self.step = state["epoch"], state["batch"]
        if self.step:
            self.epoch += 1
        self._steps = state["steps"]
        self.first_epoch = state["first_epoch"]
        self.network.trained = tuple(state["trained"])
        self.learning_rate_factor = state["learning_rate_factor"]
        self.user_state = dict(state["user"])
        self._restore_callbacks(state["callbacks"])

    def _restore_callbacks(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Give each callback the state of the callback of the same name."""
        unclaimed = list(states)
        for callback in self.callbacks:
            entry = next((e for e in unclaimed if e["name"] == callback.name), None)
            if entry is not None:
                unclaimed.remove(entry)
                _restore(callback, entry["state"])
        missing = [e["name"] for e in unclaimed if e["state"] and not e["only_watches"]]
        if missing:
            warnings.warn(
                f"the run is resumed without {', '.join(missing)}, whose state the checkpoint holds",
                UserWarning,
                stacklevel=2,
            )

    def _on_device(self, value: Any) -> Any:
        """Return nested plain data with their NumPy arrays brought to the network's backend."""
        if isinstance(value, dict):
            return {name: self._on_device(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._on_device(item) for item in value]
        if not hasattr(value, "dtype"):
            return value
        backend = self.network.backend
        array = backend.asarray(value, dtype=getattr(backend.xp, value.dtype.name))
        return backend.xp.asarray(array, copy=True)  # the optimizer may change it


def find(path: str | os.PathLike[str], callbacks: Sequence[Callback]) -> Any:
    """Return the checkpoint to resume from; None if the run writes to that folder and it holds none yet.

    Raises:
        FileNotFoundError: there is no checkpoint, and the run does not write there.
        ModelFileError: the file is damaged, or is not a checkpoint.
    """
    found = checkpoints.find(path)
    if found is not None:
        found.check_callbacks({callback.name: _schema_of(callback) for callback in callbacks})
    else:
        folders = [getattr(callback, "directory", None) for callback in callbacks]
        if os.path.abspath(path) not in [os.path.abspath(f) for f in folders if f is not None]:
            raise FileNotFoundError(f"there is no checkpoint in {path}")
        warnings.warn(
            f"there is no checkpoint in {path} yet: the run starts at the beginning",
            UserWarning,
            stacklevel=3,
        )
    return found


def _restore(callback: Callback, state: Mapping[str, Any]) -> None:
    """Restore a callback; one that users wrote may not expect what a file holds."""
    try:
        callback.restore(state)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"{callback.name} cannot go on from its state in the checkpoint: "
            f"{type(error).__name__}: {error}"
        ) from error


def _schema_of(callback: Callback) -> Check:
    """Return what a callback's state has to be, as the class says that has the method ``state``."""
    owner = next(kind for kind in type(callback).__mro__ if {"schema", "state"} & vars(kind).keys())
    schema: Check = vars(owner).get("schema", entries())
    return schema


def resolve(callbacks: Iterable[Any] | None, verbose: int | bool | None) -> list[Callback]:
    """Return the callbacks of a run, with one that shows progress if ``verbose`` says so.

    Raises:
        TypeError: something is neither a callback nor a function.
    """
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    given = () if callbacks is None else callbacks
    resolved = [
        as_callback(spec) for spec in check_items("callbacks", given, "a list of callbacks")
    ]
    progress = choose_progress(verbose)
    resolved += [] if progress is None else [progress]
    return sorted(resolved, key=lambda callback: callback.last)
