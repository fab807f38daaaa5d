"""The network: layers, parameters and a backend in one object.

It has no mathematics. Forward and backward are the layers', learning is :mod:`nnbackend.training`'s.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from nnbackend import data, losses
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.core.history import History
from nnbackend.core.shapes import is_shape
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Array
from nnbackend.data.adapter import BATCH_SIZE, DataAdapter
from nnbackend.data.class_weight import ClassWeight
from nnbackend.data.validate import check_row_shapes
from nnbackend.inference.evaluate import evaluate
from nnbackend.inference.predictor import Predictor
from nnbackend.inspection.out_of_memory import guarded
from nnbackend.layers.output import split_output_activation
from nnbackend.losses import Loss, PerOutputSpec
from nnbackend.network.passes import NetworkPasses
from nnbackend.optimizers import Optimizer
from nnbackend.parallel import MPI
from nnbackend.saving import model_file
from nnbackend.training import fit as fitting
from nnbackend.training.fit import FitOptions
from nnbackend.training.objective import Objective, loss_for, objective_for
from nnbackend.training.trainer import Trainer
from nnbackend.transforms import Transform

__all__ = ["Network"]


class Network(NetworkPasses):
    """A neural network on a backend.

    It may be used in a ``with`` statement, which closes it at the end: see :meth:`close`.

    Args:
        layers: the layers, first to last.
        backend: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array-api-strict"``, ``"auto"``
            (CuPy where a CUDA device is usable, NumPy otherwise), a
            :class:`~nnbackend.backends.base.Backend`, or an array namespace.
        device: the device, as the backend names it; None (the default): its default device.
        dtype: the dtype of the parameters, ``"float32"`` or ``"float64"``; None (the default): that of
            the precision, or float32.
        precision: the number format of the computation: ``"float64"``, ``"float32"``, ``"tf32"``, or
            mixed precision, ``"float16"`` or ``"bfloat16"``, with float32 parameters; None (the
            default): that of the dtype.
        seed: the random seed of initial weights, the order of batches and dropout masks, which are the
            same on all backends; default 0.
        input_shape: the shape of a row, ``(784,)``; of several inputs a tuple or a dictionary of shapes,
            ``((784,), (3,))``; None (the default): it is taken from the first data.

    Attributes:
        layers: the description, a :class:`~nnbackend.layers.Sequential`.
        params: nested dictionaries of the backend's arrays, once the network is built.
        state: the state of the layers that have one (running means), nested as the parameters are.
        backend: the backend that computes.
        input_shape: the shape of a row of inputs; None before the network is built.
        output_shape: the shape of a row of outputs; None before the network is built.
        metadata: plain data of yours that are saved with the network.
        trained: the steps and epochs of training so far, which number dropout masks and orders of rows.

    Raises:
        BackendUnavailableError: the backend cannot be used here.
        ValueError: shapes do not fit, or a value is out of range.
        TypeError: an entry of ``layers`` is not a layer.
    """

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | Loss | PerOutputSpec = "mse",
        loss_weights: PerOutputSpec | None = None,
        optimizer: str | Optimizer = "adam",
        epochs: int = 1,
        batch_size: int | None = BATCH_SIZE,
        shuffle: bool = True,
        validation_data: Any = None,
        validation_split: float | None = None,
        stratify: bool = False,
        groups: Any = None,
        sample_weight: Any = None,
        class_weight: ClassWeight | None = None,
        data_on: str = "auto",
        accumulate: int = 1,
        augment: Iterable[str | Transform] = (),
        metrics: Iterable[Any] | Mapping[str, Any] = (),
        callbacks: Iterable[Any] = (),
        resume: str | os.PathLike[str] | None = None,
        verbose: int | bool | None = None,
        profile: bool = False,
        parallel: MPI | None = None,
    ) -> History:
        """Train on rows ``x`` and targets ``y``, from the parameters as they are.

        Args:
            x: array-like of shape ``(rows, *input_shape)``, or a tuple or dictionary of these for a
                network with several inputs; or, without ``y``, a stream: an iterable of batches
                ``(x, y)`` or ``(x, y, weight)``, a callable that returns one for each epoch, or a source
                of :mod:`nnbackend.data` such as a dataset of files. A memory map, with ``y``, is read a
                part at a time.
            y: array-like of shape ``(rows, *output_shape)``, or (rows,) for a single output or class
                numbers; of several outputs a tuple or dictionary of these, nested as they are.
            loss: a name or a function of :mod:`nnbackend.losses`; default ``"mse"``. Of several outputs
                a mapping ``{output: loss}``, or a sequence for a tuple of outputs; one of the library's
                alone is the loss of each, a function of yours alone takes all outputs and targets.
            loss_weights: how much the loss of each output counts, by output; default None: 1.
            optimizer: a name or an object of :mod:`nnbackend.optimizers`; default ``"adam"``. It starts
                with a new state.
            epochs: the number of passes through the data; default 1.
            batch_size: the number of rows of a step; None: all, one step an epoch. The last batch may
                be smaller. In a stream of batches each batch is a step.
            shuffle: whether each epoch takes the rows in a new random order; default True. Streams of
                batches keep their order; other sources shuffle within a buffer.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after each epoch, or a
                stream, as for ``x``.
            validation_split: a fraction of the rows to set aside for validation, at random, instead.
            stratify: whether the split gives each class of ``y`` its share on either side.
            groups: the group of each row; the split keeps the rows of a group together.
            sample_weight: how much each row counts, of shape (rows,): a weight of 2 counts it twice.
            class_weight: how much more a row counts by its class, in the loss of training only; not in
                metrics and not in validation. ``{class: weight}``, where a class left out has 1, or
                ``"balanced"``: every class counts the same, however rare it is in the training rows.
            data_on: the place of the training arrays: ``"device"``, ``"host"``, or ``"auto"`` (the
                default), the device unless they are on the host and larger than half of its free
                memory. From the host the rows come a block at a time, read ahead, with the same result.
                Metrics, and steps that take all rows, need outputs and targets on the device.
            accumulate: the number of parts in which the gradient of a batch is computed, one after the
                other, to the same result in the memory of one part; default 1.
            augment: names or objects of :mod:`nnbackend.transforms`, which change each batch of training
                in their order, at random by seed; default: none.
            metrics: names or functions of :mod:`nnbackend.metrics`, or functions by name; of several
                outputs ``{output: [metric, ...]}``. On the training data they are computed from the
                outputs during the epoch, as the loss is.
            callbacks: the callbacks, see :mod:`nnbackend.callbacks`.
            resume: a checkpoint, or a folder of them, that :class:`~nnbackend.callbacks.Checkpoint`
                wrote: the run is resumed as if nothing had happened, with the parameters, the optimizer
                and the history from there. All else must be given as before, and ``epochs`` counts
                from the start of the whole run.
            verbose: 0: show nothing; 1: show progress; None (the default): show it on long work at a
                terminal.
            profile: whether to measure the time of each layer; default False. The table is kept in
                ``history.profile`` and, unless ``verbose=0``, printed to standard error. Measuring
                takes some time, too.
            parallel: ``nnb.parallel.MPI()``: the processes that MPI's launcher started train the network
                together, each on its share of every batch, with the result of one process, to rounding;
                see :class:`nnbackend.parallel.MPI`. None (the default): this process alone.

        Returns:
            the history, a list of numbers by name. Ctrl-C returns it early, with the parameters of
            the last whole epoch and ``history.stopped`` saying so.

        Raises:
            DivergenceError: the loss became NaN or infinite; the last finite weights are kept.
            DataError: data of a stream do not fit or cannot be read; the weights of the last whole
                epoch are kept, as they are when an iterable raises an exception.
            OutOfMemoryError: the device has too little memory; the message says what to try. The
                weights of the last whole epoch are kept.
            ResumeError: the checkpoint is of another run; the message says what differs.
            ModelFileError, FileNotFoundError: the checkpoint is damaged or missing.
            ValueError, TypeError: data or arguments that do not fit; nothing has changed then.
        """
        options = FitOptions(
            loss, loss_weights, optimizer, epochs, batch_size, shuffle, validation_data,
            validation_split, stratify, groups, sample_weight, class_weight, data_on, accumulate,
            augment, metrics, callbacks, resume, verbose, profile, parallel,
        )  # fmt: skip
        return fitting.fit(self, x, y, options)

    @guarded("partial_fit")
    def partial_fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss | PerOutputSpec = "mse",
        loss_weights: PerOutputSpec | None = None,
        optimizer: str | Optimizer = "adam",
        batch_size: int | None = None,
        sample_weight: Any = None,
        accumulate: int = 1,
        augment: Iterable[str | Transform] = (),
    ) -> float:
        """Go once through rows ``x`` and targets ``y``, in their order; return the mean loss.

        The optimizer continues with its state after the last call, as long as loss and optimizer stay
        the same and the parameters were not set in between.

        Args:
            x: array-like of shape ``(rows, *input_shape)``.
            y: array-like, see ``fit``.
            loss: see ``fit``; default ``"mse"``.
            loss_weights: see ``fit``; default None.
            optimizer: a name or an object; default ``"adam"``.
            batch_size: the number of rows of a step; None (the default): all rows in one.
            sample_weight: how much each row counts; default None: all count 1.
            accumulate: the number of parts of a batch, see ``fit``; default 1.
            augment: the transforms of batches, see ``fit``; default: none.

        Raises:
            DivergenceError: the loss became NaN or infinite; the weights are those from before.
        """
        return fitting.partial_fit(
            self,
            x,
            y,
            (loss, loss_weights),
            optimizer,
            batch_size,
            sample_weight,
            accumulate,
            augment,
        )

    @guarded("evaluate")
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | Loss | PerOutputSpec | None = None,
        loss_weights: PerOutputSpec | None = None,
        metrics: Iterable[Any] | Mapping[str, Any] | None = None,
        sample_weight: Any = None,
    ) -> dict[str, float]:
        """Return ``{"loss": ..., metric: ...}`` over all rows.

        Args:
            x: array-like of shape ``(rows, *input_shape)``, or a stream, see ``fit``.
            y: array-like, see ``fit``.
            loss: see ``fit``; None (the default): that of the last ``fit``.
            loss_weights: see ``fit``; default None.
            metrics: see ``fit``; None (the default): those of the last ``fit``.
            sample_weight: how much each row counts; default None: all count 1.

        Arrays on the host that take more than half of the device's free memory come to it a part at a
        time; their targets and outputs are there as a whole.

        Raises:
            ValueError: there was no ``fit`` and no loss is given, or data do not fit.
            OutOfMemoryError: the device has too little memory.
        """
        self._refuse_raw_data(x)
        if loss is None:
            if self._last is None:
                raise ValueError("the network was not fitted here: say which loss, loss=...")
            if loss_weights is not None:
                raise ValueError("loss_weights goes with a loss: say which, loss=...")
            loss = self._last.loss
        with self.backend.scope(), self._unbuilt_if_refused():
            source = data.source_of(x, y, sample_weight)
            placement = self.backend
            if source is None:
                placement = data.placement((x, y, sample_weight), self.backend, "auto")
            chosen = self._chosen_loss(loss, loss_weights, x if source is None else source)
            if metrics is None:
                same = self._last is not None and self._last.loss == chosen
                metrics = self._last.metrics if self._last is not None and same else ()
            objective = self._objective(chosen, metrics)
            if self._evaluator is None or self._evaluator.layers is not objective.layers:
                self._evaluator = Predictor(objective.layers, self.backend)
            what = objective, self._evaluator, self.params, self._state
            adapter = self._data_adapter(objective.loss)
            if source is not None:
                with adapter.stream(source).epoch(1) as blocks:
                    return evaluate(*what, (part for part, _ in blocks))
            samples = adapter.samples(x, y, sample_weight, placement=placement)
            return evaluate(*what, [samples])

    def to(
        self,
        backend: str | Backend | ModuleType | None = None,
        *,
        device: Any = None,
        dtype: str | None = None,
        precision: str | None = None,
    ) -> Network:
        """Return a copy of the network on another backend, device, or in another dtype or precision.

        Args:
            backend: see :class:`Network`; None: the network's own.
            device: see :class:`Network`.
            dtype: ``"float32"`` or ``"float64"``; None: that of the ``Backend`` given, or else the
                network's own.
            precision: see :class:`Network`; None: that of the dtype if one is given, of the ``Backend``
                given, or else the network's own, where the backend has it; where it does not, that of
                the dtype.
        """
        self._check_open()
        spec = self.backend if backend is None else backend
        same = dtype is None and precision is None and not isinstance(spec, Backend)
        if same:
            dtype = self.backend.dtype_name
        target = get_backend(spec, device, dtype, precision)
        if same:
            target = target.with_precision_if_supported(self.backend.precision)
        other = Network(self.layers, backend=target, seed=self.seed)
        other.trained = self.trained
        other._frozen = self._frozen
        if self._params is None:
            other.metadata = copy.deepcopy(self.metadata)
            return other
        with self.backend.scope():
            host, state = (tree_map(self.backend.to_numpy, t) for t in (self._params, self._state))
        return other.restore(self.input_shape or (), host, self.metadata, state)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights and description to one file; see :func:`nnbackend.load`.

        Raises:
            TypeError: a layer is not registered, or ``metadata`` is not plain data.
            OSError: the file cannot be written; an old one of that name is untouched then.
        """
        return model_file.save(self, path)

    def _data_adapter(self, loss: Loss) -> DataAdapter:
        """Return the adapter that brings data to the network, which is built."""
        return DataAdapter(self.backend, self._inputs, self.output_shape or (), loss)

    def _chosen_loss(self, loss: Any, weights: Any, x: Any) -> Loss:
        """Return the loss for the outputs; the network is built from ``x`` first, for their shapes."""
        if isinstance(loss, str) or callable(loss):
            losses.get(loss)  # before anything is built
        if self._params is None:
            of_source = isinstance(x, data.Source)
            self.build(x.feature_shape() if of_source else check_row_shapes(x, self._inputs))
        return loss_for(self.layers, self.output_shape or (), loss, weights)

    def _objective(
        self, chosen: Loss, watched: Iterable[Any] | Mapping[str, Any] | None
    ) -> Objective:
        """Return the objective of the network, which is built; see :func:`objective_for`."""
        outputs = self.output_shape or ()
        if self._body is None or self._body[0] is not self.layers:
            self._body = self.layers, *split_output_activation(self.layers)
        none = isinstance(watched, list | tuple | dict) and not watched and is_shape(outputs)
        plain = watched is None or none
        if plain and self._plain_objective is not None:
            layers, objective = self._plain_objective
            same = type(objective.loss) is type(chosen) and objective.loss == chosen
            if layers is self.layers and same:
                return objective
        objective = objective_for(*self._body, self.params, outputs, chosen, watched)
        if plain:  # partial_fit may be called for each batch
            self._plain_objective = self.layers, objective
        return objective

    def _take_from(self, trainer: Trainer) -> None:
        """Take parameters, state and progress from a trainer."""
        like, state = self.params, self._state
        # In the order of the network's: a compiler returns arrays by name.
        self._params = tree_map(_second, like, trainer.result)
        self._state = tree_map(_second, state, trainer.state) if state else state
        self._raw = tree_map(_second, like, trainer.params) if trainer.averages else None
        self.trained = trainer.steps, self.trained[1]
        self._trainer, self._last = trainer, trainer.objective


def _second(_: Array, new: Array) -> Array:
    return new
