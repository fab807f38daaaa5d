"""How a network runs: forward passes, predictions, and what they say of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from nnbackend import data
from nnbackend.core import random
from nnbackend.core.checks import check_flag, check_size
from nnbackend.core.shapes import row_shapes
from nnbackend.core.tree import count_rows, map_arrays, tree_map
from nnbackend.core.types import Array, Context, Params
from nnbackend.data.input_spec import InputSpec
from nnbackend.data.row_reader import RowReader
from nnbackend.inference.predictor import BATCH_ROWS, Predictor, batch_rows
from nnbackend.inspection import summary
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.out_of_memory import guarded
from nnbackend.layers.mixed_precision import with_precision
from nnbackend.network.parameters import NetworkParameters
from nnbackend.training.adapting import adapted_params, check_adapts

__all__ = ["NetworkPasses"]


class NetworkPasses(NetworkParameters):
    """A network that runs: forward and backward, predictions, a summary.

    See :class:`nnbackend.network.Network`, which adds training and files.
    """

    @guarded("forward")
    def forward(
        self, x: Any, *, training: bool = False, step: int | None = None
    ) -> tuple[Array, Callable[..., tuple[Array | None, Params]]]:
        """Return the output and the backward pass.

        A training pass updates the state of the layers.

        Args:
            x: array-like of shape ``(batch, *input_shape)``, or a tuple or dictionary of these.
            training: whether layers behave as in training; default False.
            step: the number of the training step, which fixes dropout masks; None (the default): the
                next one.

        Returns:
            the output (of layers that hand on their input, such as Flatten, a view and no copy, unlike
            ``predict``), and ``backward(dy, input_grad=True) -> (dx, grads)`` with ``dy`` array-like of
            the output's shape and ``grads`` nested as ``params``.
        """
        backend, training = self.backend, check_flag("training", training)
        step = None if step is None else check_size("step", step, least=0)
        with backend.scope():
            x = self._rows(x)
            if training and step is None:
                step, epochs = self.trained[0] % random.STEP_PERIOD, self.trained[1]
                self.trained = step + 1, epochs
            key = random.forward_key(self.seed)
            ctx = Context(backend, training, key, step or 0, self._state)
            y, layers_backward = with_precision(self.layers, backend).forward(self.params, x, ctx)
            if training and self._state:
                # Sums of NumPy arrays without axes are no arrays.
                self._state = tree_map(backend.asarray, ctx.new_state())

        def backward(dy: Any, input_grad: bool = True) -> tuple[Array | None, Params]:
            if dy is None:
                raise TypeError("dy must be an array of the output's shape, got None")
            with backend.scope():
                if backend.owns(y) and backend.owns(dy):  # most are: it need not be arranged
                    dy = _gradient(dy, y)
                else:
                    dy = map_arrays(_gradient, data.arrange(dy, row_shapes(y), "dy"), y)
                return layers_backward(dy, input_grad=input_grad)

        def _gradient(dy: Any, y: Array) -> Array:
            dy = data.to_backend(dy, backend, "dy")
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
            x: array-like of shape ``(rows, *input_shape)``, or a tuple or dictionary of these for a
                network with several inputs. Of a memory map, and of an array on the host that takes
                more than half of the device's free memory, so many rows are brought to the device
                at a time.
            batch_size: the largest number of rows computed at a time, which bounds the memory.
            on_host: whether to return a NumPy array, to which each batch is copied when it is done: for
                outputs that do not fit on the device together; default False.

        Raises:
            OutOfMemoryError: the device has too little memory; the message says what to try.
        """
        predictor = self._predictor
        if predictor is None or predictor.layers is not self.layers:
            predictor = self._predictor = Predictor(self.layers, self.backend)
            self._repeats = self._inputs.takes == "numbers"  # indices are checked each time
        if batch_size is BATCH_ROWS and on_host is False and self._repeats:  # none is given
            y = predictor.repeat(self._params, self._state, x)  # type: ignore[arg-type]
            if y is not None:
                return y
        self._refuse_raw_data(x)
        batch_size, on_host = check_size("batch_size", batch_size), check_flag("on_host", on_host)
        return self._predict(x, batch_size=batch_size, on_host=on_host)

    @guarded("predict")
    def _predict(self, x: Any, *, batch_size: int, on_host: bool) -> Array:
        backend, predictor = self.backend, self._predictor
        assert predictor is not None
        with backend.scope():
            reader = RowReader(x, self._inputs, backend, batch_size, on_host)
            if self._params is None:
                self.build(reader.shapes)
            own = self.params, self._state
            if not (reader.reads_ahead or on_host):
                return predictor.predict(*own, reader.x, batch_size, reader.bring)
            batch = batch_rows(self.params, reader.x, backend, batch_size)
            outputs = predictor.outputs(*own, reader.batches(batch))
            if not on_host:
                return predictor.join(outputs, count_rows(reader.x))
            parts = [map_arrays(backend.to_numpy, y) for y in outputs]
            return map_arrays(lambda *same: np.concatenate(same), *parts)

    @guarded("initialize_from")
    def initialize_from(self, x: Any) -> Self:
        """Set the parameters that layers derive from data, by one forward pass; return the network.

        A layer such as :class:`~nnbackend.layers.ScaledDense` then begins with outputs of unit deviation
        on these rows. Layers go first to last: each gets the rows as those before it leave them, with
        their new parameters, and as in ``predict``, where dropout does nothing. What is drawn depends on
        the network's seed and the layer's place, so that backends agree to rounding. Layers with frozen
        parameters stay as they are, and so do all that have no method ``adapt``.

        Args:
            x: array-like of shape ``(rows, *input_shape)``, or a tuple or dictionary of these: some
                hundred rows, as of a batch of training. They are computed at a time.

        Raises:
            ValueError: no layer derives its parameters from data, the network was trained before, which
                would be lost, or data do not fit; nothing has changed then.
            OutOfMemoryError: the device has too little memory for so many rows.
        """
        check_adapts(self.layers)
        if self.trained[0]:
            raise ValueError(
                f"the network was trained for {self.trained[0]} steps, which initialize_from would undo "
                "in part: call it before fit, or on a new network"
            )
        with self.backend.scope(), self._unbuilt_if_refused():
            rows = self._rows(x)
            own = self.layers, self.params, rows, self._state, self.backend
            self.params = adapted_params(*own, self.seed, self.frozen)
        return self

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Return an array of this network's backend as a NumPy array."""
        return self.backend.to_numpy(array)

    def summary_rows(self) -> list[summary.SummaryRow]:
        """Return what a summary says of each layer, each followed by the layers inside it.

        A row has the attributes ``path``, ``layer``, ``output_shape``, ``parameters``,
        ``multiply_adds``, ``activations`` and ``is_inside``; a layer's numbers hold those of the layers
        inside it.
        """
        return summary.list_rows(self.layers.layers, self.input_shape, self._params)

    def summary(self) -> str:
        """Return a table of layers with output shapes, parameters, multiply-adds and activations.

        Layers inside a layer follow it, by their paths, and are part of its numbers. ``multiply-adds``
        are the multiplications of inputs with weight matrices and kernels, each followed by an addition,
        in a forward pass of one row; ``?`` for a layer of yours that does not say how often it uses its
        own (by a method ``multiply_adds(input_shape, output_shape)``). ``activations`` is the memory of
        the outputs for one row, which training keeps for its backward pass.
        """
        return summary.write_table(self.summary_rows(), self.input_shape, self.backend)

    def __repr__(self) -> str:
        layers = ", ".join(describe_layer(layer) for layer in self.layers.layers)
        precision = ""
        if self.backend.precision != self.backend.dtype_name:
            precision = f"precision={self.backend.precision!r}, "
        return (
            f"Network([{layers}], backend={self.backend.name!r}, {precision}"
            f"input_shape={self.input_shape})"
        )

    def _repr_html_(self) -> str:
        """Return the network's drawing and summary, which a notebook shows."""
        from nnbackend.drawing.notebook import network_html  # an import would wait for it

        return network_html(self)  # type: ignore[arg-type]

    def _refuse_raw_data(self, x: Any) -> None:
        """Refuse the table or the array itself where the network takes scaled numbers."""
        if "array" in self.metadata and getattr(getattr(x, "dtype", None), "kind", "f") in "biu":
            raise ValueError(
                "this network takes arrays that are scaled as in its training, and these are whole "
                "numbers; nnb.tables.load(path) predicts from the array itself"
            )
        if "table" in self.metadata and hasattr(x, "columns"):
            raise ValueError(
                "this network takes the encoded columns of a table; nnb.tables.load(path) predicts "
                "from the table itself"
            )

    @contextlib.contextmanager
    def _unbuilt_if_refused(self) -> Iterator[None]:
        """Undo the building of the network if the data are refused, for their shape must not stay."""
        built = self._params is not None
        try:
            yield
        except Exception:
            if not built:
                self._params = self.input_shape = self.output_shape = None
                self._state = {}
            raise

    def _rows(self, x: Any) -> Array:
        """Return data on the backend; build an unbuilt network for them."""
        x = data.inputs(x, self.backend, self._inputs)
        if self._params is None:
            self.build(row_shapes(x))
        return x

    @property
    def _inputs(self) -> InputSpec:
        """The inputs that the network takes."""
        known, shape = self._input_spec, self.input_shape
        if known is None or known[0] is not self.layers:
            known = self._input_spec = self.layers, InputSpec.of(self.layers, shape, self.backend)
        elif known[1].shape != shape:
            known = self._input_spec = self.layers, dataclasses.replace(known[1], shape=shape)
        return known[1]
