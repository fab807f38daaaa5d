"""The trainer: it runs the steps of an epoch on a network's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from itertools import accumulate as running_sums
from itertools import pairwise
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.layer_tree import has_layer
from nnbackend.core.outside import OutsideValues
from nnbackend.core.random import STEP_PERIOD
from nnbackend.core.registry import is_built_in
from nnbackend.core.tree import arrays_in, count_rows, flatten, leaves, map_arrays, unflatten
from nnbackend.core.types import STATELESS, Array, Batch, Carry, Context, Params, State, StepResult
from nnbackend.data.samples import Gather, Samples, row_copier, row_gatherer
from nnbackend.data.stream import BatchStream
from nnbackend.errors import DataError
from nnbackend.inference.evaluate import evaluate, measure
from nnbackend.inference.predictor import Predictor
from nnbackend.losses.base import weighs_rows
from nnbackend.optimizers import Constrained, Optimizer
from nnbackend.optimizers.prepared import Prepared
from nnbackend.training.accumulation import Microbatches
from nnbackend.training.communicator import Communicator, counts_of_processes, processes_of_batch
from nnbackend.training.epoch_log import EpochLog
from nnbackend.training.freezing import without_frozen_prefix
from nnbackend.training.layout import layout_for
from nnbackend.training.lazy_rows import check_lazy
from nnbackend.training.objective import Objective
from nnbackend.training.rounds import Rounds
from nnbackend.training.share_reading import without_padding
from nnbackend.training.shared_samples import shared, shared_blocks
from nnbackend.training.step import overwrite, run_data, scan_steps

__all__ = ["Trainer", "pad_rows"]


class Trainer:
    """Trains a network's parameters and state, a block of steps at a time.

    Args:
        params: the parameters to start from; they are copied, and so is the state of the layers.
        seed: the random seed of the layers.
        steps: how many steps the network has been trained for before.
        accumulate: the number of microbatches in which the gradient of a batch is computed.
        steps_per_epoch: for an optimizer that counts epochs; None: unknown.
        communicator: adds up over the processes that train the network together, each with all samples
            in the same order; None: there is one.

    Raises:
        ValueError: there is a communicator, and the loss, a layer or the optimizer does not go with it.

    Attributes:
        carry: parameters, the optimizer's arrays and the layers' state, from one step to the next.
        layout: how parameters and the optimizer's arrays are kept in it.
        updates: how many steps the optimizer has done, which its formulas count.
        rate_factor: a factor on the learning rate.
        log: what the steps of the epoch left behind so far.
        communicator: adds up over the processes; None: there is one.
        rounds: of steps that each process takes alone; None: all take the same steps.
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
        communicator: Communicator | None = None,
    ) -> None:
        self.objective, self.optimizer, self.seed = objective, optimizer, seed
        self.steps = steps  # of the network's life: new dropout masks for each microbatch of each
        self.rate_factor = 1.0
        self.accumulate = accumulate
        if objective.constraints:
            optimizer = optimizer.map_innermost(
                lambda inner: Constrained(inner, objective.constraints)
            )
        rule = optimizer.prepared(params, steps_per_epoch)  # first: it checks the names
        check_lazy(rule, objective, backend, accumulate, communicator)
        self._layers = without_frozen_prefix(objective.layers, optimizer, params)
        self.rule, self.backend, self.updates = rule, backend, 0
        self.layout = layout_for(backend, rule.for_program(backend))
        data = run_data(backend, seed, objective)
        self.carry = Carry(self.layout.init(params), self._copy_state(state), data)
        self.log = EpochLog(backend)
        self._resumes = False  # whether the log is that of a resumed epoch
        self._gather = self._gatherers()
        self._pads = weighs_rows(objective.loss)
        self._needs_several_rows = has_layer(self._layers, "needs_several_rows")
        self.communicator = communicator
        self._check_synchronized()
        self.rounds: Rounds | None = None
        if communicator is not None and communicator.local_steps is not None:
            self.rounds = Rounds(self, communicator.local_steps)
        self._program: tuple[Microbatches | None, Callable[..., Any]] | None = None
        terms = objective.penalties, objective.constraints
        own = objective.layers, objective.loss, terms, optimizer, objective.augmentation
        self._outside = OutsideValues(own)
        self._predictor: Predictor | None = None

    def _check_synchronized(self) -> None:
        """Refuse layers that wait for other processes where not all have as many passes."""
        together = self.communicator is not None and has_layer(self._layers, "synchronized")
        if together and self.accumulate > 1:
            raise ValueError(
                f"BatchNorm(synchronized=True) does not go with accumulate={self.accumulate} in several "
                "processes, whose parts of a batch are not the same: take one of the two"
            )

    def _gatherers(self) -> list[Gather]:
        """Return a function that gathers inputs, targets and weights, in the same memory for each block.

        Metrics look at targets again, and at outputs, which may be the inputs themselves if a user's
        layers make them.
        """
        again, copying = partial(row_gatherer, self.backend), row_copier(self.backend)
        if not self.objective.metrics:
            return [again() for _ in range(4)]
        return [again() if is_built_in(self._layers) else copying, copying, copying, copying]

    def blocks(
        self, samples: Samples, batch_size: int, order: Any = None, block_rows: int | None = None
    ) -> AbstractContextManager[Iterable[tuple[Samples, int]]]:
        """Return samples in blocks of whole batches for :meth:`epoch`, in a ``with`` statement.

        ``order`` has the rows to take, in their order (None: all in the order of the data). A block has
        ``block_rows`` (None: as many as fit a fixed amount of memory).
        """
        block_rows = block_rows or _block_rows(samples, batch_size, self.backend.block_bytes)
        return samples.blocks(batch_size, order, block_rows, self.backend, self._gather)

    def epoch(
        self,
        blocks: Iterable[tuple[Samples, int]],
        batch_size: int | None = None,
        each_block: Callable[[int], bool] | None = None,
    ) -> dict[str, float]:
        """Go once through samples that come in blocks; return the mean loss and the metrics.

        Args:
            blocks: blocks of samples, and the rows of a step in each.
            batch_size: rows of a whole batch, for its microbatches; None: those of a step in each block.
            each_block: called with the number of steps done after each block of steps; returns whether
                to go on. An epoch that is left has the loss and the metrics of its steps.
        """
        log = self.log if self._resumes else EpochLog(self.backend)
        self.log, self._resumes, skip = log, False, log.steps
        for part, size in blocks:
            block = part
            if skip:
                # Blocks start at the same rows whether or not the epoch was left in between.
                done = min(skip * size, len(part))
                skip -= math.ceil(done / size)
                if log.has_outputs:  # only metrics look at the rows again
                    log.append_targets(part.slice(0, done))
                if done == len(part):
                    continue
                block = part.slice(done, len(part))
            for rows, rows_of_step in self._batches(block, size):
                self.check_rows(rows, len(rows), rows_of_step)
                run = self._steps(batch_size or size)
                if self.rounds is not None:
                    self.rounds.begin()
                self.carry, *results = run(self.carry, *self._inputs(rows, rows_of_step))
                own = StepResult(*results)
                log.append(rows, rows_of_step, self._of_all(own, len(rows), rows_of_step))
                if self.rounds is not None:
                    self.rounds.finish(log.steps)
            if each_block is not None and not each_block(log.steps):
                break
            del part, block, rows  # they are not kept while the next ones are waited for
        if skip:
            done = log.steps - skip
            raise DataError(f"the epoch has {done} batches, and {log.steps} were done before")
        if self.rounds is not None:
            self.rounds.finish()
            self.rounds.average_optimizer()
        values = {"loss": log.mean()}  # here, and hardly before, the losses are waited for
        if self.objective.metrics:
            outputs, targets, weights = log.rows()
            if self.communicator is not None and self.communicator.reads_share:
                rows = self.communicator.gather_all((outputs, targets, weights))
                outputs, targets, weights = without_padding(rows, self.backend)
            values |= measure(self.objective, outputs, targets, weights, self.backend)
        self.log = EpochLog(self.backend)
        return values

    def _of_all(self, own: StepResult, count: int, size: int) -> StepResult:
        """Return what steps of ``size`` on ``count`` rows gave in all processes that take them alone."""
        return own if self.rounds is None else self.rounds.share(own, count, size)

    def _batches(self, block: Samples, size: int) -> Iterable[tuple[Samples, int]]:
        """Return a block with the rows of a step, in the parts in which its steps are run.

        A last, smaller batch is by itself if it is not padded: a user's loss may not look at weights,
        and would take the rows of padding for rows. A part ends where a round of local steps does.
        """
        if self.rounds is not None:
            return [(part, size) for part in self.rounds.cut(block, size, self.log.steps)]
        whole = len(block) // size * size
        if whole == len(block) or not self.backend.static_shapes or self._pads:
            return [(block, size)]
        rest = block.slice(whole, len(block))
        return [*([(block.slice(0, whole), size)] if whole else []), (rest, len(rest))]

    def check_rows(self, samples: Samples, count: int, size: int | None) -> None:
        """Refuse steps of one row where a layer needs several.

        Where the row is padded, the layer itself does not see that it is alone.

        Args:
            samples: the samples.
            count: how many rows are taken of them, in all steps.
            size: the rows of a step; None: all.

        Raises:
            ValueError: in the words of the layer.
        """
        self._check_padding(count, size or count)
        if self._needs_several_rows and 1 in self._pass_sizes(count, size or count):
            x = map_arrays(lambda a: self.backend.asarray(a), samples.slice(0, 1).x)
            ctx = Context(self.backend, True, state=self.state)
            ctx.share_batch(self.communicator, 1)
            self._layers.forward(self.params, x, ctx)

    def _check_padding(self, count: int, size: int) -> None:
        """Refuse steps in which a process has no rows, if the loss would count one of weight 0."""
        processes = processes_of_batch(self.communicator)
        fewest = min(min(size, count), count % size or size)
        if fewest < processes and not self._pads:
            raise ValueError(
                f"a batch of {fewest} rows cannot be divided among {processes} processes, since the "
                "loss is yours, and would count rows of weight 0: take another batch_size"
            )

    def _pass_sizes(self, count: int, size: int) -> set[int]:
        """Return how many rows forward passes get: of whole steps, of the last one, of their parts."""
        found = set()
        part = math.ceil(size / self.accumulate)
        processes = processes_of_batch(self.communicator)
        for rows in {min(size, count), count % size or size}:
            ends = [0, *running_sums(counts_of_processes(rows, processes))]
            for first, last in pairwise(ends):
                cuts = [first, *range((first // part + 1) * part, last, part), last]
                found |= {b - a for a, b in pairwise(cuts)}
        return found

    def resume_epoch(self, state: dict[str, Any]) -> None:
        """Let the next epoch begin after the steps of a log's state."""
        self.log.restore(state)
        self._resumes = True

    def repeat(self, samples: Samples, count: int) -> list[float] | None:
        """Do ``count`` steps with all samples each; return their losses. No metrics.

        If a loss is not finite, the steps are undone and None comes back.
        """
        storage, state = self.layout.copy(self.carry.storage), self._copy_state(self.carry.state)
        before, size = (self.steps, self.updates), len(samples)
        run = self._steps(size)
        self.carry, losses, *_ = run(self.carry, *self._inputs(samples, size, count))
        values: list[float] = self.backend.fetch(losses).tolist()
        if all(map(math.isfinite, values)) and self.finite():
            return values
        self.carry = self.carry._replace(storage=storage, state=state)
        self.steps, self.updates = before
        return None

    def _steps(self, batch_size: int) -> Callable[..., Any]:
        """Return the function that runs steps on batches of a size."""
        parts = None
        if self.accumulate > 1:
            parts = Microbatches(self.accumulate, math.ceil(batch_size / self.accumulate))
        if self._program is None or self._program[0] != parts or self._outside.changed():
            rule = self.rule.for_program(self.backend)
            what = self.objective, self._layers, rule, self.backend
            self._program = parts, scan_steps(*what, parts, self.communicator)
        return self._program[1]

    def _inputs(self, block: Samples, size: int, steps: int | None = None) -> tuple[Any, ...]:
        """Return what the next steps are given beside the carry, and count them.

        A step takes ``size`` rows; there are as many ``steps`` as the rows make, if no number is given.
        """
        steps = math.ceil(len(block) / size) if steps is None else steps
        weighted = block.learned()
        batch = Batch(weighted.x, weighted.y, weighted.weight)
        if self.backend.static_shapes:
            batch = pad_rows(batch, -(-len(block) // size) * size, self.backend)
        scalars = self._scaled_rule().number_rows(range(self.updates + 1, self.updates + 1 + steps))
        self.updates += steps
        # Each microbatch draws its own random numbers: a step counts as many as it may have.
        start = -(-(self.steps % STEP_PERIOD) // self.accumulate)
        self.steps = (start + steps) * self.accumulate
        return batch, size, scalars, range(start, start + steps)

    def rates(self, count: int) -> list[float]:
        """Return the learning rates of the last ``count`` steps."""
        rule = self._scaled_rule()
        return [rule.rate(u + 1) for u in range(self.updates - count, self.updates)]

    def _scaled_rule(self) -> Prepared:
        """Return the optimizer with its learning rate times ``rate_factor``, to ask for numbers.

        The rule itself takes the rate as data, so that a compiled step stays the same.
        """
        return self.rule if self.rate_factor == 1.0 else self.rule.scaled(self.rate_factor)

    def evaluate(
        self, samples: Samples | BatchStream, epoch: int = 1, before: int = 0
    ) -> dict[str, float]:
        """Return the loss and the metrics on other samples, or on an epoch's stream; see BatchStream."""
        # A compiled pass is kept for the next epoch: not every one is shared.
        if self._predictor is None or not self.backend.static_shapes:
            self._predictor = Predictor(self.objective.layers, self.backend)
        what = self.objective, self._predictor, self.result, self.state
        if isinstance(samples, Samples):
            return evaluate(*what, [shared(samples, self.communicator)])
        with samples.epoch(epoch, before=before) as blocks:
            return evaluate(*what, shared_blocks(blocks, self.communicator, self.backend))

    # What is in training: it is read and changed between steps.

    @property
    def params(self) -> Params:
        """The current named parameters."""
        return self.layout.params(self.carry.storage)

    @params.setter
    def params(self, params: Params) -> None:
        self._store(self.layout.with_params(self.carry.storage, params))

    @property
    def state(self) -> State:
        """The current state of the layers."""
        return self.carry.state

    @state.setter
    def state(self, state: State) -> None:
        if self.layout.in_place:
            overwrite(self.carry.state, state, self.backend.xp)
        else:
            self.carry = self.carry._replace(state=self._copy_state(state))

    @property
    def averages(self) -> bool:
        """Whether the optimizer keeps an average of the parameters."""
        return self.rule.averages

    @property
    def result(self) -> Params:
        """The named parameters to evaluate with and to keep: their average, if one is kept."""
        return self.layout.result(self.carry.storage)

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's arrays and count of steps, as ``Optimizer.init`` gives them."""
        own = {"step": self.updates, "slots": self.layout.slots(self.carry.storage)}
        return own if self.rounds is None else own | self.rounds.state()

    def misfit(self, state: Mapping[str, Any]) -> str:
        """Return entries of an ``optimizer_state`` that do not fit this optimizer in words, or ""."""
        trees = self.layout.slots(self.carry.storage), state["slots"]
        own, given = ({n: tuple(a.shape) for n, a in flatten(tree).items()} for tree in trees)
        wrong = sorted(n for n in own.keys() | given.keys() if own.get(n) != given.get(n))
        if wrong:
            return f"arrays do not fit: {', '.join(wrong[:5])}"
        if self.rounds is None:
            return "state is of a run with local_steps" if "velocity" in state else ""
        return self.rounds.misfit(state)

    def restore_optimizer(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``optimizer_state`` gave, here or in another process."""
        like = self.layout.slots(self.carry.storage)
        given = flatten(state["slots"])
        on_device = {
            name: self.backend.asarray(given[name], dtype=array.dtype)
            for name, array in flatten(like).items()
        }
        self._store(self.layout.with_slots(self.carry.storage, unflatten(on_device, like)))
        self.updates = state["step"]
        if self.rounds is not None:
            self.rounds.restore(state)

    def snapshot(self, old: Any = None) -> Any:
        """Return a copy of parameters and state for ``restore``, perhaps in the place of an old one."""
        storage = self.layout.snapshot(self.carry.storage, None if old is None else old[0])
        return storage, self._copy_state(self.carry.state)

    def restore(self, snapshot: Any) -> None:
        """Go back to the parameters and the state of a snapshot."""
        storage, self.state = snapshot
        self._store(self.layout.restored(self.carry.storage, storage))

    def finite(self) -> bool:
        """Return whether all parameters and the layers' state are finite."""
        return self.layout.finite(self.carry.storage) and all(
            self.backend.all_finite(array) for array in leaves(self.carry.state)
        )

    def _copy_state(self, state: State) -> State:
        return self.backend.copy_tree(state) if state else {}

    def _store(self, storage: Any) -> None:
        """Take other parameters and arrays of the optimizer into the carry."""
        if storage is not self.carry.storage:  # else a recording of the steps is still good
            self.carry = self.carry._replace(storage=storage)


def _block_rows(samples: Samples, batch_size: int, block_bytes: int) -> int:
    """Return the number of rows to gather at a time: whole batches, about the backend's block size."""
    row_bytes: int = 8 * sum(math.prod(array.shape[1:]) for array in arrays_in(samples.x))
    return batch_size * max(1, block_bytes // (row_bytes * batch_size))


def pad_rows(batch: Batch, rows: int, backend: Backend) -> Batch:
    """Return a batch made up to ``rows`` with copies of its first row that have weight 0."""
    missing = rows - count_rows(batch.x)
    return batch if missing == 0 else _padding(backend, missing)(batch)


@lru_cache(maxsize=64)
def _padding(backend: Backend, missing: int) -> Callable[[Batch], Batch]:
    """Return the program that adds so many rows."""
    xp, kind = backend.xp, {"dtype": backend.dtype, "device": backend.device}

    def pad(array: Array) -> Array:
        return xp.concat([array, xp.broadcast_to(array[:1, ...], (missing, *array.shape[1:]))])

    def pad_batch(batch: Batch) -> Batch:
        x, y, weight = batch
        weight = xp.ones(count_rows(x), **kind) if weight is None else weight
        return Batch(
            map_arrays(pad, x), map_arrays(pad, y), xp.concat([weight, xp.zeros(missing, **kind)])
        )

    return backend.compile(pad_batch)
