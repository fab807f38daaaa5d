"""The network: layers, parameters and a backend in one object that people hold.

It has no mathematics. Forward and backward are the layers', learning is :mod:`nnbackend.training`'s.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nnbackend import data, losses, optimizers
from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.core import random
from nnbackend.core.checks import check_size
from nnbackend.core.history import History
from nnbackend.core.layer_tree import init_state
from nnbackend.core.shapes import Shapes, check_shapes, is_shape, map_shapes, row_shapes
from nnbackend.core.tree import count_rows, flatten, map_arrays, tree_map, unflatten
from nnbackend.core.types import Array, Context, Layer, Params, State
from nnbackend.data.adapter import BATCH_SIZE, DataAdapter
from nnbackend.data.class_weight import ClassWeight
from nnbackend.data.input_spec import InputSpec, check_takes_several
from nnbackend.data.row_reader import RowReader
from nnbackend.errors import nearest
from nnbackend.inference import evaluate as evaluation
from nnbackend.inference.predictor import BATCH_ROWS, Predictor, batch_rows
from nnbackend.inspection import summary
from nnbackend.inspection.out_of_memory import explain_out_of_memory, guarded
from nnbackend.layers import Sequential
from nnbackend.layers.mixed_precision import with_precision
from nnbackend.layers.output import split_output_activation
from nnbackend.losses import Loss
from nnbackend.metrics import Metric
from nnbackend.optimizers import Optimizer
from nnbackend.saving import model_file
from nnbackend.training import fit as fitting
from nnbackend.training.fit import FitOptions
from nnbackend.training.objective import Objective, objective_for
from nnbackend.training.trainer import Trainer

__all__ = ["Network", "load"]

_REMADE = (
    "_trainer",
    "_body",
    "_input_spec",
    "_plain_objective",
    "_predictor",
    "_evaluator",
)  # made again when they are needed: no copy takes them


class Network:
    """A neural network on a backend.

    It may be used in a ``with`` statement, which closes it at the end: see :meth:`close`.

    Args:
        layers: the layers, first to last.
        backend: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array-api-strict"``, ``"auto"``
            (CuPy where a CUDA device is usable, NumPy otherwise), a
            :class:`~nnbackend.backends.base.Backend`, or an array namespace.
        device: where the backend computes; None: its default. Each backend says what it takes.
        dtype: ``"float32"`` (the default) or ``"float64"``: what parameters are kept in.
        precision: what is computed in: ``"float64"``, ``"float32"``, ``"tf32"``, or mixed precision,
            ``"float16"`` or ``"bfloat16"``, whose parameters are float32; None: that of the dtype.
        seed: fixes initial weights, the order of batches and dropout masks, equally on all backends.
        input_shape: the shape of a row, ``(784,)``; of several inputs a tuple or a dictionary of shapes,
            ``((784,), (3,))``; None: it is taken from the first data.

    Attributes:
        layers: the description, a :class:`~nnbackend.layers.Sequential`.
        params: nested dictionaries of the backend's arrays, once the network is built.
        state: the state of the layers that have one (running means), nested as the parameters are.
        backend: where it computes.
        input_shape: of one row, or None.
        output_shape: of one row's output, or None.
        metadata: plain data of the user's that is saved with the network.

    Raises:
        BackendUnavailableError: the backend cannot be used here.
        ValueError: shapes do not fit, or a value is out of range.
        TypeError: something is not a layer.
    """

    def __init__(
        self,
        layers: Sequence[Layer] | Layer,
        *,
        backend: str | Backend | ModuleType = "numpy",
        device: Any = None,
        dtype: str | None = None,
        precision: str | None = None,
        seed: int = 0,
        input_shape: int | Sequence[Any] | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(layers, Sequential):
            layers = Sequential(layers if isinstance(layers, Sequence) else [layers])
        self.layers = layers
        random.seed_key(seed)  # refuses a seed that is not one
        self.seed = int(seed)
        self.backend = get_backend(backend, device, dtype, precision)
        self.metadata: dict[str, Any] = {}
        self.input_shape: Shapes | None = None
        self.output_shape: Shapes | None = None
        self._params: Params | None = None
        self._raw: Params | None = None
        self._state: State = {}
        self._frozen: tuple[str, ...] = ()
        self._steps = 0
        self._epochs = 0
        self._trainer: Trainer | None = None
        self._last: Objective | None = None
        self._plain_objective: tuple[Layer, Objective] | None = None  # the last one without metrics
        self._input_spec: tuple[Layer, Shapes | None, InputSpec] | None = None
        self._body: tuple[Sequential, Layer, Any] | None = None  # without the last activation
        self._predictor: Predictor | None = None
        self._repeats = False  # whether small arrays are predicted by the shortest way
        self._evaluator: Predictor | None = None  # of the outputs that a loss takes
        self._closed = False
        if input_shape is not None:
            self.build(input_shape)

    @guarded("the parameters")
    def build(self, input_shape: int | Sequence[Any] | Mapping[str, Any]) -> Network:
        """Make the initial parameters for rows of a shape; return the network.

        Raises:
            ValueError: the shape does not fit the layers, or the network is built for another one.
        """
        self._check_open()
        shape = check_shapes("input_shape", input_shape)
        if self._params is not None:
            if shape != self.input_shape:
                raise ValueError(
                    f"the network is built for rows of shape {self.input_shape} already"
                )
            return self
        check_takes_several(self.layers, shape)
        params, output_shape = self.layers.init(shape, random.Generator.of(self.seed))
        self.input_shape, self.output_shape = shape, map_shapes(tuple, output_shape)
        with self.backend.scope():
            self._state = tree_map(self.backend.asarray, init_state(self.layers, shape))
            self._params = tree_map(self.backend.asarray, params)
        return self

    @property
    def trained(self) -> tuple[int, int]:
        """How many steps and epochs it was trained for: they number dropout masks and orders of rows."""
        return self._steps, self._epochs

    @trained.setter
    def trained(self, steps_and_epochs: tuple[int, int]) -> None:
        self._steps, self._epochs = steps_and_epochs

    @property
    def params(self) -> Params:
        """The parameters by layer and name. Assigning replaces them, with no copy and no check.

        They are the network's own arrays: training changes them in place or, on a library without
        mutable arrays, may consume them. ``state_dict`` returns copies.
        """
        if self._params is None:
            self._check_open()
            raise ValueError(
                "the network has no parameters yet: give input_shape=, call build(input_shape), "
                "or pass data through it"
            )
        return self._params

    @params.setter
    def params(self, params: Params) -> None:
        self._check_open()
        self._params, self._raw = params, None
        self._trainer = None

    @property
    def state(self) -> State:
        """The state of the layers, which no optimizer trains; ``{}`` if none of them has one.

        Nested dictionaries by layer and name, as ``params``. A training pass replaces it, or changes
        its arrays in place. Assigning replaces it, with no copy.
        """
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._check_open()
        shapes, own = (
            {n: tuple(a.shape) for n, a in flatten(s).items()} for s in (state, self._state)
        )
        if shapes != own:
            raise ValueError(f"the state of these layers has the arrays {own}, got {shapes}")
        self._state = state

    @property
    def raw_params(self) -> Params:
        """The parameters that the optimizer last made; ``params`` are their average if it keeps one."""
        return self.params if self._raw is None else self._raw

    @property
    def frozen(self) -> tuple[str, ...]:
        """The dotted names of the parameters that training leaves as they are."""
        return self._frozen

    def freeze(self, *patterns: str) -> Network:
        """Leave parameters as they are in training, to the last bit; return the network.

        Args:
            patterns: of dotted names: ``"0.*"`` for the first layer, ``"*.bias"`` for all biases. ``*``
                stands for any text, dots included.

        Raises:
            ValueError: a pattern matches none; the message lists the names. Or the network is not built.
        """
        if not patterns:
            raise ValueError("freeze what? Give patterns of names: freeze('0.*'), or freeze('*')")
        return self._freeze(patterns, True)

    def unfreeze(self, *patterns: str) -> Network:
        """Let frozen parameters learn again, all or those that a pattern matches; return the network.

        Raises:
            ValueError: a pattern matches no parameter; the message lists the names.
        """
        return self._freeze(patterns or ("*",), False)

    def _freeze(self, patterns: Iterable[str], frozen: bool) -> Network:
        names = list(flatten(self.params))
        meant = {name for pattern in patterns for name in optimizers.matching(pattern, names)}
        old = set(self._frozen)
        new = old | meant if frozen else old - meant
        self._frozen = tuple(name for name in names if name in new)
        return self

    # Memory

    def close(self) -> None:
        """Let go of the network's arrays and give the memory back to the device.

        A closed network cannot be used any more; ``layers``, ``metadata`` and the shapes can be read.
        Arrays that came from it, such as outputs and ``state_dict()``, stay as they are, and so do
        other networks. Closing twice does no harm.
        """
        self._params = self._raw = self._last = self._predictor = self._evaluator = None
        self._state = {}
        self._release()
        self._closed = True
        gc.collect()  # what refers to itself in a circle would keep its arrays for now
        self.backend.free_memory()

    def __enter__(self) -> Network:
        self._check_open()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _release(self) -> None:
        """Drop the arrays that the network keeps beside its parameters."""
        self._trainer = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy takes: the parameters, on the host, and what is described."""
        state = self.__dict__ | dict.fromkeys(_REMADE)
        with self.backend.scope():
            return state | self._parameters_through(self.backend.to_numpy)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"_state": {}} | state)  # pickles of older versions have none
        with self.backend.scope():
            self.__dict__.update(self._parameters_through(self.backend.asarray))

    def _parameters_through(self, function: Callable[[Any], Any]) -> dict[str, Params | None]:
        """Return what holds parameters and state, with a function applied to each array."""
        held = {"_params": self._params, "_raw": self._raw, "_state": self._state}
        return {name: p if p is None else tree_map(function, p) for name, p in held.items()}

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(
                "the network is closed: its arrays were let go of. Save it, or take state_dict(), "
                "before it is closed"
            )

    # Passes

    @guarded("forward")
    def forward(
        self, x: Any, *, training: bool = False, step: int | None = None
    ) -> tuple[Array, Callable[..., tuple[Array | None, Params]]]:
        """Return the output and the backward pass.

        A training pass leaves the state of layers that have one as it makes it.

        Args:
            x: array-like of shape (batch, *input_shape).
            training: whether layers behave as in training.
            step: fixes the dropout masks of a training pass. None: a new number for each.

        Returns:
            the output, and ``backward(dy, input_grad=True) -> (dx, grads)`` with ``dy`` array-like of
            the output's shape and ``grads`` nested as ``params``.
        """
        backend = self.backend
        with backend.scope():
            x = self._rows(x)
            if training and step is None:
                step, self._steps = self._steps, self._steps + 1
            key = random.forward_key(self.seed)
            ctx = Context(backend, training, key, step or 0, self._state)
            y, layers_backward = with_precision(self.layers, backend).forward(self.params, x, ctx)
            if training and self._state:
                # Sums of NumPy arrays without axes are no arrays.
                self._state = tree_map(backend.asarray, ctx.new_state())

        def backward(dy: Any, input_grad: bool = True) -> tuple[Array | None, Params]:
            with backend.scope():
                dy = map_arrays(_gradient, data.arrange(dy, row_shapes(y), "dy"), y)
                return layers_backward(dy, input_grad=input_grad)

        def _gradient(dy: Any, y: Array) -> Array:
            dy = backend.asarray(dy)
            if tuple(dy.shape) != tuple(y.shape):
                raise ValueError(
                    f"dy must have the output's shape {tuple(y.shape)}, got {tuple(dy.shape)}"
                )
            return dy

        return y, backward

    __call__ = forward

    def predict(self, x: Any, *, batch_size: int = BATCH_ROWS, on_host: bool = False) -> Array:
        """Return the network's output for rows ``x``, in the backend's arrays.

        Args:
            x: array-like of shape (rows, *input_shape). Of a memory map, and of an array on the host
                that takes more than half of the device's free memory, so many rows are brought to the
                device at a time.
            batch_size: rows computed at a time, or fewer where that is faster; bounds the memory.
            on_host: whether to return a NumPy array, to which each batch is copied when it is done: for
                outputs that do not fit on the device together.

        Raises:
            OutOfMemoryError: the device has too little memory; the message says what to try.
        """
        predictor = self._predictor
        if predictor is None or predictor.layers is not self.layers:
            predictor = self._predictor = Predictor(self.layers, self.backend)
            self._repeats = self._inputs.takes == "numbers"  # indices are checked each time
        if batch_size is BATCH_ROWS and not on_host and self._repeats:  # none is given
            y = predictor.repeat(self._params, self._state, x)  # type: ignore[arg-type]
            if y is not None:
                return y
        size = check_size("batch_size", batch_size)
        reader = None
        try:
            with self.backend.scope():
                reader = RowReader(x, self._inputs, self.backend, size, on_host)
                if self._params is None:
                    self.build(reader.shapes)
                own = self.params, self._state
                if not (reader.reads_ahead or on_host):
                    return predictor.predict(*own, reader.x, size, reader.bring)
                batch = batch_rows(self.params, reader.x, self.backend, size)
                outputs = predictor.outputs(*own, reader.batches(batch))
                if not on_host:
                    return predictor.join(outputs, count_rows(reader.x))
                parts = [map_arrays(self.backend.to_numpy, y) for y in outputs]
                return map_arrays(lambda *same: np.concatenate(same), *parts)
        except Exception as error:
            rows = x.shape[0] if getattr(x, "shape", ()) else None
            x = reader = None  # released, with all that is in the calls below
            problem = explain_out_of_memory(
                error, self.backend, "predict", rows=rows, batch_size=size, release=self._release
            )
            if problem is None:
                raise
            raise problem from error

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Return an array of this network's backend as a NumPy array."""
        return self.backend.to_numpy(array)

    # Learning

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | Loss = "mse",
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
        metrics: Iterable[str | Metric] | Mapping[str, Metric] = (),
        callbacks: Iterable[Any] = (),
        resume: str | os.PathLike[str] | None = None,
        verbose: int | bool | None = None,
        profile: bool = False,
    ) -> History:
        """Train on rows ``x`` and targets ``y``, from the parameters as they are.

        Args:
            x: array-like of shape (rows, *input_shape); or, without ``y``, what streams: an iterable
                of batches ``(x, y)`` or ``(x, y, weight)``, a callable that returns one for each epoch,
                or a source of :mod:`nnbackend.data` such as a dataset of files. A memory map, with
                ``y``, is read a part at a time.
            y: array-like: (rows, *output_shape), or for a single output (rows,), or class numbers.
            loss: a name or a function of :mod:`nnbackend.losses`.
            optimizer: a name or an object of :mod:`nnbackend.optimizers`. It starts afresh.
            epochs: how often to go through the data.
            batch_size: rows of a step; None: all, one step an epoch. The last batch may be smaller.
                Batches that are given as such are steps as they are.
            shuffle: whether each epoch goes through the rows in a random order of its own. Batches
                that are given as such come in their order; other sources shuffle within a buffer.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after each epoch, or
                what streams, as for ``x``.
            validation_split: a fraction of the rows to keep for that, at random, instead.
            stratify: whether the split gives each class of ``y`` its share on either side.
            groups: the group of each row; the split does not part the rows of a group.
            sample_weight: how much each row counts; a weight of 2 counts it twice.
            class_weight: how much more a row counts by its class, in the loss of training only; not in
                metrics and not in validation. ``{class: weight}``, where a class left out has 1, or
                ``"balanced"``: every class counts the same, however rare it is in what is learned from.
            data_on: where arrays lie that are learned from. ``"auto"``: on the device, or on the host if
                they are there and larger than half of the device's free memory; then the rows come a
                block at a time, read ahead, and the result is the same. ``"device"`` and ``"host"`` say
                so. Metrics, and steps that take all rows, need outputs and targets on the device.
            accumulate: in how many parts to compute the gradient of a batch, one after the other. The
                result is the same; it takes the memory of a batch that much smaller.
            metrics: names or functions of :mod:`nnbackend.metrics`, or functions by name. On the
                training data they are computed from the outputs during the epoch, as the loss is.
            callbacks: see :mod:`nnbackend.callbacks`.
            resume: a checkpoint, or a folder of them, that :class:`~nnbackend.callbacks.Checkpoint`
                wrote: the run goes on as if nothing had happened, with the parameters, the optimizer
                and the history from there. All else must be given as before, and ``epochs`` counts
                from the start of the whole run.
            verbose: 0: silence; 1: show progress; None: show it on long work at a terminal.
            profile: whether to measure where the time goes, layer by layer. The table is kept in
                ``history.profile`` and, unless ``verbose=0``, printed to standard error. Measuring
                costs some time of its own.

        Returns:
            the history, a list of numbers by name. Ctrl-C returns it early, with the parameters of
            the last whole epoch and ``history.stopped`` saying so.

        Raises:
            DivergenceError: the loss became NaN or infinite; the last finite weights are kept.
            DataError: data that stream do not fit or cannot be read; the weights of the last whole
                epoch are kept, as they are when an iterable raises an exception of its own.
            OutOfMemoryError: the device has too little memory; the message says what to try. The
                weights of the last whole epoch are kept.
            ResumeError: the checkpoint is of another run; the message says what differs.
            ModelFileError, FileNotFoundError: the checkpoint is damaged, or there is none.
            ValueError, TypeError: data or arguments that do not fit; nothing has changed then.
        """
        options = FitOptions(
            loss, optimizer, epochs, batch_size, shuffle, validation_data, validation_split, stratify,
            groups, sample_weight, class_weight, data_on, accumulate, metrics, callbacks, resume,
            verbose, profile,
        )  # fmt: skip
        return fitting.fit(self, x, y, options)

    @guarded("partial_fit")
    def partial_fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss = "mse",
        optimizer: str | Optimizer = "adam",
        batch_size: int | None = None,
        sample_weight: Any = None,
        accumulate: int = 1,
    ) -> float:
        """Go once through rows ``x`` and targets ``y``, in their order; return the mean loss.

        The optimizer goes on where the last call left it, as long as loss and optimizer stay the
        same and the parameters were not set in between.

        Args:
            x: array-like of shape (rows, *input_shape).
            y: array-like, see ``fit``.
            loss: a name or a function.
            optimizer: a name or an object.
            batch_size: rows of a step; None: all rows in one.
            sample_weight: how much each row counts.
            accumulate: see ``fit``.

        Raises:
            DivergenceError: the loss became NaN or infinite; the weights are those from before.
        """
        return fitting.partial_fit(
            self, x, y, self._trainer, loss=loss, optimizer=optimizer, batch_size=batch_size,
            sample_weight=sample_weight, accumulate=accumulate,
        )  # fmt: skip

    @guarded("evaluate")
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        loss: str | Loss | None = None,
        metrics: Iterable[str | Metric] | Mapping[str, Metric] | None = None,
        sample_weight: Any = None,
    ) -> dict[str, float]:
        """Return ``{"loss": ..., metric: ...}`` over all rows.

        Args:
            x: array-like of shape (rows, *input_shape), or what streams, see ``fit``.
            y: array-like, see ``fit``.
            loss: a name or a function; None: that of the last ``fit``.
            metrics: names or functions; None: those of the last ``fit``.
            sample_weight: how much each row counts.

        Arrays on the host that take more than half of the device's free memory come to it a part at a
        time; their targets and outputs lie there as a whole.

        Raises:
            ValueError: there was no ``fit`` and no loss is given, or data do not fit.
            OutOfMemoryError: the device has too little memory.
        """
        if loss is None:
            if self._last is None:
                raise ValueError("the network was not fitted here: say which loss, loss=...")
            loss = self._last.loss
        if metrics is None:
            same = self._last is not None and self._last.loss == losses.get(loss)
            metrics = self._last.metrics if self._last is not None and same else ()
        with self.backend.scope(), self._unbuilt_if_refused():
            source = data.source_of(x, y, sample_weight)
            placement = self.backend
            if source is None:
                placement = data.placement((x, y, sample_weight), self.backend, "auto")
            objective = self._objective(loss, metrics, x if source is None else source, placement)
            if self._evaluator is None or self._evaluator.layers is not objective.layers:
                self._evaluator = Predictor(objective.layers, self.backend)
            what = objective, self._evaluator, self.params, self._state
            adapter = self._data_adapter(objective.loss)
            if source is not None:
                with adapter.stream(source).epoch(1) as parts:
                    return evaluation.evaluate_parts(*what, parts)
            samples = adapter.samples(x, y, sample_weight, placement=placement)
            return evaluation.evaluate(*what, samples)

    # Parameters and description

    @guarded("a copy of the parameters")
    def state_dict(self) -> dict[str, Array]:
        """Return a copy of parameters and state by dotted name: ``{"0.weight": ..., "0.bias": ...}``.

        The names of the layers' state begin with ``state.``, as in ``"state.1.mean"``. No parameter's
        name does, for those begin with the number of a layer.
        """
        xp = self.backend.xp
        with self.backend.scope():
            return {
                name: xp.asarray(a, copy=True) for name, a in flatten(self._variables()).items()
            }

    def _variables(self) -> Params:
        """Return parameters and state as ``state_dict`` names them."""
        return {**self.params, "state": self._state} if self._state else self.params

    @guarded("the parameters")
    def load_state_dict(self, state: Mapping[str, Any]) -> Network:
        """Set parameters and state to copies of ``state``, as from ``state_dict``; return the network.

        Args:
            state: array-likes of any library by dotted name, one for each parameter and, under
                ``state.``, for each array of the layers' state.

        Raises:
            ValueError: names are missing or unknown, or a shape is wrong; nothing has changed then.
        """
        own = flatten(self._variables())
        unknown, missing = sorted(state.keys() - own.keys()), sorted(own.keys() - state.keys())
        if unknown or missing:
            raise ValueError(_names_differ(unknown, missing))
        with self.backend.scope():
            values = {name: self._owned(value, name) for name, value in state.items()}
        for name, value in values.items():
            if tuple(value.shape) != tuple(own[name].shape):
                raise ValueError(
                    f"{name} must have shape {tuple(own[name].shape)}, got {tuple(value.shape)}"
                )
        self.params = unflatten(values, self.params)
        self.state = unflatten(values, self._state, "state.")
        return self

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
            dtype: None: that of the ``Backend`` given, or else the network's own.
            precision: None: that of the dtype if one is given, of the ``Backend`` given, or else the
                network's own, where the backend has it; where it does not, that of the dtype.
        """
        self._check_open()
        spec = self.backend if backend is None else backend
        same = dtype is None and precision is None and not isinstance(spec, Backend)
        if same:
            dtype = self.backend.dtype_name
        engine = get_backend(spec, device, dtype, precision)
        if same:
            engine = engine.with_precision_if_supported(self.backend.precision)
        other = Network(self.layers, backend=engine, seed=self.seed)
        other._steps, other._epochs = self._steps, self._epochs
        other._frozen = self._frozen
        if self._params is None:
            other.metadata = copy.deepcopy(self.metadata)
            return other
        with self.backend.scope():
            host, state = (tree_map(self.backend.to_numpy, t) for t in (self._params, self._state))
        return other.restore(self.input_shape or (), host, self.metadata, state)

    @guarded("the parameters")
    def restore(
        self,
        input_shape: Shapes,
        params: Params,
        metadata: Mapping[str, Any],
        state: State | None = None,
    ) -> Network:
        """Set shape, parameters (copied), metadata and state of a network without them; return it.

        Args:
            input_shape: the shape of one row, or a tree of shapes.
            params: the parameters, nested.
            metadata: plain data.
            state: the state of the layers, nested; None: the initial one.
        """
        _, output_shape = self.layers.init(input_shape, random.ShapeGenerator((0, 0)))
        self.input_shape, self.output_shape = input_shape, map_shapes(tuple, output_shape)
        self.metadata = copy.deepcopy(dict(metadata))
        with self.backend.scope():
            state = init_state(self.layers, input_shape) if state is None else state
            self._state = tree_map(self._owned, state)
            self._params = tree_map(self._owned, params)
        return self

    def _owned(self, values: Any, name: str = "the parameter") -> Array:
        """Return a copy of an array on this network's backend."""
        return self.backend.xp.asarray(data.to_backend(values, self.backend, name), copy=True)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write weights and description to one file; see :func:`nnbackend.load`.

        Raises:
            TypeError: a layer is not registered, or ``metadata`` is not plain data.
            OSError: the file cannot be written; an old one of that name is untouched then.
        """
        return model_file.save(self, path)

    def summary_rows(self) -> list[tuple[str, str, str, int]]:
        """Return name, layer, output shape and number of parameters of each layer."""
        return summary.rows(self.layers.layers, self.input_shape, self._params)

    def summary(self) -> str:
        """Return a table of layers, output shapes and numbers of parameters."""
        return summary.table(self.summary_rows(), self.input_shape, self.backend)

    def __repr__(self) -> str:
        layers = ", ".join(summary.line(layer) for layer in self.layers.layers)
        precision = ""
        if self.backend.precision != self.backend.dtype_name:
            precision = f"precision={self.backend.precision!r}, "
        return (
            f"Network([{layers}], backend={self.backend.name!r}, {precision}"
            f"input_shape={self.input_shape})"
        )

    # Inside

    @contextlib.contextmanager
    def _unbuilt_if_refused(self) -> Iterator[None]:
        """Let data that are refused leave no trace: not even the shape they would have fixed."""
        built = self._params is not None
        try:
            yield
        except Exception:
            if not built:
                self._params = self.input_shape = self.output_shape = None
                self._state = {}
            raise

    def _rows(self, x: Any, name: str = "X", placement: Backend | None = None) -> Array:
        """Return data on the backend, or on the ``placement``; build the network from it if need be."""
        x = data.inputs(x, placement or self.backend, self._inputs, name)
        if self._params is None:
            self.build(row_shapes(x))
        return x

    @property
    def _inputs(self) -> InputSpec:
        """What the network takes as inputs."""
        known = self._input_spec
        if known is None or known[0] is not self.layers or known[1] != self.input_shape:
            spec = InputSpec.of(self.layers, self.input_shape, self.backend)
            known = self._input_spec = self.layers, self.input_shape, spec
        return known[2]

    def _data_adapter(self, loss: Loss) -> DataAdapter:
        """Return what brings data to the network, which is built."""
        return DataAdapter(self.backend, self._inputs, self.output_shape or (), loss)

    def _objective(
        self,
        loss: str | Loss,
        watched: Iterable[str | Metric] | Mapping[str, Metric],
        x: Any,
        placement: Backend | None = None,
    ) -> Objective:
        """Return what to minimize; the network is built from ``x`` first, for the output's shape."""
        chosen = losses.get(loss)
        if self._params is None:
            if isinstance(x, data.Source):
                self.build(x.feature_shape())
            else:
                self._rows(x, placement=placement)
        if self._body is None or self._body[0] is not self.layers:
            self._body = self.layers, *split_output_activation(self.layers)
        if not watched and self._plain_objective is not None:
            layers, objective = self._plain_objective
            same = type(objective.loss) is type(chosen) and objective.loss == chosen
            if layers is self.layers and same:
                return objective
        outputs = self.output_shape or ()
        shape = outputs if is_shape(outputs) else ()
        objective = objective_for(*self._body, self.params, shape, chosen, watched)
        if not watched:  # partial_fit may be called for each batch
            self._plain_objective = self.layers, objective
        return objective

    def _take_from(self, trainer: Trainer) -> None:
        """Take parameters, state and progress from a trainer."""
        like = self.params
        self._params = unflatten(flatten(trainer.result), like)
        if self._state:
            self._state = unflatten(flatten(trainer.state), self._state)
        self._raw = unflatten(flatten(trainer.params), like) if trainer.averages else None
        self._steps = trainer.steps
        self._trainer, self._last = trainer, trainer.objective

    def _finish_fit(self, epochs: int, objective: Objective) -> None:
        """End a fit: the trainer's arrays, several times the size of the parameters, are not kept."""
        self._epochs, self._last = epochs, objective
        self._release()


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | Backend | ModuleType = "numpy",
    device: Any = None,
    dtype: str | None = None,
    precision: str | None = None,
) -> Network:
    """Read a network that :meth:`Network.save` wrote, whatever backend it was trained on.

    A checkpoint of a training run is read as well: the network as it was at that moment.

    Args:
        path: the file.
        backend: the backend, see :class:`Network`.
        device: the device, see :class:`Network`.
        dtype: ``"float32"`` or ``"float64"``; None: that of the precision given, or as saved.
        precision: see :class:`Network`; None: that of the dtype given, or as saved where the backend
            has that, and where it does not, that of the dtype.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: it is not a network's file, is damaged, or describes what cannot be built. The
            class of a custom layer must be registered first: see ``register_layer``.
        BackendUnavailableError: the backend cannot be used here.
    """
    saved = model_file.read_network(path)
    if dtype is None and precision is None:
        chosen = get_backend(backend, device, saved.precision.dtype)
        chosen = chosen.with_precision_if_supported(saved.precision.name)
    else:
        chosen = get_backend(backend, device, dtype, precision)
    network = Network(saved.layers, backend=chosen, seed=saved.seed)
    network.restore(saved.input_shape, saved.params, saved.metadata, saved.state)
    return network.freeze(*saved.frozen) if saved.frozen else network


def _names_differ(unknown: list[str], missing: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    for name in unknown:
        close = nearest(name, missing)
        parts.append(f"unknown: {name}" + (f" (did you mean {close[0]}?)" if close else ""))
    return "the names do not match this network's parameters; " + "; ".join(parts)
