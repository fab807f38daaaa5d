"""Training by L-BFGS: SciPy drives, and the network is its function of a vector."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.program_cache import cached_program
from nnbackend.core import random
from nnbackend.core.history import History
from nnbackend.core.tree import flatten, tree_map, unflatten
from nnbackend.core.types import Array, Batch, Context, Layer, Params
from nnbackend.data.samples import Samples
from nnbackend.errors import ResumeError
from nnbackend.losses import Loss
from nnbackend.optimizers.lbfgs import LBFGS, scipy_minimize
from nnbackend.regularizers import Terms, penalized
from nnbackend.training.accumulation import gradients
from nnbackend.training.loop import Loop, raise_divergence
from nnbackend.training.objective import Objective
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.saving.checkpoint import Checkpoint

__all__ = ["FullBatchFunction", "FullBatchLoop"]

_LOSS_TOLERANCE = (
    1e-5  # the relative difference of the loss between two passes, on a GPU for instance
)


class FullBatchLoop(Loop):
    """The loop for :class:`~nnbackend.optimizers.LBFGS`: an epoch is an iteration of it.

    Raises:
        ValueError: a step does not take all rows, or the loss is not the same each time.
        ModuleNotFoundError: SciPy is not installed.
    """

    def __init__(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        super().__init__(trainer, *args, **kwargs)
        if self._stream is not None:
            raise ValueError("L-BFGS takes all rows in each step: X and y have to be arrays")
        if self._size < self._count:
            raise ValueError(
                f"L-BFGS takes all rows in each step: give batch_size=None (it is {self._size}, and "
                f"there are {self._count} rows)"
            )
        if trainer.state:
            raise ValueError(
                "L-BFGS compares losses of the same network, and layers with state (running means) "
                "change from pass to pass: take another optimizer"
            )
        if trainer.accumulate > 1:
            raise ValueError("L-BFGS computes the gradient of all rows in one: give accumulate=1")
        if trainer.objective.augmentation is not None:
            raise ValueError(
                "L-BFGS compares losses on the same data: augment is for other optimizers"
            )
        scipy_minimize()
        where = trainer.backend, trainer.params, trainer.seed
        self._function = FullBatchFunction(trainer.objective, *where, self._samples)
        self._function.check_same_each_time()

    def check(self, found: Checkpoint) -> None:
        """Check that a checkpoint is of this run, and that the run would go on as if uninterrupted."""
        super().check(found)
        if 0 < found.state["epoch"] < self.epochs:
            raise ResumeError(
                f"{found.path} is from the middle of an L-BFGS run, which cannot be resumed exactly: "
                "SciPy keeps the gradients that it remembers to itself. To go on from there with a "
                "new memory, load the network with nnb.load(checkpoint) and fit it"
            )

    def train(self, found: Checkpoint | None = None) -> History:
        """Minimize; again, with a new memory, when a callback has set other parameters.

        See :meth:`Loop.train`.
        """
        with self._running(found):
            while self.goes_on:
                try:
                    reason = self._minimized()
                except _Moved:
                    continue
                if self.goes_on:
                    self.stop(reason)
        return self.history

    def _minimized(self) -> str:
        """Minimize from the current parameters; return the reason of the end in words."""
        function, solver = self._function, self._trainer.optimizer
        assert isinstance(solver, LBFGS)
        started: float | None = None
        last: _Point | None = None  # iterate
        latest: _Point | None = None  # point that was tried

        def evaluated(x: Any) -> tuple[float, Any]:
            nonlocal started, last, latest
            if started is None:  # the first evaluation since the last iteration
                self._begin_epoch()
                started = time.perf_counter()
            point = function(x)
            if not point.finite():
                if last is None:
                    advice = "Try scaled inputs and targets, or dtype='float64'"
                    epoch = len(self.history) + 1
                    raise_divergence(self._trainer, self._good, epoch, self.history, advice)
                return _wall(x, last)
            latest = point
            last = last or point
            return point.loss, point.gradient

        def each(x: Any, loss: float) -> bool:
            nonlocal started, last
            last = latest
            begun, started = started or time.perf_counter(), None
            self._iterated(function.parameters(x), loss, begun)
            return self.goes_on

        start, done = function.vector(self._trainer.params), len(self.history)
        reason = solver.minimize(evaluated, start, self.epochs - done, each)
        if self.goes_on and len(self.history) == done == 0:
            each(start, function(start).loss)  # converged before it began: a history all the same
        return reason

    def _iterated(self, params: Params, loss: float, started: float) -> None:
        """Take over the parameters of an iteration; write its history and run the callbacks."""
        trainer = self._trainer
        trainer.params = params
        trainer.steps, trainer.updates, self.step = trainer.steps + 1, trainer.updates + 1, 1
        self.notify("batch_end")
        if self.at_once:
            return
        scores = {"loss": loss}
        if trainer.objective.metrics:
            scores = trainer.evaluate(self._samples) | scores
        if self._validation is not None:
            scores |= self._evaluate_validation()
        columns = {name: [value] for name, value in scores.items()}
        self._finish_epochs(columns, time.perf_counter() - started)
        if self._sets_params:
            raise _Moved


class _Moved(Exception):
    """A callback set other parameters."""


class _Point(NamedTuple):
    """A vector of parameters, with the loss and its gradient there."""

    x: Any
    loss: float
    gradient: Any

    def finite(self) -> bool:
        """Return whether there are a loss and a gradient."""
        return math.isfinite(self.loss) and bool(np.isfinite(self.gradient).all())


def _wall(x: Any, last: _Point) -> tuple[float, Any]:
    """Return loss and gradient for a point that has none, such that a line search turns back from it.

    The loss is as far above that of the last iterate as its slope promised to go below.
    """
    way = x - last.x
    height = abs(float(last.gradient @ way)) + 1e-3 * abs(last.loss)
    return last.loss + height, way * (height / float(way @ way))


class FullBatchFunction:
    """The loss of all rows and its gradient as a function of all parameters in one vector on the host.

    Parameters are in the order of ``names``, dotted; None: as in ``params``, which also say how they are
    nested.
    """

    def __init__(
        self,
        objective: Objective,
        backend: Backend,
        params: Params,
        seed: int,
        samples: Samples,
        names: Sequence[str] | None = None,
    ) -> None:
        self._backend, self._params, self._row_penalty = backend, params, objective.row_penalty
        self._key: Any = random.forward_key(seed)
        if backend.static_shapes:
            self._key = random.forward_key_array(seed)
        weight = samples.learned().weight
        self._rows = samples.x, samples.y, weight
        self._total = len(samples) if weight is None else float(backend.xp.sum(weight))
        self._program = _program(backend, objective.layers, objective.loss, objective.penalties)
        named = flatten(params)
        self._shapes = {name: tuple(named[name].shape) for name in names or named}

    def __call__(self, x: Any, number: int = 0) -> _Point:
        """Return loss and gradient at a vector."""
        params = self.parameters(x)
        value, grads = self._program(params, *self._rows, self._key, number)
        if self._row_penalty is not None:
            value, grads = self._row_penalty.add_to(value, grads, params, self._total)
        return _Point(x, float(value), self.vector(grads))

    def arrays(self, x: Any) -> Params:
        """Return views of a vector, nested as parameters are."""
        ends = np.cumsum([math.prod(shape) for shape in self._shapes.values()])
        parts = zip(self._shapes.items(), np.split(x, ends[:-1]), strict=True)
        named = {name: part.reshape(shape) for (name, shape), part in parts}
        return unflatten(named, self._params)

    def parameters(self, x: Any) -> Params:
        """Return a vector as named parameters on the backend, copies all of them."""
        return tree_map(self._backend.asarray, self.arrays(x.astype(self._backend.dtype_name)))

    def vector(self, tree: Params) -> Any:
        """Return named arrays as one vector on the host, in float64."""
        named = flatten(tree)  # by name: a compiler may return them in another order
        host = [self._backend.to_numpy(named[name]) for name in self._shapes]
        return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in host])

    def check_same_each_time(self) -> None:
        """Refuse a loss with chance in it: a line search would compare different functions."""
        start = self.vector(self._params)
        first, second = self(start, 0).loss, self(start, 1).loss
        both = math.isfinite(first) and math.isfinite(second)  # else the first iteration says so
        if both and not math.isclose(
            first, second, rel_tol=_LOSS_TOLERANCE, abs_tol=_LOSS_TOLERANCE * 1e-3
        ):
            raise ValueError(
                f"the loss of the same rows is {first:g} once and {second:g} the next time: L-BFGS "
                "needs a network without dropout or other noise"
            )


@cached_program
def _program(
    backend: Backend, layers: Layer, loss: Loss, penalties: Terms
) -> Callable[..., tuple[Array, Params]]:
    """Return the program of loss and gradients, compiled where it can be.

    It is ``program(params, x, y, weight, key, number) -> (loss, gradients)``.
    """

    def program(
        params: Params, x: Array, y: Array, weight: Array | None, key: Any, number: Any
    ) -> tuple[Array, Params]:
        ctx = Context(backend, True, key, number)
        value, grads = gradients(layers, loss, params, Batch(x, y, weight), ctx)
        return penalized(penalties, params, value, grads)

    return backend.compile(program)
