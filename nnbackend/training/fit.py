"""From the arguments of ``fit`` to a loop that trains: data, objective, trainer, loop."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nnbackend import data, optimizers
from nnbackend.backends.base import Backend, namespace
from nnbackend.callbacks.run import find as find_checkpoint
from nnbackend.callbacks.run import resolve as resolve_callbacks
from nnbackend.core.checks import check_flag, check_fraction, check_path, check_size
from nnbackend.core.history import History
from nnbackend.core.tree import flatten
from nnbackend.data.adapter import DataAdapter
from nnbackend.data.class_weight import ClassWeight
from nnbackend.data.reading_share import ReadingShare
from nnbackend.data.samples import Samples
from nnbackend.errors import given
from nnbackend.inspection.out_of_memory import explain_out_of_memory
from nnbackend.losses import Loss, PerOutputSpec
from nnbackend.losses.base import weighs_rows
from nnbackend.metrics.outputs import ClassMetric
from nnbackend.optimizers import LBFGS, Frozen, Optimizer
from nnbackend.parallel import MPI
from nnbackend.parallel.mpi import together
from nnbackend.training.augmentation import with_augmentation
from nnbackend.training.loop import Loop, raise_divergence, steps_per_epoch
from nnbackend.training.objective import Objective
from nnbackend.training.parallel_loop import ParallelLoop
from nnbackend.training.trainer import Trainer

if TYPE_CHECKING:
    from nnbackend.network import Network
    from nnbackend.parallel.communicator import HostCommunicator

__all__ = ["FitOptions", "fit", "partial_fit"]


@dataclass
class FitOptions:
    """The arguments of :meth:`nnbackend.network.Network.fit` beside the data; see there."""

    loss: str | Loss | PerOutputSpec
    loss_weights: PerOutputSpec | None
    optimizer: str | Optimizer
    epochs: int
    batch_size: int | None
    shuffle: bool
    validation_data: Any
    validation_split: float | None
    stratify: bool
    groups: Any
    sample_weight: Any
    class_weight: ClassWeight | None
    data_on: str
    accumulate: int
    augment: Iterable[Any]
    metrics: Iterable[Any] | Mapping[str, Any]
    callbacks: Iterable[Any]
    resume: str | os.PathLike[str] | None
    verbose: int | bool | None
    profile: bool
    parallel: MPI | None = None

    def __post_init__(self) -> None:
        self.epochs = check_size("epochs", self.epochs)
        if self.batch_size is not None:
            self.batch_size = check_size("batch_size", self.batch_size)
        self.accumulate = check_size("accumulate", self.accumulate)
        self.shuffle = check_flag("shuffle", self.shuffle)
        self.stratify = check_flag("stratify", self.stratify)
        self.profile = check_flag("profile", self.profile)
        if self.resume is not None:
            self.resume = check_path("resume", self.resume)
        if self.validation_split is not None:
            self.validation_split = check_fraction("validation_split", self.validation_split)
        if self.validation_data is not None and self.validation_split is not None:
            raise ValueError("give validation_data or validation_split, not both")
        if not isinstance(self.parallel, MPI | None):
            raise TypeError(
                f"parallel must be nnb.parallel.MPI() or None, got {given(self.parallel)}"
            )


def fit(network: Network, x: Any, y: Any, options: FitOptions) -> History:
    """Train a network; see :meth:`nnbackend.network.Network.fit`."""
    loop = profile = None
    with together(options.parallel, network.backend) as communicator:
        try:
            callbacks = resolve_callbacks(options.callbacks, options.verbose)
            resume = options.resume
            checkpoint = None if resume is None else find_checkpoint(resume, callbacks)
            with network.backend.scope():
                with network._unbuilt_if_refused():
                    given_data = network, x, y, options, callbacks, communicator
                    objective, loop, profile = prepare(*given_data)
                    if checkpoint is not None:
                        loop.check(checkpoint)
                    if isinstance(loop, ParallelLoop):
                        loop.check_alike(checkpoint)
                loop.publish()  # so that the arrays from before are not kept
                started = time.perf_counter()
                history = loop.train(checkpoint)
                if profile is not None:
                    profile.finish(time.perf_counter() - started)
                network._last = objective
                network._release()  # the trainer's arrays, several times the size of the parameters
        except Exception as error:
            loop = profile = None  # with the arrays they hold
            problem = explain_out_of_memory(
                error,
                network.backend,
                "fit",
                rows=x.shape[0] if isinstance(getattr(x, "shape", 0), tuple) and x.shape else None,
                batch_size=options.batch_size,
                accumulate=options.accumulate,
                data_on=options.data_on,
                release=network._release,
            )
            if problem is None:
                raise
            raise problem from error
    if profile is not None:
        history.profile = profile
    if communicator is None or communicator.rank == 0:
        _say_what_came(history, options)
    return history


def _say_what_came(history: History, options: FitOptions) -> None:
    """Print the profile of a fit, unless it is to be silent, and that it was interrupted."""
    if history.profile is not None and options.verbose != 0:
        _say(str(history.profile))
    if history.stopped is not None and history.stopped.startswith("interrupted"):
        _say(f"training was {history.stopped}")


def prepare(
    network: Network,
    x: Any,
    y: Any,
    options: FitOptions,
    callbacks: list[Any],
    communicator: HostCommunicator | None = None,
) -> tuple[Objective, Loop, Any]:
    """Return the objective of a fit, the loop that trains, and the profile it fills (or None)."""
    o, backend = options, network.backend
    optimizer = optimizers.get(o.optimizer)
    source = data.source_of(x, y, o.sample_weight)
    whole = None if isinstance(optimizer, LBFGS) else o.batch_size
    placement = data.placement((x, y, o.sample_weight), backend, o.data_on, whole)
    loss = network._chosen_loss(o.loss, o.loss_weights, x if source is None else source)
    objective = network._objective(loss, () if o.metrics is None else o.metrics)
    objective = with_augmentation(objective, o.augment, network)
    adapter = network._data_adapter(objective.loss)
    if communicator is not None and communicator.reads_share:
        communicator.reads_share = source is not None  # arrays in memory are there as a whole
        if source is not None:
            source, o = share_reading(source, options, communicator, objective)
    samples, rows, validation = _read_data(network, x, y, o, adapter, source, placement)
    _check_metrics(objective, samples)
    trained, profile = objective, None
    if o.profile:
        from nnbackend.inspection.profiling import with_profile

        trained, profile = with_profile(objective, backend)
    steps = steps_per_epoch(samples, rows, o.batch_size)
    trainer = make_trainer(network, trained, optimizer, o.accumulate, steps, communicator)
    if isinstance(samples, Samples):
        trainer.check_rows(samples, len(samples) if rows is None else len(rows), o.batch_size)
    loop: type[Loop] = Loop if communicator is None else ParallelLoop
    if isinstance(optimizer, LBFGS):
        from nnbackend.training.full_batch import FullBatchLoop as loop
    run = loop(
        trainer,
        samples,
        rows,
        batch_size=o.batch_size,
        shuffle=o.shuffle,
        validation=validation,
        callbacks=callbacks,
        publish=lambda: network._take_from(trainer),
        network=network,
        epochs=o.epochs,
    )
    return objective, run, profile


def share_reading(
    source: data.Source,
    options: FitOptions,
    communicator: HostCommunicator,
    objective: Objective,
) -> tuple[data.Source, FitOptions]:
    """Return the part of a source that a process reads, and its part of the batch size.

    Raises:
        ValueError: the data, the loss or another argument does not go with it.
    """
    if source.whole_batches or options.batch_size is None:
        raise ValueError(
            "reads='share' is for a dataset of files or a memory map with a batch_size; of other data "
            "each process takes its rows with reads='all'"
        )
    if options.accumulate > 1 or not weighs_rows(objective.loss):
        reason = "a loss of yours" if options.accumulate == 1 else "accumulate="
        raise ValueError(f"reads='share' does not go with {reason}: take reads='all'")
    if options.batch_size < communicator.size:
        raise ValueError(
            f"reads='share' does not go with batch_size={options.batch_size} in {communicator.size} "
            "processes: each needs a row of a batch. Take a larger one, or reads='all'"
        )
    share = ReadingShare(communicator.rank, communicator.size, options.batch_size)
    communicator.first_row = share.first
    return source.divided(share), replace(options, batch_size=share.rows_of_batch)


def _read_data(
    network: Network,
    x: Any,
    y: Any,
    options: FitOptions,
    adapter: DataAdapter,
    source: data.Source | None,
    placement: Backend,
) -> tuple[Samples | data.BatchStream, Any, Samples | data.BatchStream | None]:
    """Return the samples to learn from, which of their rows (None: all), and those to validate on."""
    o = options
    validation: Samples | data.BatchStream | None = None
    if o.validation_data is not None:
        validation = adapter.validation(o.validation_data, o.epochs, o.data_on)
    samples: Samples | data.BatchStream
    if source is None:
        samples = adapter.samples(x, y, o.sample_weight, placement=placement)
    else:
        seed = network.seed if o.shuffle else None
        samples = adapter.training_stream(source, o.batch_size, seed, o.epochs)
    rows = None
    if o.validation_split is not None:
        split = o.validation_split, network.seed, o.stratify, o.groups
        rows, validation = adapter.split(samples, y, *split)
    elif o.stratify or o.groups is not None:
        raise ValueError("stratify and groups belong to validation_split, which is not given")
    if o.class_weight is not None:
        samples = adapter.weigh_by_class(samples, o.class_weight, rows)
    return samples, rows, validation


def _check_metrics(objective: Objective, samples: Any) -> None:
    """Refuse metrics of classes for targets that are numbers, before an epoch is spent on them.

    Raises:
        ValueError: there is one; the message names it.
    """
    of_classes = {n: m for n, m in objective.metrics.items() if isinstance(m, ClassMetric)}
    if not of_classes or not isinstance(samples, Samples) or not hasattr(samples.y, "dtype"):
        return
    y = samples.y
    if not namespace(y).isdtype(y.dtype, "real floating") or len(y.shape) != 2:
        return
    for name, metric in of_classes.items():
        try:
            metric.check_targets(y)
        except ValueError as error:
            raise ValueError(f"metrics: {name}: {error}") from None


def make_trainer(
    network: Network,
    objective: Objective,
    optimizer: Optimizer,
    accumulate: int = 1,
    steps_per_epoch: int | None = None,
    communicator: HostCommunicator | None = None,
) -> Trainer:
    """Return a trainer that starts from a network's parameters and state.

    Raises:
        ValueError: the network has no parameters, or L-BFGS would compute in mixed precision, or in
            several processes.
    """
    if communicator is not None and isinstance(optimizer, LBFGS):
        raise ValueError(
            "L-BFGS is driven by SciPy in one process: take another optimizer, or leave parallel= out"
        )
    if network.backend.mixed and isinstance(optimizer, LBFGS):
        raise ValueError(
            "L-BFGS compares losses that differ by less than 16 bits can show: give "
            f"precision='float32' or 'float64' (it is {network.backend.precision!r})"
        )
    if not flatten(network.params):
        raise ValueError("the network has no parameters: there is nothing to train")
    return Trainer(
        objective,
        without_frozen(network, optimizer),
        network.backend,
        network.params,
        network.seed,
        network.trained[0],
        accumulate,
        steps_per_epoch,
        state=network.state,
        communicator=communicator,
    )


def partial_fit(
    network: Network,
    x: Any,
    y: Any,
    loss: tuple[Any, Any],
    optimizer: str | Optimizer,
    batch_size: int | None,
    sample_weight: Any,
    accumulate: int,
    augment: Iterable[Any],
) -> float:
    """Train a network on one pass through rows; see :meth:`nnbackend.network.Network.partial_fit`.

    ``loss`` is given with its ``loss_weights``.
    """
    if batch_size is not None:
        batch_size = check_size("batch_size", batch_size)
    accumulate = check_size("accumulate", accumulate)
    backend, chosen = network.backend, optimizers.get(optimizer)
    with backend.scope():
        with network._unbuilt_if_refused():
            objective = network._objective(network._chosen_loss(*loss, x), None)
            objective = with_augmentation(objective, augment, network)
            samples = network._data_adapter(objective.loss).samples(x, y, sample_weight)
        trainer, wanted = network._trainer, (objective, without_frozen(network, chosen))
        if trainer is None or (trainer.objective, trainer.optimizer) != wanted:
            trainer = make_trainer(network, objective, chosen)
        else:
            kept = flatten(trainer.params)
            replaced = any(p is not kept[name] for name, p in flatten(network.params).items())
            if replaced and not trainer.averages:  # else the network has their average
                trainer.params = network.params
            if network.state:
                trainer.state = network.state  # which a training pass may have moved
        trainer.accumulate = accumulate
        before = trainer.snapshot()
        size = min(batch_size or len(samples), len(samples))
        try:
            with trainer.blocks(samples, size) as blocks:
                value = trainer.epoch(blocks, size)["loss"]
            if not math.isfinite(value) or not trainer.finite():
                raise_divergence(trainer, before, 1, History())
        except BaseException:  # Ctrl-C, too, leaves the network as it was
            trainer.restore(before)
            network._take_from(trainer)
            network._release()  # its running means may be no numbers any more
            raise
        network._take_from(trainer)
    return value


def without_frozen(network: Network, optimizer: Optimizer) -> Optimizer:
    """Return the optimizer, which leaves a network's frozen parameters alone."""
    frozen = network.frozen
    return Frozen(optimizer, frozen) if frozen else optimizer


def _say(message: str) -> None:
    print(message, file=sys.stderr)
