"""Training: one step, the loop over epochs, and the history of both.

The step is a pure function of what it carries (parameters, optimiser state) and a batch; a backend may
run it in a loop or compile many steps into one program. Nothing is read back from the device inside an
epoch: the losses of its steps are read once, at its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from nnbackend import random
from nnbackend.backend import Backend
from nnbackend.errors import DivergenceError
from nnbackend.layout import layout_for
from nnbackend.losses import Loss
from nnbackend.metrics import Metric
from nnbackend.optimizers import Optimizer
from nnbackend.types import Array, Context, Layer, Params

__all__ = ["History", "Objective", "Run", "Samples", "Trainer", "evaluate", "forward_in_batches"]

_BLOCK_BYTES = 1 << 26  # rows gathered at a time for shuffled batches
_BATCH_ROWS = 4096  # rows of a forward pass outside training
_BRIEF = 0.02  # seconds; while epochs of one step take less, more of them are run together
_MOST_TOGETHER = 1024


class History:
    """What happened in each epoch, by name: ``history["loss"]`` is a list with a number per epoch.

    Names: ``epoch`` (from 1), ``loss``, the metrics, ``validation_loss`` and the metrics on the
    validation data, ``learning_rate`` (of the epoch's last step) and ``seconds`` (of the epoch).

    Attributes:
        stopped: why training ended before the last epoch, or None.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {"epoch": []}
        self.stopped: str | None = None

    def extend(self, columns: Mapping[str, list[float]]) -> None:
        """Add epochs: a list of as many figures for each name."""
        count = len(columns["loss"])
        self._columns["epoch"].extend(range(len(self) + 1, len(self) + count + 1))
        for name, values in columns.items():
            self._columns.setdefault(name, []).extend(values)

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns["epoch"])

    @property
    def last(self) -> dict[str, float]:
        """The figures of the last epoch."""
        return {name: values[-1] for name, values in self._columns.items() if values}

    def to_dict(self) -> dict[str, list[float]]:
        """Return the columns as plain lists."""
        return {name: list(values) for name, values in self._columns.items()}

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items())
        return f"History({len(self)} epochs; last: {figures})" if len(self) else "History(empty)"


@dataclass(frozen=True)
class Objective:
    """What is minimised and what is watched.

    Attributes:
        layers: the network as it is trained: without the output activation that the loss contains.
        loss: takes the output of ``layers``.
        output: from the output of ``layers`` to that of the network.
        metrics: by name; they take the output of the network.
    """

    layers: Layer
    loss: Loss
    output: Callable[[Array, Context], tuple[Array, Any]]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Samples:
    """Rows of inputs and targets on a backend, with an optional weight each."""

    x: Array
    y: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, rows: Any, backend: Backend) -> Samples:
        """Return the given rows, in that order."""
        xp = backend.xp
        index = backend.asarray(rows, dtype=xp.int32)
        weight = None if self.weight is None else xp.take(self.weight, index, axis=0)
        return Samples(xp.take(self.x, index, axis=0), xp.take(self.y, index, axis=0), weight)

    def slice(self, start: int, stop: int) -> Samples:
        """Return a range of rows."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Samples(self.x[start:stop, ...], self.y[start:stop, ...], weight)


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
    """

    network: Any
    epochs: int
    steps_per_epoch: int
    history: History
    epoch: int = 0
    step: int = 0
    reason: str | None = field(default=None, init=False)

    def stop(self, reason: str) -> None:
        """Ask for the training to end after this epoch; ``reason`` goes to ``history.stopped``."""
        self.reason = reason


def _training_step(
    layers: Layer,
    loss: Loss,
    optimizer: Optimizer,
    backend: Backend,
    key: tuple[int, int],
    watched: bool,
) -> Callable[..., Any]:
    """Return the training step, run over batches: forward, loss, backward, update."""
    layout = layout_for(backend, optimizer)
    # One context for all steps of a loop. A compiled program is shared, also between threads, and
    # makes its own when it is traced.
    shared = None if backend.static_shapes else Context(backend, True, key)

    def step(
        carry: Any, x: Array, y: Array, weight: Array | None, scalars: Any, number: Any
    ) -> tuple[Any, tuple[Array, Array | None, Array | None]]:
        ctx = shared or Context(backend, True, key)
        ctx.step = number
        prediction, backward = layers.forward(layout.params(carry), x, ctx)
        total = None
        if weight is None:
            value, dy = loss(prediction, y)
        else:
            value, dy = loss(prediction, y, weight)
            total = backend.xp.sum(weight)
        _, grads = backward(dy, input_grad=False)
        carry = layout.update(carry, grads, scalars)
        return carry, (value, total, prediction if watched else None)

    return backend.scan(step)


def _forward_pass(layers: Layer, backend: Backend) -> Callable[[Params, Array], Array]:
    """Return the forward pass outside training."""
    ctx = Context(backend)

    def forward(params: Params, x: Array) -> Array:
        return layers.forward(params, x, ctx)[0]

    return backend.compile(forward)


# Compiled programs depend on descriptions alone, not on parameters: what is compiled once serves every
# network that is described alike.
_shared_training_step = lru_cache(maxsize=64)(_training_step)
_shared_forward_pass = lru_cache(maxsize=64)(_forward_pass)


def training_step(
    objective: Objective, optimizer: Optimizer, backend: Backend, seed: int
) -> Callable[..., Any]:
    """Return the program of a training step, as ``Backend.scan`` describes it."""
    key, watched = random.pass_key(seed), bool(objective.metrics)
    description: Any = (objective.layers, objective.loss, optimizer, backend, key, watched)
    if backend.static_shapes and _hashable(description):
        return _shared_training_step(*description)
    return _training_step(*description)


def forward_pass(layers: Layer, backend: Backend) -> Callable[[Params, Array], Array]:
    """Return the program of the forward pass outside training: ``forward(params, x) -> y``."""
    description: Any = (layers, backend)
    if backend.static_shapes and _hashable(description):
        return _shared_forward_pass(*description)
    return _forward_pass(*description)


def _hashable(description: Any) -> bool:
    """Return whether a description is hashable; one with a custom layer of odd fields is not."""
    try:
        hash(description)
    except TypeError:
        return False
    return True


class Trainer:
    """A network's parameters in training, with the optimiser's state and the count of its steps.

    Args:
        objective: what to minimise.
        optimizer: how.
        backend: where.
        params: the parameters to start from; they are copied.
        seed: fixes the order of batches and all that is random in the layers.
        steps: how many steps the network has been trained for before.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        backend: Backend,
        params: Params,
        seed: int,
        steps: int = 0,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.backend = backend
        self.seed = seed
        self.steps = steps  # of the network's life: a new dropout mask for each
        self.updates = 0  # of this optimiser's life: what its formulas count
        self.layout = layout_for(backend, optimizer)
        self.carry = self.layout.init(params)
        self._run = training_step(objective, optimizer, backend, seed)

    @property
    def params(self) -> Params:
        """The named parameters as they are now."""
        return self.layout.params(self.carry)

    def snapshot(self) -> Any:
        """Return a copy of the parameters, for ``restore``."""
        return self.layout.snapshot(self.carry)

    def restore(self, snapshot: Any) -> None:
        """Go back to the parameters of a snapshot."""
        self.carry = self.layout.restored(self.carry, snapshot)

    def finite(self) -> bool:
        """Return whether all parameters are finite."""
        return self.layout.finite(self.snapshot())

    def epoch(
        self,
        samples: Samples,
        batch_size: int,
        order: Any = None,
        each_block: Callable[[int], None] | None = None,
        block_rows: int | None = None,
    ) -> dict[str, float]:
        """Go through the samples once; return the mean loss and the metrics.

        Args:
            samples: what to learn from.
            batch_size: rows of a step.
            order: of the rows; None: as they are.
            each_block: is told the number of steps done, after each block of steps.
            block_rows: rows of a block; None: as many as fit a fixed amount of memory.
        """
        rows, results, seen = len(samples), list[Any](), list[Samples]()
        block_rows = block_rows or _block_rows(samples, batch_size)
        for start in range(0, rows, block_rows):
            stop = min(start + block_rows, rows)
            block = samples
            if order is not None:
                block = samples.take(order[start:stop], self.backend)
            elif (start, stop) != (0, rows):
                block = samples.slice(start, stop)
            size = min(batch_size, stop - start)
            results.append(self._block(block, size, math.ceil((stop - start) / size)))
            seen.append(block)
            if each_block is not None:
                each_block(math.ceil(stop / batch_size))
        # Here, and not before, the losses are waited for.
        losses = np.concatenate([self.backend.read(losses) for losses, _, _ in results])
        masses = np.concatenate(
            [
                self._masses(block, masses, batch_size)
                for (_, masses, _), block in zip(results, seen, strict=True)
            ]
        )
        figures = {"loss": float(losses @ masses / masses.sum())}
        if self.objective.metrics:
            outputs = [
                output[: len(block), ...] for (*_, output), block in zip(results, seen, strict=True)
            ]
            figures |= self._watched(outputs, seen)
        return figures

    def repeat(self, samples: Samples, count: int) -> np.ndarray[Any, Any]:
        """Do ``count`` steps with all samples each; return their losses. No metrics."""
        losses, _, _ = self._block(samples, len(samples), count)
        return self.backend.read(losses)

    def rates(self, count: int) -> list[float]:
        """Return the learning rates of the last ``count`` steps."""
        rate = self.optimizer.learning_rate
        if not callable(rate):
            return [rate] * count
        return [float(rate(update)) for update in range(self.updates - count, self.updates)]

    def _block(self, block: Samples, size: int, steps: int) -> tuple[Any, Any, Array | None]:
        """Run the steps of a block; return their losses, their weights, and the outputs."""
        if self.backend.static_shapes:
            block = _padded(block, -(-len(block) // size) * size, self.backend)
        first, self.updates = self.updates, self.updates + steps
        scalars = [self.optimizer.scalars(first + i + 1) for i in range(steps)]
        numbers = range(self.steps, self.steps + steps)
        self.steps += steps
        rows = (block.x, block.y, block.weight)
        self.carry, *results = self._run(self.carry, rows, size, scalars, numbers)
        losses, masses, outputs = results
        return losses, masses, outputs

    def _masses(self, block: Samples, masses: Any, size: int) -> np.ndarray[Any, Any]:
        """Return what each step counts in the mean loss: its weights, or its number of rows."""
        if masses is not None:
            return self.backend.read(masses)
        return np.asarray([min(size, len(block) - a) for a in range(0, len(block), size)], float)

    def _watched(self, predictions: list[Array], blocks: list[Samples]) -> dict[str, float]:
        """Return the metrics over the outputs of an epoch."""
        xp = self.backend.xp
        z = predictions[0] if len(predictions) == 1 else xp.concat(predictions)
        y = blocks[0].y if len(blocks) == 1 else xp.concat([b.y for b in blocks])
        w = None
        if blocks[0].weight is not None:
            w = xp.concat([b.weight for b in blocks])
        return measure(self.objective, z, y, w, self.backend)

    def evaluate(self, samples: Samples) -> dict[str, float]:
        """Return the loss and the metrics on other samples."""
        return evaluate(self.objective, self.params, samples, self.backend)


def fit(
    trainer: Trainer,
    samples: Samples,
    network: Any,
    epochs: int,
    batch_size: int | None,
    shuffle: bool,
    validation: Samples | None,
    callbacks: Sequence[Any],
    first_epoch: int = 0,
) -> History:
    """Train for a number of epochs.

    Ctrl-C ends the run with the parameters of the last whole epoch. A loss that is not finite ends
    it with a :class:`DivergenceError` and the last finite parameters.

    Args:
        trainer: holds the parameters.
        samples: to learn from.
        network: what callbacks are shown.
        epochs: how many.
        batch_size: rows of a step; None: all.
        shuffle: whether each epoch has an order of its own.
        validation: to evaluate after each epoch.
        callbacks: see :mod:`nnbackend.callbacks`.
        first_epoch: how many epochs the network has been trained for before.
    """
    rows = len(samples)
    size = min(batch_size or rows, rows)
    history = History()
    run = Run(network, epochs, math.ceil(rows / size), history)
    every_batch, each_block = _progress(run, callbacks)
    # Epochs of a single step need not be left one by one, unless someone looks at each.
    alone = size < rows or validation is not None or bool(trainer.objective.metrics)
    alone = alone or every_batch or any(callback.every_epoch for callback in callbacks)
    together = 1
    _notify(callbacks, "start", run)
    before = good = trainer.snapshot()  # the parameters one epoch and two epochs ago
    try:
        while len(history) < epochs and run.reason is None:
            run.epoch, run.step = len(history) + 1, 0
            _notify(callbacks, "epoch_start", run)
            started = time.perf_counter()
            if together > 1:
                losses = _many(trainer, samples, min(together, epochs - len(history)))
                if losses is None:  # one of the epochs diverged: find it one by one
                    alone, together = True, 1
                    continue
                columns = {"loss": losses}
            else:
                order = None
                if shuffle and size < rows:
                    order = random.permutation(trainer.seed, rows, "order", first_epoch + run.epoch)
                block_rows = size if every_batch else None
                figures = trainer.epoch(samples, size, order, each_block, block_rows)
                if not math.isfinite(figures["loss"]):
                    diverged(trainer, [good, before], run.epoch, history)
                if validation is not None:
                    held_out = trainer.evaluate(validation)
                    figures |= {f"validation_{name}": value for name, value in held_out.items()}
                columns = {name: [value] for name, value in figures.items()}
            before, good = good, trainer.snapshot()
            seconds, count = time.perf_counter() - started, len(columns["loss"])
            columns["learning_rate"] = trainer.rates(count)
            columns["seconds"] = [seconds / count] * count
            history.extend(columns)
            run.epoch = len(history)
            _notify(callbacks, "epoch_end", run)
            if not alone and seconds < _BRIEF:
                together = min(2 * together, _MOST_TOGETHER)
        if not trainer.finite():
            diverged(trainer, [good, before], len(history), history)
    except KeyboardInterrupt:
        trainer.restore(good)
        history.stopped = f"interrupted in epoch {run.epoch}; the {len(history)} before it are kept"
    finally:
        _notify(callbacks, "stop", run)
    history.stopped = history.stopped or run.reason
    return history


def _many(trainer: Trainer, samples: Samples, count: int) -> list[float] | None:
    """Do epochs of one step each; undo them all and return None if a loss is not finite."""
    saved = trainer.layout.copy(trainer.carry), trainer.steps, trainer.updates
    losses = trainer.repeat(samples, count)
    if np.isfinite(losses).all():
        return losses.tolist()  # type: ignore[no-any-return]
    trainer.carry, trainer.steps, trainer.updates = saved
    return None


def evaluate(
    objective: Objective, params: Params, samples: Samples, backend: Backend
) -> dict[str, float]:
    """Return the loss and the metrics over all samples."""
    forward = forward_pass(objective.layers, backend)
    z = forward_in_batches(forward, params, samples.x, backend)
    extra = () if samples.weight is None else (samples.weight,)
    value, _ = objective.loss(z, samples.y, *extra)
    return {"loss": float(value)} | measure(objective, z, samples.y, samples.weight, backend)


def measure(
    objective: Objective, z: Array, y: Array, weight: Array | None, backend: Backend
) -> dict[str, float]:
    """Return the metrics, given the outputs that the loss took."""
    if not objective.metrics:
        return {}
    prediction, _ = objective.output(z, Context(backend))
    extra = () if weight is None else (weight,)
    return {name: float(f(prediction, y, *extra)) for name, f in objective.metrics.items()}


def forward_in_batches(
    forward: Callable[[Params, Array], Array],
    params: Params,
    x: Array,
    backend: Backend,
    batch_size: int = _BATCH_ROWS,
) -> Array:
    """Return the outputs for all rows, computed a batch at a time to bound the memory."""
    rows = x.shape[0]
    if rows <= batch_size:
        return forward(params, x)
    parts = [
        forward(params, x[start : min(start + batch_size, rows), ...])
        for start in range(0, rows, batch_size)
    ]
    return backend.xp.concat(parts)


def _block_rows(samples: Samples, batch_size: int) -> int:
    """Return how many rows to gather at a time: whole batches, about 64 MiB."""
    row_bytes: int = 8 * math.prod(samples.x.shape[1:])
    return batch_size * max(1, _BLOCK_BYTES // (row_bytes * batch_size))


def _padded(block: Samples, rows: int, backend: Backend) -> Samples:
    """Return the block made up to ``rows`` with rows of weight 0."""
    missing = rows - len(block)
    if missing == 0:
        return block
    xp, where = backend.xp, {"dtype": backend.dtype, "device": backend.device}
    weight = xp.ones(len(block), **where) if block.weight is None else block.weight
    x, y = (
        xp.concat([a, xp.broadcast_to(a[:1, ...], (missing, *a.shape[1:]))])
        for a in (block.x, block.y)
    )
    return Samples(x, y, xp.concat([weight, xp.zeros(missing, **where)]))


def diverged(trainer: Trainer, snapshots: list[Any], epoch: int, history: History) -> None:
    """Restore the newest finite parameters and raise the error that says what happened."""
    for snapshot in snapshots:
        if trainer.layout.finite(snapshot):
            trainer.restore(snapshot)
            break
    rate = trainer.optimizer.rate(max(trainer.updates, 1))
    raise DivergenceError(
        f"the loss is no longer a finite number in epoch {epoch}; the network keeps its last finite "
        f"weights. Try a smaller learning rate (it was {rate:g}), scaled inputs and targets, "
        "or dtype='float64'",
        history,
    )


def _notify(callbacks: Sequence[Any], event: str, run: Run) -> None:
    for callback in callbacks:
        getattr(callback, event)(run)


def _progress(run: Run, callbacks: Sequence[Any]) -> tuple[bool, Callable[[int], None] | None]:
    """Return whether steps run one by one for a callback, and whom to tell of steps done."""
    listening = [c for c in callbacks if c.listens_to_batches]
    if not listening:
        return False, None

    def each_block(steps: int) -> None:
        run.step = steps
        _notify(listening, "batch_end", run)

    return any(c.every_batch for c in listening), each_block
