"""Local steps: processes that each take some steps alone, and then average what came of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend.core.layer_tree import has_layer
from nnbackend.core.tree import flatten, map_arrays, tree_map, unflatten
from nnbackend.core.types import Arrays, Params, StepResult
from nnbackend.data.samples import Samples
from nnbackend.optimizers import SGD
from nnbackend.parallel.local_steps import LocalSteps
from nnbackend.training.communicator import counts_of_processes
from nnbackend.training.gradient_sums import GradientSums

if TYPE_CHECKING:
    from nnbackend.training.trainer import Trainer

__all__ = ["Rounds"]


class Rounds:
    """The rounds of a trainer: some steps alone, and a meeting; see :class:`LocalSteps`.

    Rounds begin with an epoch and end with it, so that whoever looks at the network after it sees the
    same in all processes.

    Args:
        trainer: the trainer; it has a communicator.
        options: how many steps, and how the parameters follow their average change.

    Raises:
        ValueError: something does not go with local steps.
    """

    def __init__(self, trainer: Trainer, options: LocalSteps) -> None:
        self._trainer, self.options = trainer, options
        self._check()
        assert trainer.communicator is not None
        self._communicator, self._backend = trainer.communicator, trainer.backend
        momentum = options.momentum
        self._outer = SGD(options.learning_rate, momentum=momentum, nesterov=momentum > 0.0)
        self._outer_state = self._outer.init(trainer.params)
        self._sums = GradientSums(self._communicator, self._backend.xp)
        self._start: Params | None = None  # the parameters that the round began with
        self._weight = self._total = 0.0  # of the rows of this process, and of all

    def _check(self) -> None:
        """Refuse what would differ between the processes, or leave what it has to keep."""
        trainer = self._trainer
        wrong = {
            "an average of the parameters (EMA, SWA), which would be of one process": trainer.averages,
            "constraints, which the average step may leave": bool(trainer.objective.constraints),
            "precision='float16', whose scale would differ": trainer.backend.scales_loss,
            "BatchNorm(synchronized=True), which meets the others in each step": has_layer(
                trainer.objective.layers, "synchronized"
            ),
        }
        for what, found in wrong.items():
            if found:
                raise ValueError(f"local_steps does not go with {what}: leave one of the two out")

    def check_interval(self, steps: int | None) -> int:
        """Return after how many steps callbacks are called within epochs: at the ends of rounds.

        Raises:
            ValueError: they ask for steps within a round, where processes have parameters of their own.
        """
        every = self.options.steps
        if steps is not None and steps % every:
            raise ValueError(
                f"callbacks look at the network every {steps} steps, and with local_steps={every} all "
                f"processes have the same one every {every} steps only: let their batch_interval be a "
                "multiple of it"
            )
        return steps or every

    def cut(self, block: Samples, size: int, done: int) -> Iterator[Samples]:
        """Yield the rows of a block up to the end of each round; ``done`` steps came before it."""
        every, start = self.options.steps, 0
        while start < len(block):
            stop = min(start + (every - done % every) * size, len(block))
            yield block.slice(start, stop)
            done += math.ceil((stop - start) / size)
            start = stop

    def begin(self) -> None:
        """Remember the parameters, unless a round has begun."""
        if self._start is None:
            self._start = self._backend.copy_tree(self._trainer.params)
            self._weight = self._total = 0.0

    def share(self, results: StepResult, rows: int, size: int) -> StepResult:
        """Return losses, weights and outputs of all processes, from those of this one.

        Args:
            results: what the steps of this process gave.
            rows: how many rows all processes took together.
            size: the rows of a step.
        """
        losses, weights = map(self._backend.fetch, (results.loss, results.weight))
        (summed,) = self._communicator.sum(
            [self._backend.asarray(np.concatenate([losses * weights, weights]))]
        )
        loss, total = np.split(self._backend.fetch(summed), 2)
        self._weight += float(weights.sum())
        self._total += float(total.sum())
        output = results.output
        if output is not None and not self._communicator.reads_share:
            output = self._outputs_of_all(output, rows, size)
        return StepResult(loss / np.where(total > 0.0, total, 1.0), total, output)

    def _outputs_of_all(self, own: Arrays, rows: int, size: int) -> Arrays:
        """Return the outputs for all rows in their order."""
        processes = range(self._communicator.size)
        sizes = [min(size, rows - start) for start in range(0, rows, size)]
        ranks = np.concatenate(
            [np.repeat(processes, counts_of_processes(n, len(processes))) for n in sizes]
        )
        counts = np.bincount(ranks, minlength=len(processes)).tolist()
        gathered = self._communicator.gather_rows(own, counts)
        order = np.argsort(np.argsort(ranks, kind="stable"), kind="stable")
        index = self._backend.asarray(order, dtype=self._backend.xp.int32)
        return map_arrays(lambda array: self._backend.take_rows(array, index), gathered)

    def finish(self, done: int | None = None) -> None:
        """Meet the other processes, if a round has begun.

        Args:
            done: the steps of the epoch that are done; if a round does not end there, nothing happens.
                None (the default): the epoch ends.
        """
        if self._start is None or (done is not None and done % self.options.steps):
            return
        trainer, xp, start = self._trainer, self._backend.xp, self._start
        ends = flatten(trainer.params)
        change = {name: array - ends[name] for name, array in flatten(start).items()}
        self._sums.start(self._weight if self._total > 0.0 else 1.0)
        zero = xp.zeros((), dtype=self._backend.dtype, device=self._backend.device)
        _, _, mean, state = self._sums.finish(zero, unflatten(change, start), trainer.state)
        params, self._outer_state = self._outer.update(start, mean, self._outer_state)
        trainer.params, trainer.state, self._start = params, state, None

    def average_optimizer(self) -> None:
        """Average the optimizer's arrays: all processes go on alike, and a checkpoint has all."""
        trainer, size = self._trainer, self._communicator.size
        state = trainer.optimizer_state()
        slots = flatten(state["slots"])
        if not slots:
            return
        sums = self._communicator.sum(list(slots.values()))
        means = {name: total / size for name, total in zip(slots, sums, strict=True)}
        trainer.restore_optimizer(state | {"slots": unflatten(means, state["slots"])})

    def state(self) -> dict[str, Any]:
        """Return the velocity for a checkpoint."""
        return {"velocity": self._outer_state["slots"]}

    def misfit(self, state: Mapping[str, Any]) -> str:
        """Return why a state that :meth:`state` gave is not this one's, in words; else ""."""
        own, given = map(_shapes, (self._outer_state["slots"], state.get("velocity", {})))
        return "" if own == given else "arrays of local_steps do not fit"

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._outer_state["slots"] = tree_map(self._backend.asarray, state["velocity"])


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in flatten(tree).items()}
