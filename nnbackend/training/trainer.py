"""Training: one step, and many of them.

The step is a pure function of what it carries (parameters, optimizer state) and a batch; a backend may
run it in a loop or compile many steps into one program. Nothing is read back from the device inside an
epoch: the losses of its steps are read once, at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from nnbackend import regularizers
from nnbackend.backends.base import Backend, Forward
from nnbackend.backends.program_cache import cached_program
from nnbackend.core import random
from nnbackend.core.registry import is_built_in
from nnbackend.core.tree import (
    arrays_in,
    at,
    flatten,
    leaves,
    map_arrays,
    paths,
    slice_rows,
    tree_map,
    unflatten,
)
from nnbackend.core.types import (
    STATELESS,
    Array,
    Arrays,
    Batch,
    Carry,
    Context,
    Layer,
    Namespace,
    Params,
    RunData,
    State,
    Step,
    StepResult,
)
from nnbackend.data.samples import Gather, Samples, row_copier, row_gatherer
from nnbackend.errors import DataError
from nnbackend.inference.evaluate import evaluate, evaluate_parts, joined_rows, measure
from nnbackend.inference.predictor import forward_pass
from nnbackend.layers.mixed_precision import computed
from nnbackend.losses import Loss
from nnbackend.optimizers import LBFGS, Constrained, Optimizer
from nnbackend.optimizers.base import is_own
from nnbackend.optimizers.prepared import Prepared
from nnbackend.training.accumulation import Parts, accumulate_gradients, gradients
from nnbackend.training.freezing import without_frozen_prefix
from nnbackend.training.layout import layout_for
from nnbackend.training.objective import Objective

__all__ = [
    "PartialEpoch",
    "Trainer",
    "training_step",
]

_UNREAD = 256  # blocks of steps whose losses are on the device only


@dataclass(frozen=True)
class PartialEpoch:
    """What came of the first steps of an epoch that goes on later.

    Attributes:
        steps: how many.
        losses: of each, on the host in float64.
        masses: what each counts in the mean loss.
        outputs: of their rows, if metrics are watched.
    """

    steps: int
    losses: np.ndarray[Any, Any]
    masses: np.ndarray[Any, Any]
    outputs: Any = None


@dataclass
class _Block:
    """Rows that were learned from, and what came of it; targets only if metrics are watched."""

    rows: int
    size: int
    losses: Any
    masses: Any
    outputs: Array | None = None
    y: Array | None = None
    weight: Array | None = None


def _training_step(
    layers: Layer,
    loss: Loss,
    penalties: regularizers.Terms,
    optimizer: Prepared,
    watched: bool,
    parts: Parts | None,
    row_penalty: regularizers.PerRowL2 | None,
    count_rows: bool,
) -> Callable[[Backend], Step]:
    """Return the function that makes the training step: forward, loss, backward, update."""

    def step_on(backend: Backend) -> Step:
        layout = layout_for(backend, optimizer)
        network: Any = computed(layers, backend)
        ctx = Context(backend, True)  # one for all steps of a loop

        def step(carry: Carry, batch: Batch, scalars: Any, number: Any) -> tuple[Carry, StepResult]:
            storage, state, data = carry
            weight = batch.weight
            ctx.start_pass(number, state, weight, key=data.key)
            params, scale = layout.params(storage), layout.scale(storage)
            net = network if scale is None else network.scaled(scale)
            if parts is None:
                value, output, grads, new_state = gradients(net, loss, params, batch, ctx)
            else:
                value, output, grads, new_state = accumulate_gradients(
                    parts, watched, net, loss, params, batch, ctx
                )
            if penalties:
                value, grads = regularizers.penalized(penalties, params, value, grads)
            total = None if weight is None else backend.xp.sum(weight)
            if row_penalty is not None:
                counts = len(Samples(batch.x, batch.y)) if weight is None else total
                value, grads = row_penalty.add_to(value, grads, params, counts, data.strength)
            storage = layout.update(storage, grads, scalars)
            if not layout.in_place:
                carry = Carry(storage, new_state, data)
            elif state:
                _overwrite(state, new_state, backend.xp)
            return carry, StepResult(
                value, None if count_rows else total, output if watched else None
            )

        return step

    return step_on


def _overwrite(state: State, new: State, xp: Namespace) -> None:
    """Put a new state where the old one is, so that a recording of the step finds it there."""
    places = [path for path in paths(state) if at(new, path) is not at(state, path)]
    # Copied first: a layer may have moved an array to another name.
    values = [xp.asarray(at(new, path), copy=True) for path in places]
    for path, value in zip(places, values, strict=True):
        at(state, path)[...] = value


@cached_program
def _compiled_training_step(backend: Backend, *description: Any) -> Callable[..., Any]:
    return backend.scan(_training_step(*description))


def training_step(
    objective: Objective,
    optimizer: Prepared,
    backend: Backend,
    parts: Parts | None = None,
) -> Callable[..., Any]:
    """Return the program of a training step, as ``Backend.scan`` describes it.

    Args:
        objective: what to minimize.
        optimizer: how, from ``Prepared.for_program``, so that programs are shared by those that differ
            in numbers alone.
        backend: where.
        parts: in which the gradient of a batch is computed; None: in one.
    """
    layers, loss, penalties = objective.layers, objective.loss, objective.penalties
    row_penalty = objective.row_penalty
    if row_penalty is not None:  # its strength is data of the run, so that programs are shared
        row_penalty = replace(row_penalty, strength=0.0)
    watched, counting = bool(objective.metrics), (row_penalty, objective.count_rows)
    description = layers, loss, penalties, optimizer, watched, parts, *counting
    if backend.static_shapes:
        return _compiled_training_step(backend, *description)
    # What users wrote may do more than compute: print, count. Only what is known to compute is recorded.
    pure = is_own(optimizer) and is_built_in(layers) and is_built_in(loss)
    layout = layout_for(backend, optimizer)
    if not (pure and layout.in_place):
        return backend.scan(_training_step(*description))

    def see(carry: Carry, function: Callable[[Array], Array]) -> Carry:
        storage, state, data = carry
        return Carry(layout.map_arrays(function, storage), tree_map(function, state), data)

    return backend.scan(_training_step(*description), see)


class Trainer:
    """A network's parameters in training, with the optimizer's state and the count of its steps.

    Args:
        objective: what to minimize.
        optimizer: how.
        backend: where.
        params: the parameters to start from; they are copied.
        seed: fixes the order of batches and all that is random in the layers.
        steps: how many steps the network has been trained for before.
        accumulate: in how many parts to compute the gradient of a batch.
        steps_per_epoch: for what the optimizer counts in epochs.
        state: the state of the layers to start from; it is copied.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        backend: Backend,
        params: Params,
        seed: int,
        steps: int = 0,
        accumulate: int = 1,
        steps_per_epoch: int | None = None,
        *,
        state: State = STATELESS,
    ) -> None:
        if backend.mixed and isinstance(optimizer, LBFGS):
            raise ValueError(
                "L-BFGS compares losses that differ by less than 16 bits can show: give "
                f"precision='float32' or 'float64' (it is {backend.precision!r})"
            )
        self.objective = objective
        self.optimizer = optimizer
        self.backend = backend
        self.seed = seed
        self.steps = steps  # of the network's life: a new dropout mask for each part of each
        self.updates = 0  # of this optimizer's life: what its formulas count
        self.rate_factor = 1.0
        self.accumulate = accumulate
        if objective.constraints:
            optimizer = optimizer.map_innermost(
                lambda inner: Constrained(inner, objective.constraints)
            )
        self._rule = optimizer.prepared(params, steps_per_epoch)
        layers = without_frozen_prefix(objective.layers, optimizer, params)
        self._objective = replace(objective, layers=layers)
        self._in_program = self._rule.for_program(backend)
        self.layout = layout_for(backend, self._in_program)
        strength = 0.0 if objective.row_penalty is None else objective.row_penalty.strength
        data = run_data(backend, seed, strength)
        self.carry = Carry(self.layout.init(params), self._copied(state), data)
        self._gather = self._gatherers()
        self._blocks: list[_Block] = []  # of this epoch so far
        self._begun: PartialEpoch | None = None  # of the epoch to come, what was done before
        self._program: tuple[Parts | None, Callable[..., Any]] | None = None
        self._forward: Forward | None = None

    def _gatherers(self) -> list[Gather]:
        """Return what gathers inputs, targets and weights: in the same memory for each block.

        Metrics look at targets again, and at outputs, which may be the inputs themselves if a user's
        layers make them.
        """
        again, own = partial(row_gatherer, self.backend), row_copier(self.backend)
        if not self.objective.metrics:
            return [again() for _ in range(4)]
        return [again() if is_built_in(self.objective.layers) else own, own, own, own]

    def _run(self, size: int) -> Callable[..., Any]:
        """Return the program for batches of a size."""
        parts = None if self.accumulate == 1 else Parts.of(self.accumulate, size)
        if self._program is None or self._program[0] != parts:
            step = training_step(self._objective, self._in_program, self.backend, parts)
            self._program = parts, step
        return self._program[1]

    @property
    def params(self) -> Params:
        """The named parameters as they are now."""
        return self.layout.params(self.carry.storage)

    @params.setter
    def params(self, params: Params) -> None:
        self._store(self.layout.with_params(self.carry.storage, params))

    @property
    def state(self) -> State:
        """The state of the layers as it is now."""
        return self.carry.state

    @state.setter
    def state(self, state: State) -> None:
        if not self.layout.in_place:
            self.carry = self.carry._replace(state=self._copied(state))
        else:
            _overwrite(self.carry.state, state, self.backend.xp)

    @property
    def averages(self) -> bool:
        """Whether the optimizer keeps an average of the parameters."""
        return self._rule.averages

    @property
    def result(self) -> Params:
        """The named parameters to evaluate with and to keep: their average, if one is kept."""
        return self.layout.result(self.carry.storage)

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's arrays and count of steps, as ``Optimizer.init`` gives them."""
        return {"step": self.updates, "slots": self.layout.slots(self.carry.storage)}

    def misfit(self, state: Mapping[str, Any]) -> str:
        """Return in words what in an ``optimizer_state`` is not this optimizer's; "" if all is."""
        trees = self.layout.slots(self.carry.storage), state["slots"]
        own, given = ({n: tuple(a.shape) for n, a in flatten(tree).items()} for tree in trees)
        wrong = sorted(n for n in own.keys() | given.keys() if own.get(n) != given.get(n))
        return f"arrays do not fit: {', '.join(wrong[:5])}" if wrong else ""

    def restore_optimizer(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``optimizer_state`` gave, here or in another process."""
        like = self.layout.slots(self.carry.storage)
        own, given = flatten(like), flatten(state["slots"])
        on_device = {
            name: self.backend.asarray(given[name], dtype=array.dtype)
            for name, array in own.items()
        }
        self._store(self.layout.with_slots(self.carry.storage, unflatten(on_device, like)))
        self.updates = state["step"]

    def snapshot(self, old: Any = None) -> Any:
        """Return a copy of parameters and state for ``restore``, perhaps in the place of an old one."""
        storage = self.layout.snapshot(self.carry.storage, None if old is None else old[0])
        return storage, self._copied(self.carry.state)

    def restore(self, snapshot: Any) -> None:
        """Go back to the parameters and the state of a snapshot."""
        storage, self.state = snapshot
        self._store(self.layout.restored(self.carry.storage, storage))

    def finite(self) -> bool:
        """Return whether all parameters and the layers' state are finite."""
        return self.layout.finite(self.carry.storage) and all(
            self.backend.all_finite(array) for array in leaves(self.carry.state)
        )

    def _copied(self, state: State) -> State:
        """Return a copy of the layers' state."""
        return self.backend.copy_tree(state) if state else {}

    def _store(self, storage: Any) -> None:
        """Take other parameters and arrays of the optimizer into the carry."""
        if storage is not self.carry.storage:  # else a recording of the steps is still good
            self.carry = self.carry._replace(storage=storage)

    def epoch(
        self,
        samples: Samples,
        batch_size: int,
        order: Any = None,
        each_block: Callable[[int], bool] | None = None,
        block_rows: int | None = None,
    ) -> dict[str, float]:
        """Go through the samples once; return the mean loss and the metrics.

        Args:
            samples: what to learn from.
            batch_size: rows of a step.
            order: the rows to take, in their order; None: all as they are.
            each_block: is told the number of steps done, after each block of steps; says whether
                to go on. An epoch that is left has the figures of its steps.
            block_rows: rows of a block; None: as many as fit a fixed amount of memory.
        """
        block_rows = block_rows or _block_rows(samples, batch_size, self.backend.block_bytes)
        with samples.blocks(batch_size, order, block_rows, self.backend, self._gather) as parts:
            return self.learn(parts, each_block, batch_size)

    def learn(
        self,
        parts: Iterable[tuple[Samples, int]],
        each_block: Callable[[int], bool] | None = None,
        batch_size: int | None = None,
    ) -> dict[str, float]:
        """Go once through samples that come in blocks; return the mean loss and the metrics.

        Args:
            parts: blocks of samples, and the rows of a step in each.
            each_block: see :meth:`epoch`.
            batch_size: rows of a whole batch, for its parts; None: those of a step in each block.
        """
        begun, self._begun = self._begun, None
        self._blocks = blocks = list[_Block]()
        done, heads = 0, list[Samples]()
        for part, size in parts:
            rest = part
            if begun is not None and done < begun.steps:
                # Blocks start at the same rows whether or not the epoch was left in between.
                rows = min((begun.steps - done) * size, len(part))
                done += math.ceil(rows / size)
                if begun.outputs is not None:  # only metrics look at the rows again
                    heads.append(part.slice(0, rows))
                if done == begun.steps:
                    blocks.append(self._block_begun(begun, size, heads))
                if rows == len(part):
                    continue
                rest = part.slice(rows, len(part))
            steps = math.ceil(len(rest) / size)
            program = self._run(batch_size or size)
            blocks.append(self._block(program, rest, size, steps))
            done += steps
            if len(blocks) % _UNREAD == 0:
                self._settle(blocks[-_UNREAD:])
            if each_block is not None and not each_block(done):
                break
            del part, rest  # they are not kept while the next ones are waited for
        if begun is not None and done < begun.steps:
            raise DataError(f"the epoch has {done} batches, and {begun.steps} were done before")
        # Here, and hardly before, the losses are waited for.
        self._settle(blocks)
        losses = np.concatenate([block.losses for block in blocks])
        masses = np.concatenate([block.masses for block in blocks])
        self._blocks = []
        # The mean of one loss is that loss, which the formula may miss by a rounding.
        mean = losses @ masses / masses.sum() if len(losses) > 1 else losses[0]
        return {"loss": float(mean)} | self._watched(blocks)

    def begun(self) -> PartialEpoch | None:
        """Return what came of the steps of this epoch so far; None between epochs."""
        blocks = self._blocks
        if not blocks:
            return self._begun
        losses = np.concatenate([self._losses(block) for block in blocks])
        masses = np.concatenate([self._masses(block) for block in blocks])
        rows, joined = sum(block.rows for block in blocks), self._outputs(blocks)
        # Kept as one block: what has been read once is not read again.
        blocks[:] = [_Block(rows, blocks[0].size, losses, masses, *joined)]
        return PartialEpoch(len(losses), losses, masses, joined[0])

    def resume_epoch(self, begun: PartialEpoch) -> None:
        """Let the next epoch begin after steps that were done before."""
        self._begun = begun

    def latest_losses(self) -> list[float]:
        """Return the losses of the last block of steps of this epoch, waiting for them."""
        latest: list[float] = self._losses(self._blocks[-1]).tolist() if self._blocks else []
        return latest

    def _block_begun(self, begun: PartialEpoch, size: int, heads: list[Samples]) -> _Block:
        """Return the block of the steps that were done before, on rows that were passed over."""
        block = _Block(0, size, begun.losses, begun.masses)
        if heads:
            block.rows = sum(map(len, heads))
            block.outputs = self.backend.asarray(begun.outputs)
            block.y = joined_rows([part.y for part in heads], self.backend)
            block.weight = joined_rows([part.weight for part in heads], self.backend)
        return block

    def _settle(self, blocks: list[_Block]) -> None:
        """Read the losses of blocks to the host."""
        for block in blocks:
            block.losses, block.masses = self._losses(block), self._masses(block)

    def repeat(self, samples: Samples, count: int) -> list[float] | None:
        """Do ``count`` steps with all samples each; return their losses. No metrics.

        If a loss is not finite, the steps are undone and None comes back.
        """
        storage, state = self.layout.copy(self.carry.storage), self._copied(self.carry.state)
        before = self.steps, self.updates
        size = len(samples)
        block = self._block(self._run(size), samples, size, count)
        losses: list[float] = self.backend.fetch(block.losses).tolist()
        if all(map(math.isfinite, losses)) and self.finite():
            return losses
        self.carry = self.carry._replace(storage=storage, state=state)
        self.steps, self.updates = before
        return None

    def rates(self, count: int) -> list[float]:
        """Return the learning rates of the last ``count`` steps."""
        scheduled = self._scheduled()
        if not callable(scheduled.learning_rate):
            return [scheduled.learning_rate] * count
        return [scheduled.rate(u + 1) for u in range(self.updates - count, self.updates)]

    def _scheduled(self) -> Prepared:
        """Return the optimizer with its learning rate times ``rate_factor``, to ask for numbers.

        The rule itself takes the rate as data, so that a compiled step stays the same.
        """
        if self.rate_factor == 1.0:
            return self._rule
        return self._rule.scaled(self.rate_factor)

    def _block(
        self, program: Callable[..., Any], samples: Samples, size: int, steps: int
    ) -> _Block:
        """Run the steps of a block of rows."""
        rows = len(samples)
        padded = samples.learned()
        if self.backend.static_shapes:
            padded = _padded(padded, -(-rows // size) * size, self.backend)
        scheduled = self._scheduled()
        scalars = scheduled.number_rows(range(self.updates + 1, self.updates + 1 + steps))
        if not self.backend.static_shapes and isinstance(scalars, np.ndarray):
            scalars = list(map(tuple, scalars.tolist()))  # a loop takes one row after the other
        self.updates += steps
        # Each part draws random numbers of its own: a step counts as many as it may have.
        start = -(-self.steps // self.accumulate)
        numbers = range(start, start + steps)
        self.steps = (start + steps) * self.accumulate
        self.carry, losses, masses, outputs = program(
            self.carry, Batch(padded.x, padded.y, padded.weight), size, scalars, numbers
        )
        if outputs is None:
            return _Block(rows, size, losses, masses)
        outputs = slice_rows(outputs, 0, rows)
        return _Block(rows, size, losses, masses, outputs, samples.y, samples.weight)

    def _losses(self, block: _Block) -> np.ndarray[Any, Any]:
        """Return the loss of each step on the host, waiting for it unless it has been read."""
        read = isinstance(block.losses, np.ndarray) and block.losses.dtype == np.float64
        return block.losses if read else self.backend.fetch(block.losses)

    def _masses(self, block: _Block) -> np.ndarray[Any, Any]:
        """Return what each step counts in the mean loss: its weights, or its number of rows."""
        if isinstance(block.masses, np.ndarray) and block.masses.dtype == np.float64:
            return block.masses
        if block.masses is not None:
            return self.backend.fetch(block.masses)
        steps = math.ceil(block.rows / block.size)
        masses = np.full(steps, block.size, dtype=np.float64)
        masses[steps - 1 :] = block.rows - (steps - 1) * block.size  # the last one may be smaller
        return masses

    def _watched(self, blocks: list[_Block]) -> dict[str, float]:
        """Return the metrics over the outputs of an epoch."""
        if not self.objective.metrics:
            return {}
        return measure(self.objective, *self._outputs(blocks), self.backend)

    def _outputs(self, blocks: list[_Block]) -> tuple[Any, Any, Any]:
        """Return outputs, targets and weights of all rows, if anyone looks at them."""
        if not self.objective.metrics:
            return None, None, None
        return (
            joined_rows([block.outputs for block in blocks], self.backend),
            joined_rows([block.y for block in blocks], self.backend),
            joined_rows([block.weight for block in blocks], self.backend),
        )

    def evaluate(self, samples: Samples | Iterable[tuple[Samples, int]]) -> dict[str, float]:
        """Return the loss and the metrics on other samples, whole or in blocks."""
        # A compiled pass is kept for the next epoch: not every one is shared.
        if self._forward is None or not self.backend.static_shapes:
            self._forward = forward_pass(self.objective.layers, self.backend)
        what, forward = (self.objective, self.result), self._forward.with_state(self.state)
        if isinstance(samples, Samples):
            return evaluate(*what, samples, self.backend, forward)
        return evaluate_parts(*what, samples, self.backend, forward)


def run_data(backend: Backend, seed: int, strength: float) -> RunData:
    """Return the data of a run: arrays where steps are compiled, else plain numbers."""
    if not backend.static_shapes:
        return RunData(random.forward_key(seed), strength)
    key = backend.asarray(random.forward_key_array(seed), dtype=backend.xp.int32)
    return RunData(key, backend.asarray(strength))


def _block_rows(samples: Samples, batch_size: int, block_bytes: int) -> int:
    """Return how many rows to gather at a time: whole batches, about as large as the backend likes."""
    row_bytes: int = 8 * sum(math.prod(array.shape[1:]) for array in arrays_in(samples.x))
    return batch_size * max(1, block_bytes // (row_bytes * batch_size))


def _padded(block: Samples, rows: int, backend: Backend) -> Samples:
    """Return the block made up to ``rows`` with rows of weight 0."""
    missing = rows - len(block)
    if missing == 0:
        return block
    return Samples(*_padding(backend, missing)(block.x, block.y, block.weight))


@lru_cache(maxsize=64)
def _padding(backend: Backend, missing: int) -> Callable[..., tuple[Arrays, Arrays, Array]]:
    """Return the program that adds so many rows of weight 0."""
    xp, where = backend.xp, {"dtype": backend.dtype, "device": backend.device}

    def padded(x: Arrays, y: Arrays, weight: Array | None) -> tuple[Arrays, Arrays, Array]:
        weight = xp.ones(len(Samples(x, y)), **where) if weight is None else weight
        x, y = map_arrays(
            lambda a: xp.concat([a, xp.broadcast_to(a[:1, ...], (missing, *a.shape[1:]))]), (x, y)
        )
        return x, y, xp.concat([weight, xp.zeros(missing, **where)])

    return backend.compile(padded)
