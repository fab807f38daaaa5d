"""Explain one training step of a network: the whole way from rows to an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnbackend import optimizers
from nnbackend.callbacks.record import Record
from nnbackend.core.checks import check_network
from nnbackend.core.shapes import is_shape
from nnbackend.core.tree import count_rows, map_arrays
from nnbackend.drawing.draw import check_names, draw
from nnbackend.drawing.drawing import Drawing
from nnbackend.microscope.builder import Builder
from nnbackend.microscope.explanation import Explanation
from nnbackend.microscope.moments import StepTaker
from nnbackend.microscope.snapshot import Values
from nnbackend.optimizers import LBFGS, Optimizer

if TYPE_CHECKING:
    from nnbackend.losses import Loss
    from nnbackend.network import Network

__all__ = ["explain"]

MOST_ROWS = 8


def explain(
    network: Network,
    x: Any,
    y: Any,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    *,
    record: Record | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Explanation:
    """Explain one training step on a row or a few: forward, loss, the way back, and the update.

    ``print`` shows the step as a table, a notebook as a page: the network drawn, to step through, with
    the formula of each neuron and weight in symbols and in numbers; ``save`` writes the page to a
    file. The network stays as it is. All numbers are the library's; dropout masks are those of the
    network's next step. Of layers of more than 16 units the busiest are shown, of convolutions the
    busiest channels, each by the window with the largest result; of other layers the smallest, mean
    and largest number.

    >>> nnb.explain(net, [2.0, 9.0], 0.92, "mse", nnb.SGD(1.0)).save("explain.html")

    Args:
        network: the network; one that is not built is built for ``x``, as a copy.
        x: one row, of shape ``input_shape``, or at most 8, ``(rows, *input_shape)``: their step.
        y: the target of each row: a number for each output, or the number of a class; of a class for
            each word, for outputs of shape (words, classes).
        loss: see :func:`nnbackend.observe`; None (the default): that of the last fit.
        optimizer: a name or an object; default ``"adam"``. Its state, such as a momentum, begins anew:
            the update is its first step.
        record: what :class:`nnbackend.callbacks.Record` recorded of the training of this network: the
            page then has a slider over the moments, each explained with its parameters. None (the
            default): the network as it is.
        input_names: a name for each number of a row.
        output_names: a name for each output.

    Raises:
        ValueError: rows, targets, names or the record do not fit the network, there are more than 8
            rows, or no loss is given and there was no fit.
        TypeError: ``network`` or ``record`` is none.
    """
    check_network(network)
    chosen = optimizers.get(optimizer)
    if isinstance(chosen, LBFGS):
        raise ValueError("optimizer: L-BFGS has no single step from a gradient; give another one")
    if record is not None and not isinstance(record, Record):
        raise TypeError(f"record must be a nnbackend.callbacks.Record, got {type(record).__name__}")
    if loss is None:
        if network._last is None:
            raise ValueError("the network was not fitted here: say which loss, loss=...")
        loss = network._last.loss
    rows = _rows(x, network)
    copy = network.to()
    copy.predict(rows)  # builds it, or says that the rows do not fit
    count = count_rows(rows)
    targets = _targets(y, count, copy)
    inputs = check_names("input_names", input_names, copy.input_shape)
    outputs = check_names("output_names", output_names, copy.output_shape)
    drawing = _drawing(copy, rows, targets, loss, inputs, outputs)
    taker = StepTaker(copy, rows, targets, loss, chosen)
    shape = copy.input_shape or ()
    builder = Builder(network, taker.take(), chosen, count, shape, inputs, outputs)
    return builder.build(drawing, taker, record)


def _drawing(
    network: Network, rows: Any, targets: Any, loss: Any, inputs: list[str], outputs: list[str]
) -> Drawing:
    """Return the network as circles with the numbers of the first row, or as blocks."""
    names: dict[str, Any] = {"input_names": inputs or None, "output_names": outputs or None}
    plain = draw(network, **names)
    if plain.style == "blocks":
        return plain
    return draw(network, rows[:1], targets[:1], loss, gradients=True, **names)


def _rows(x: Any, network: Network) -> Any:
    """Return rows as a batch; of several inputs they have to be one."""
    wanted = network.input_shape
    if isinstance(x, dict | tuple) and not (wanted and is_shape(wanted)):
        rows = map_arrays(lambda a: a if hasattr(a, "shape") else np.asarray(a), x)
    else:
        rows = x if hasattr(x, "shape") else np.asarray(x)
        axes = len(wanted) if wanted is not None else max(len(rows.shape) - 1, 1)
        if len(rows.shape) == axes:
            rows = rows[None, ...]
        if len(rows.shape) != axes + 1:
            what = f"of shape {wanted}" if wanted is not None else "of numbers"
            raise ValueError(f"x must be a row {what}, or a few, got the shape {rows.shape}")
    if not 1 <= count_rows(rows) <= MOST_ROWS:
        raise ValueError(
            f"x must be 1 to {MOST_ROWS} rows to be explained, got {count_rows(rows):,}"
        )
    return rows


def _targets(y: Any, rows: int, network: Network) -> Any:
    """Return the targets of rows: a number for each output, or the number of a class."""
    owned = network.backend.owns(y)
    values: Values = network.to_numpy(y) if owned else np.asarray(y)
    shape: Any = network.output_shape
    if not is_shape(shape):
        raise ValueError("y: networks with several outputs are not explained, only observed")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"y must be numbers, got {values.dtype} values")
    if values.size == rows * int(np.prod(shape)):
        return values.reshape(rows, *shape)
    if shape and values.size == rows * int(np.prod(shape[:-1])):
        labels = values.reshape(rows, *shape[:-1]).astype(np.float64)
        if (labels == labels.round()).all() and ((labels >= 0) & (labels < shape[-1])).all():
            return labels.astype(np.int64)
    classes = f", or the numbers of classes below {shape[-1]}" if shape[-1:] > (1,) else ""
    raise ValueError(
        f"y must be the targets of {rows} row(s), of shape {shape} each{classes}; got an array of shape "
        f"{values.shape}"
    )
