"""A small network as columns of neurons with the numbers of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nnbackend.activations import Identity, LogSoftmax, Softmax, Sparsemax
from nnbackend.core.shapes import Shapes
from nnbackend.core.types import Layer, Params
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.observe import Passage
from nnbackend.layers import Activation, AlphaDropout, Dense, Dropout, GaussianNoise, Sequential

__all__ = ["MOST_COLUMNS", "MOST_UNITS", "Column", "find_columns"]

MOST_UNITS = 16
"""As many neurons a column of circles has."""

MOST_COLUMNS = 12
"""As many columns of circles a drawing has."""

_ONE_TO_ONE = (Activation, Dropout, AlphaDropout, GaussianNoise)

Values = NDArray[Any]


@dataclass
class Column:
    """The neurons of a layer; those of the inputs have no weights.

    Attributes:
        path: the place of the layer, a dotted name; "" for the inputs.
        text: the layer as text.
        size: the number of neurons.
        weight: the weights, (neurons before, neurons); None: each takes the neuron before it.
        bias: the bias of each neuron.
        sums: what each neuron gives its activation, for the row; None: no row, or no such sum.
        results: what each neuron gives.
        result_grads: the gradient of the loss with respect to the results.
        sum_grads: the gradient of the loss with respect to the sums.
        weight_grads: the gradient of the loss with respect to the weights.
        bias_grads: the gradient of the loss with respect to the biases.
        function: the activation as text; "" for none.
        absorbed: the activation that did not run, since the loss contains it, as text.
    """

    path: str
    text: str
    size: int
    weight: Values | None = None
    bias: Values | None = None
    sums: Values | None = None
    results: Values | None = None
    result_grads: Values | None = None
    sum_grads: Values | None = None
    weight_grads: Values | None = None
    bias_grads: Values | None = None
    function: str = ""
    absorbed: str = ""


@dataclass(frozen=True)
class _Row:
    """What one row did in each layer, by path."""

    passages: Mapping[str, Passage]
    to_numpy: Callable[[Any], Values]

    def of(self, rows: Any) -> Values | None:
        """Return the one row of an array; None of none."""
        return None if rows is None else self.to_numpy(rows)[0]


def find_columns(
    layers: Layer,
    input_shape: Shapes,
    params: Params,
    passages: Mapping[str, Passage],
    to_numpy: Callable[[Any], Values],
) -> tuple[list[Column], str]:
    """Return the columns of a network; or none, and why it cannot be drawn as circles.

    Args:
        layers: the network's layers.
        input_shape: the shape of a row.
        params: the parameters.
        passages: by path, what a row did in each layer; empty: there is no row.
        to_numpy: brings an array to the host.
    """
    if not isinstance(input_shape, tuple) or len(input_shape) != 1:
        return [], "a row of the input is no vector of numbers"
    if input_shape[0] > MOST_UNITS:
        return [], _too_many("the input", input_shape[0])
    row = _Row(passages, to_numpy) if passages else None
    columns = [Column("", "input", input_shape[0])]
    leaves = [*_leaves(layers, params)]
    for path, layer, own in leaves:
        reason = _add(columns, path, layer, own, row, to_numpy)
        if reason:
            return [], reason
    if len(columns) < 2:
        return [], "it has no layers of neurons"
    if len(columns) > MOST_COLUMNS:
        return [], f"it has {len(columns):,} columns of units, and circles at most {MOST_COLUMNS}"
    if row is not None:
        first = passages[leaves[0][0]]
        columns[0].results, columns[0].result_grads = row.of(first.x), row.of(first.dx)
    return columns, ""


def _leaves(layer: Layer, params: Params, prefix: str = "") -> Iterator[tuple[str, Layer, Params]]:
    """Yield the layers of nested Sequentials with their paths and parameters."""
    for i, child in enumerate(getattr(layer, "layers", ())):
        own = params.get(str(i), {})
        if type(child) is Sequential:
            yield from _leaves(child, own, f"{prefix}{i}.")
        else:
            yield f"{prefix}{i}", child, own


def _add(
    columns: list[Column],
    path: str,
    layer: Any,
    params: Params,
    row: _Row | None,
    to_numpy: Callable[[Any], Values],
) -> str:
    """Add the column of a layer, or its function to the column before; return why that cannot be."""
    last = columns[-1]
    passage = None if row is None else row.passages.get(path)
    if type(layer) is Dense:
        if layer.out_features > MOST_UNITS:
            return _too_many(f"layer {path}", layer.out_features)
        columns.append(_dense(path, layer, params, row, to_numpy))
        return ""
    if type(layer) not in _ONE_TO_ONE:
        return f"layer {path} is of type {type(layer).__name__}, which is not made of neurons"
    if row is not None and passage is None:
        # A loss that contains the activation takes the outputs before it.
        last.absorbed = _function(getattr(layer, "function", None))
        return ""
    ran: Any = layer if passage is None else passage.layer
    function = _function(ran.function) if isinstance(ran, Activation) else ""
    if isinstance(layer, Activation) and last.weight is not None and not last.function:
        last.path, last.function = path, function
        last.text += f" \u2192 {function}" if function else ""
        column = last
    elif function and not _is_elementwise(ran.function):
        return f"layer {path} is {describe_layer(layer)}, and follows no layer of neurons"
    else:
        column = Column(path, describe_layer(ran), last.size, function=function)
        columns.append(column)
    if isinstance(layer, Activation) and function != _function(layer.function):
        column.absorbed = _function(layer.function)
    if row is not None and passage is not None:
        column.results = row.of(passage.y)
        column.result_grads = row.of(passage.dy)
    return ""


def _too_many(what: str, count: int) -> str:
    return f"{what} has {count:,} units, and a column of circles at most {MOST_UNITS}"


def _is_elementwise(function: Any) -> bool:
    """Return whether an activation is known to take each number by itself."""
    own = type(function).__module__.startswith("nnbackend.activations.")
    return own and not isinstance(function, Softmax | LogSoftmax | Sparsemax)


def _dense(
    path: str,
    layer: Dense,
    params: Params,
    row: _Row | None,
    to_numpy: Callable[[Any], Values],
) -> Column:
    """Return the column of a Dense layer."""
    passage = None if row is None else row.passages[path]
    ran: Any = layer if passage is None else passage.layer  # a loss may contain its activation
    column = Column(path, _short(ran), layer.out_features, to_numpy(params["weight"]))
    column.bias = to_numpy(params["bias"]) if layer.bias else None
    column.function = _function(ran.activation)
    if row is None or passage is None:
        return column
    if column.function != _function(layer.activation):
        column.absorbed = _function(layer.activation)
    column.sums, column.results = row.of(passage.notes["z"]), row.of(passage.y)
    if passage.grads is not None:
        column.result_grads = row.of(passage.dy)
        column.sum_grads = row.of(passage.notes["dz"])
        column.weight_grads = to_numpy(passage.grads["weight"])
        column.bias_grads = to_numpy(passage.grads["bias"]) if layer.bias else None
    return column


def _short(layer: Dense) -> str:
    """Return a Dense layer as text: its size and its activation."""
    parts = [str(layer.out_features), _function(layer.activation)]
    return f"Dense({', '.join(filter(None, parts))})"


def _function(activation: Any) -> str:
    """Return an activation as text; "" for the identity."""
    if activation is None or isinstance(activation, Identity):
        return ""
    return describe_layer(Activation(activation))[len("Activation(") : -1]
