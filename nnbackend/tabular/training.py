"""Train networks for a table that is numbers already."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.callbacks import Callback, EarlyStopping, TimeBudget
from nnbackend.callbacks.run import Run
from nnbackend.core.history import History
from nnbackend.core.random import permutation
from nnbackend.core.tree import map_arrays
from nnbackend.network import Network
from nnbackend.parallel import MPI
from nnbackend.tabular.columns import Columns
from nnbackend.tabular.prediction import calibrate, ending_of, join_networks, with_ending
from nnbackend.tabular.recipe import Recipe

__all__ = ["Part", "Trained", "fit_folds", "fit_network", "raise_interruption", "shorten"]

Clock = Callable[[], float]
Task = Callable[..., "Trained"]

_TRIAL_EPOCHS = 3  # of which the last is timed: the first compile and warm up
_TRIAL_STEPS = 8  # of each of them
_TRIAL_SHARE = 0.25  # of the time, at most


@dataclass(frozen=True)
class Part:
    """Rows of a table as arrays.

    Attributes:
        x: the inputs: an array of shape (rows, columns), or a dictionary of those.
        y: the targets: class numbers of shape (rows,), or numbers of shape (rows, outputs).
        weight: how much each row counts, of shape (rows,); None: all count 1.
    """

    x: Any
    y: NDArray[Any]
    weight: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: NDArray[Any]) -> Part:
        """Return some of the rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Part(map_arrays(lambda a: a[rows], self.x), self.y[rows], weight)

    def for_outputs(self, count: int) -> Part:
        """Return the rows with their one number as the target of each output."""
        return replace(self, y=np.repeat(self.y, count, axis=1))


@dataclass
class Trained:
    """What came of a training.

    Attributes:
        network: predicts numbers within the range of training, or calibrated probabilities.
        histories: of each network that was trained.
        temperatures: of each network for classes, what its logits were divided by.
        best_epochs: of each network the epoch whose weights it has.
        planned_epochs: of each network how many its schedules were made for.
    """

    network: Network
    histories: list[History]
    temperatures: list[float] = field(default_factory=list)
    best_epochs: list[int] = field(default_factory=list)
    planned_epochs: list[int] = field(default_factory=list)


def fit_network(
    rows: Part,
    validation: Part | None,
    columns: Columns,
    *,
    outputs: int,
    recipe: Recipe,
    task: str,
    backend: Any = "numpy",
    seed: int = 0,
    callbacks: Iterable[Callback] = (),
    metadata: Mapping[str, Any] | None = None,
    max_time: float | None = None,
    clock: Clock = time.monotonic,
    **more: Any,
) -> Trained:
    """Train a network by a recipe, and make it ready to predict.

    The epoch with the least loss on the validation rows, the last of several, gives the weights; for
    classes these rows calibrate the probabilities, too. Without validation rows the last epoch does.

    Args:
        rows: the training rows.
        validation: rows that do not train; None: there are none.
        columns: what the network takes.
        outputs: the number of classes, or of numbers; of a recipe with quantiles as many as there are.
        recipe: the network and its training.
        task: ``"classification"`` or ``"regression"``.
        backend: a name or a backend; default ``"numpy"``.
        seed: of weights, order and dropout; default 0.
        callbacks: of the training, see :meth:`nnbackend.Network.fit`; default: none.
        metadata: of the network, which is in its checkpoints; default: none.
        max_time: the seconds that the training may take: the recipe is shortened to the epochs for which
            a trial says there is time, so that its schedules end as they should, and the run ends when
            the time is up all the same. None (the default): it has all the time.
        clock: gives the seconds since some moment; default ``time.monotonic``.
        more: further arguments of :meth:`nnbackend.Network.fit`.
    """
    callbacks = list(callbacks)
    if recipe.quantiles is not None and rows.y.shape[-1] == 1:
        rows = rows.for_outputs(outputs)
        validation = validation and validation.for_outputs(outputs)
    if max_time is not None:
        end = clock() + max_time
        settings = {"outputs": outputs, "task": task, "backend": backend, "clock": clock}
        settings["parallel"] = more.get("parallel")
        recipe = shorten(recipe, max_time, rows, validation, columns, **settings)
        callbacks.append(TimeBudget(max(end - clock(), 0.0)))
    steps = recipe.epochs * -(-len(rows) // recipe.batch_size)
    layers = recipe.build_layers(columns, outputs, task, steps)
    network = Network(layers, backend=backend, seed=seed, input_shape=columns.shape)
    network.metadata |= metadata or {}
    if recipe.model == "realmlp" and len(rows) > 1:
        first = permutation(seed, len(rows), "first batch")[: recipe.batch_size]
        network.initialize_from(rows.take(first).x)
    classifies = task == "classification"
    # The choice of the best epoch looks at the history before other callbacks end the run.
    chosen = [] if validation is None else [_keep_best(recipe)]
    history = network.fit(
        rows.x,
        rows.y,
        loss=recipe.build_loss(task),
        optimizer=recipe.build_optimizer(layers, task, steps),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation_data=None if validation is None else _as_tuple(validation),
        sample_weight=rows.weight,
        metrics=["accuracy"] if classifies else [],
        callbacks=[*chosen, *callbacks],
        **more,
    )
    temperatures = []
    if classifies and validation is not None:
        temperatures = [calibrate(network, validation.x, validation.y, validation.weight)]
    bounds = None if classifies else (float(rows.y.min()), float(rows.y.max()))
    ready = with_ending(network, ending_of(recipe.member_count, bounds))
    best_epoch = chosen[0].best_epoch if chosen else len(history)
    return Trained(ready, [history], temperatures, [best_epoch], [recipe.epochs])


def fit_folds(
    rows: Part,
    parts: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    columns: Columns,
    *,
    seed: int = 0,
    max_time: float | None = None,
    clock: Clock = time.monotonic,
    n_jobs: int | None = None,
    **settings: Any,
) -> tuple[Trained, NDArray[Any], NDArray[Any]]:
    """Train a network for each division of the rows; together they predict.

    A network that is interrupted is the last one. One without a whole epoch does not predict.

    Args:
        rows: all rows.
        parts: for each network the numbers of the rows that train it, and of those held out of it.
        columns: what the networks take.
        seed: of the first network; each further one has the next number.
        max_time: the seconds that all of them may take together; default None.
        clock: see :func:`fit_network`.
        n_jobs: how many networks are trained at the same time, in processes of joblib: the same
            networks, to the rounding of products. -1: one for each core. None (the default): one, or
            what ``joblib.parallel_config`` says.
        settings: further arguments of :func:`fit_network`.

    Returns:
        the networks as one; the numbers of the rows that were held out of one of them, all unless the
        training was interrupted; and for each of these rows the outputs of the networks that it was
        held out of.

    Raises:
        KeyboardInterrupt: the training was interrupted before an epoch was done.
        ValueError: no network was trained for an epoch.
        ImportError: ``n_jobs`` is given, and joblib is not installed.
    """
    divisions = list(parts)
    tasks = [
        partial(fit_network, rows.take(training), rows.take(others), columns,
                seed=(seed + number) % 2**64, clock=clock, **settings)
        for number, (training, others) in enumerate(divisions)
    ]  # fmt: skip
    jobs = 1 if len(tasks) == 1 else _count_jobs(n_jobs)
    run = (
        _run_in_turn(tasks, max_time, clock) if jobs == 1 else _run_at_once(tasks, max_time, n_jobs)
    )
    trained: list[Trained] = []
    held_out: NDArray[Any] | None = None
    counts, stopped = np.zeros(len(rows)), ""
    for (_, others), one in zip(divisions, run, strict=False):  # fewer if one is interrupted
        stopped = one.histories[0].stopped or ""
        if len(one.histories[0]):
            trained.append(one)
            found = _outputs_of(one, rows.take(others))
            held_out = np.zeros((len(rows), *found.shape[1:])) if held_out is None else held_out
            held_out[others] += found
            counts[others] += 1.0
    if held_out is None:
        if stopped.startswith("interrupted"):
            raise KeyboardInterrupt
        raise ValueError(f"no network was trained for an epoch: {stopped}")
    known = np.flatnonzero(counts)
    held_out = held_out[known] / counts[known].reshape((-1, *(1,) * (held_out.ndim - 1)))
    return _join(trained), known, held_out


def _run_in_turn(tasks: Sequence[Task], max_time: float | None, clock: Clock) -> Iterator[Trained]:
    """Yield what comes of each training, up to one that is interrupted."""
    end = clock() + (max_time or 0.0)
    for number, task in enumerate(tasks):
        share = None  # an equal part of the time that is left
        if max_time is not None:
            share = max(end - clock(), 0.0) / (len(tasks) - number)
        one = task(max_time=share)
        yield one
        if (one.histories[0].stopped or "").startswith("interrupted"):
            return


def _run_at_once(
    tasks: Sequence[Task], max_time: float | None, n_jobs: int | None
) -> Iterable[Trained]:
    """Return what comes of trainings that joblib's processes do."""
    import joblib

    rounds = math.ceil(len(tasks) / _count_jobs(n_jobs))
    share = None if max_time is None else max_time / rounds
    found: list[Trained] = joblib.Parallel(n_jobs=n_jobs)(
        joblib.delayed(task)(max_time=share) for task in tasks
    )
    return found


def _count_jobs(n_jobs: int | None) -> int:
    """Return how many processes joblib takes; one if nobody has asked for any."""
    if n_jobs is None and "joblib" not in sys.modules:
        return 1
    try:
        import joblib
    except ImportError:
        raise ImportError(
            "n_jobs needs joblib, which comes with scikit-learn: pip install 'nnbackend[sklearn]'"
        ) from None
    return int(joblib.effective_n_jobs(n_jobs))


def _join(trained: Sequence[Trained]) -> Trained:
    """Return several trainings as one, whose network gives the mean of their answers."""
    return Trained(
        join_networks([one.network for one in trained]),
        [history for one in trained for history in one.histories],
        [temperature for one in trained for temperature in one.temperatures],
        [epoch for one in trained for epoch in one.best_epochs],
        [epochs for one in trained for epochs in one.planned_epochs],
    )


def _outputs_of(trained: Trained, rows: Part) -> NDArray[Any]:
    """Return the outputs of a trained network for rows."""
    network = trained.network
    return network.to_numpy(network.predict(rows.x))


def raise_interruption(trained: Trained) -> None:
    """Raise a KeyboardInterrupt if a training of which nothing is kept ended by one."""
    if (trained.histories[0].stopped or "").startswith("interrupted"):
        raise KeyboardInterrupt


class _EpochTimes(Callback):
    """Notes when epochs end."""

    every_batch = False
    every_epoch = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ends: list[float] = []

    def epoch_end(self, run: Run) -> None:
        self.ends.append(self._clock())


def shorten(
    recipe: Recipe,
    max_time: float,
    rows: Part,
    validation: Part | None,
    columns: Columns,
    *,
    clock: Clock = time.monotonic,
    parallel: MPI | None = None,
    **settings: Any,
) -> Recipe:
    """Return a recipe with as many of its epochs as there is time for, at least one.

    A few steps are tried, with a network that is thrown away; the time of an epoch is theirs for as many
    rows. The trial takes a quarter of the time at most, and as much again is left for the beginning.

    Args:
        recipe: the whole recipe.
        max_time: the seconds that there are, those of the trial included.
        rows: the training rows.
        validation: the rows that every epoch ends with; None: there are none.
        columns: what the network takes.
        clock: see :func:`fit_network`.
        parallel: the processes that train together; default None.
        settings: ``outputs``, ``task`` and ``backend``, see :func:`fit_network`.
    """
    began = clock()
    few = min(len(rows), _TRIAL_STEPS * recipe.batch_size)
    share = few / len(rows)
    # At random: the first rows of a sorted table may be all alike.
    tried = rows.take(permutation(0, len(rows), "trial")[:few])
    if validation is not None:
        validation = validation.take(np.arange(math.ceil(share * len(validation))))
    times = _EpochTimes(clock)
    trial = fit_network(
        tried if tried.weight is None else replace(tried, weight=None),
        None if validation is None else replace(validation, weight=None),
        columns,
        recipe=replace(recipe, epochs=_TRIAL_EPOCHS),
        callbacks=[times, TimeBudget(_TRIAL_SHARE * max_time)],
        clock=clock,
        verbose=0,
        parallel=parallel,
        **settings,
    )
    raise_interruption(trial)
    epochs = 1  # if not even the trial came to its end: an epoch, as far as it goes
    if len(times.ends) >= 2:
        epoch = (times.ends[-1] - times.ends[-2]) / share
        left = max_time - 2.0 * (clock() - began)
        epochs = math.floor(left / epoch) if epoch > 0.0 else recipe.epochs
    if parallel is not None and parallel.size > 1:
        epochs = parallel.processes.share(epochs)  # by the clock of process 0
    return replace(recipe, epochs=min(max(epochs, 1), recipe.epochs))


def _keep_best(recipe: Recipe) -> EarlyStopping:
    """Return the callback that keeps the weights of the best epoch, and may end the run.

    The loss chooses, for classes too: the error of a few rows, by which RealMLP's authors choose,
    changes in steps, and took epochs whose errors and log losses on other rows were larger.
    """
    waits = recipe.epochs if recipe.patience is None else recipe.patience
    factor = 0.0 if recipe.patience is None else 1.0
    return EarlyStopping("validation_loss", waits, ties="last", patience_factor=factor)


def _as_tuple(part: Part) -> tuple[Any, ...]:
    return (part.x, part.y) if part.weight is None else (part.x, part.y, part.weight)
