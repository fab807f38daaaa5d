"""Draw a network: the whole way from its layers to a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.checks import (
    check_choice,
    check_flag,
    check_items,
    check_network,
    check_size,
    check_text,
)
from nnbackend.core.shapes import is_shape
from nnbackend.drawing.blocks import choose_parts, draw_blocks
from nnbackend.drawing.circles import draw_circles
from nnbackend.drawing.drawing import Drawing
from nnbackend.drawing.neurons import Column, find_columns
from nnbackend.drawing.svg import Svg
from nnbackend.drawing.text import clean, digits
from nnbackend.drawing.words import count_text, lines_of, shape_text
from nnbackend.inspection.observe import Passage, observe
from nnbackend.inspection.shape_trace import Traced, trace_shapes

if TYPE_CHECKING:
    from nnbackend.losses import Loss
    from nnbackend.network import Network

__all__ = ["check_names", "draw"]

_MOST_LINES = 60  # of a description


def draw(
    network: Network,
    x: Any = None,
    y: Any = None,
    loss: str | Loss | None = None,
    *,
    gradients: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    style: str = "auto",
    depth: int | None = None,
    gather: bool = True,
    title: str | None = None,
) -> Drawing:
    """Draw a network: a small one as circles and lines with its numbers, others as blocks.

    Circles are for Dense layers of at most 16 units one after the other, with activations and dropout
    between them. A line is a weight: the wider the larger, dashed where it is negative. With ``x`` each
    circle shows the sum that it takes and, below it, its result; with ``gradients`` lines are the
    gradients of the weights, and below a circle are those of its result (``dy``) and its sum (``dz``).
    All numbers are those of :func:`nnbackend.observe`, in four digits.

    In blocks the width stands for features, the height for resolution (both by their logarithm), layers
    that come several times in a row are drawn once, and layers inside layers are in a frame.

    >>> nnb.draw(net, [4, 8], input_names=["hours studied", "hours slept"]).save("net.svg")

    Args:
        network: a network that is built, or is built for ``x``.
        x: one row, of shape ``input_shape`` or ``(1, *input_shape)``, whose numbers are shown; only with
            circles. Default None: no numbers but those of weights.
        y: the target of the row, which is shown beside the result: a number for each output, or the
            number of a class.
        loss: the loss for ``gradients``, see :func:`nnbackend.observe`; None: that of the last fit.
        gradients: whether the way back is shown, of a training pass; needs ``x`` and ``y``.
        input_names: a name for each number of a row.
        output_names: a name for each output.
        style: ``"circles"``, ``"blocks"`` or ``"auto"`` (the default), which chooses circles where they
            are possible; ``Drawing.note`` says why not.
        depth: how many levels of layers inside layers are opened, in blocks; None (the default): all,
            as long as that makes no more than 600 blocks.
        gather: whether layers that come several times in a row are drawn once, in blocks; default True.
        title: what a screen reader reads first; default: the layers in short.

    Raises:
        ValueError: the network is not built; ``x`` is not one row, or there are numbers to show and
            circles are not possible; names that are not as many as inputs or outputs; more than 1,500
            blocks.
        TypeError: ``network`` is none.
    """
    check_network(network)
    check_choice("style", style, ("auto", "circles", "blocks"))
    check_flag("gather", gather)
    if depth is not None:
        check_size("depth", depth, least=0)
    _check_asked(x, y, loss, gradients)
    passages, target = _pass_of(network, x, y, loss, gradients)
    inputs = check_names("input_names", input_names, network.input_shape)
    outputs = check_names("output_names", output_names, network.output_shape)
    columns, reason = _columns(network, style, passages)
    if style == "circles" and reason:
        raise ValueError(f"the network cannot be drawn as circles: {reason}")
    traced = trace_shapes(network.layers, network.input_shape)
    name = clean(title if title is not None else _title(traced))
    description = "; ".join(_described(traced))
    svg, note = Svg(), ""
    if columns:
        shown = None if target is None else _target_values(target, columns[-1].size)
        size = draw_circles(svg, columns, inputs, outputs, shown)
        description += _numbers_in_words(columns, inputs, outputs, shown)
    elif x is not None:
        raise ValueError(
            "the numbers of a row are shown in circles, and this network is drawn as blocks"
            f"{': ' if reason else ''}{reason}; leave x out, or see them by nnb.observe(network, x)"
        )
    else:
        parts, closed = choose_parts(traced, depth, gather, inputs, outputs)
        note = "; ".join(filter(None, (reason, closed)))
        size = draw_blocks(svg, parts, network.layers, traced, note)
    text = svg.to_text(*size, name, description)
    return Drawing(text, "circles" if columns else "blocks", name, description, note)


def _pass_of(
    network: Network, x: Any, y: Any, loss: str | Loss | None, gradients: bool
) -> tuple[list[Passage], Any]:
    """Return what happens to a row in the network, which is built for it, and the row's target."""
    if x is None:
        if network.input_shape is None:
            raise ValueError(
                "the network is not built, and without shapes there is nothing to draw: give the "
                "network input_shape=, call build(input_shape), fit it, or draw it with a row x"
            )
        return [], None
    row = _one_row(x, network)
    if network.input_shape is None:
        network.predict(row)  # builds it, or says that the row does not fit
    target = None if y is None else _target(y, network)
    return observe(network, row, target, loss) if gradients else observe(network, row), target


def _check_asked(x: Any, y: Any, loss: Any, gradients: bool) -> None:
    """Refuse what has no meaning without something else."""
    check_flag("gradients", gradients)
    if x is None and (y is not None or gradients):
        what = "the target y belongs" if y is not None else "gradients belong"
        raise ValueError(f"{what} to a row: give x")
    if gradients and y is None:
        raise ValueError(
            "gradients are those of a loss, which compares outputs with targets: give y"
        )
    if loss is not None and not gradients:
        raise ValueError("a loss is for the way back: give gradients=True as well")


def _one_row(x: Any, network: Network) -> Any:
    """Return a row as a batch of one."""
    if isinstance(x, dict | tuple) and not (network.input_shape and is_shape(network.input_shape)):
        return x  # several inputs, which are refused later
    shape = tuple(np.shape(x))
    wanted = network.input_shape
    axes = len(shape) if wanted is None or not is_shape(wanted) else len(wanted)
    if wanted is None and len(shape) == 2:
        axes = 1
    if len(shape) == axes:
        return x[None, ...] if hasattr(x, "shape") else [x]
    if len(shape) == axes + 1 and shape[0] == 1:
        return x
    what = f"one row of shape {wanted}" if wanted is not None else "one row"
    raise ValueError(f"x must be {what} to be drawn, got an array of shape {shape}")


def _target(y: Any, network: Network) -> NDArray[Any]:
    """Return the target of the row as a batch of one: numbers, or the number of a class."""
    owned = network.backend.owns(y)
    values: NDArray[Any] = network.to_numpy(y) if owned else np.asarray(y)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"y must be numbers, got {values.dtype} values")
    shape: Any = network.output_shape
    if values.size == np.prod(shape):
        return values.reshape(1, *shape)
    if values.size == 1 and len(shape) == 1:
        label = float(values.reshape(())[()])
        if label.is_integer() and 0 <= label < shape[0]:
            return values.reshape(1).astype(np.int64)
    raise ValueError(
        f"y must be the target of one row: {shape_text(shape)} numbers, one for each output, or the "
        f"number of a class; got an array of shape {values.shape}"
    )


def _target_values(target: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the target of each output; of a class 1, of the others 0."""
    if target.size == size:
        return target.reshape(size)
    shares: NDArray[Any] = (np.arange(size) == target[0]).astype(np.float64)
    return shares


def check_names(argument: str, names: Sequence[str] | None, shape: Any) -> list[str]:
    """Return names, as many as a row has numbers; none of None."""
    if names is None:
        return []
    items = check_items(argument, names, "a sequence of names")
    for i, name in enumerate(items):
        check_text(f"{argument}[{i}]", name)
    if not isinstance(shape, tuple) or len(shape) != 1 or not is_shape(shape):
        raise ValueError(
            f"{argument} are those of single numbers, and a row is {shape_text(shape)}"
        )
    if len(items) != shape[0]:
        raise ValueError(f"{argument} must be {shape[0]} names, got {len(items)}")
    return [clean(name) for name in items]


def _columns(network: Network, style: str, passages: list[Passage]) -> tuple[list[Column], str]:
    """Return the columns of circles; or none, and why not."""
    if style == "blocks":
        return [], ""
    by_path = {passage.path: passage for passage in passages}
    backend = network.backend
    with backend.scope():
        return find_columns(
            network.layers, network.input_shape, network.params, by_path, backend.to_numpy
        )


def _title(traced: Traced) -> str:
    """Return a network in short: the sizes of its layers, or how many layers it has."""
    if all(len(one.output_shape) == 1 for one in traced.inside if is_shape(one.output_shape)):
        sizes = [shape_text(one.output_shape) for one in traced.inside if one.parameters]
        if len(sizes) <= 12:
            return "Network " + " \u2192 ".join([shape_text(traced.input_shape), *sizes])
    count = len(traced.inside)
    return f"Network of {count} layer{'s' * (count != 1)}, {count_text(traced.parameters)}"


def _described(traced: Traced) -> list[str]:
    """Return what is drawn, in words."""
    lines = lines_of(traced)
    more = len(lines) - _MOST_LINES
    shown = [f"input {shape_text(traced.input_shape)}", *lines[:_MOST_LINES]]
    return [*shown, f"and {more} layers more"] if more > 0 else shown


def _numbers_in_words(
    columns: list[Column], inputs: list[str], outputs: list[str], targets: NDArray[Any] | None
) -> str:
    """Return the row and its results in words; "" without a row."""
    first, last = columns[0].results, columns[-1].results
    if first is None or last is None:
        return ""
    given = _named("input", inputs, first)
    text = f". For {given} the result is {_named('output', outputs, last)}"
    if targets is not None:
        text += f"; the target is {', '.join(digits(float(value)) for value in targets)}"
    return text


def _named(kind: str, names: list[str], values: Any) -> str:
    shown = [digits(float(value)) for value in values]
    names = names or [f"{kind} {i}" for i in range(len(shown))]
    return ", ".join(f"{name} {text}" for name, text in zip(names, shown, strict=True))
