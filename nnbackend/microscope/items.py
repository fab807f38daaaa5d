"""What one can choose under the microscope: neurons, weights, biases and images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nnbackend.core.shapes import Shapes
from nnbackend.microscope.dense_formulas import chosen_units, chosen_weights
from nnbackend.microscope.formulas import Number, busiest
from nnbackend.microscope.loss_formulas import output_units
from nnbackend.microscope.snapshot import Snapshot
from nnbackend.microscope.views import View
from nnbackend.microscope.window_formulas import MOST_CHANNELS, Window, place_in

__all__ = [
    "Image",
    "Item",
    "input_items",
    "layer_images",
    "output_items",
    "unit_items",
    "window_items",
]

_MOST_PIXELS = 400


@dataclass(frozen=True)
class Item:
    """A neuron, a weight or a bias.

    Attributes:
        key: ``"neuron:1:0"`` (layer, unit; the inputs are layer 0), ``"weight:1:0:2"`` (layer, input,
            unit) or ``"bias:1:2"``.
        name: its name in words.
        column: the number of its layer, the inputs being 0.
        numbers: its numbers by what they are ("sum", "result", "error", "delta", "target", "value",
            "gradient", "after"): one for each row, or one for all.
        shown_from: by the same names the step from which on each is known.
        window: row, column, height and width of the window in the image before, for a convolution.
    """

    key: str
    name: str
    column: int
    numbers: dict[str, list[Number]]
    shown_from: dict[str, str]
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Image:
    """A picture of numbers: an image, a channel of one, or attention weights.

    Attributes:
        title: what it shows.
        column: the number of the layer that it is the result of, the inputs being 0.
        height: its rows.
        width: its columns.
        numbers: for each row of the batch its numbers, row after row.
        item: the key of what is chosen with it; "" for nothing.
        step: the step from which on it is known.
    """

    title: str
    column: int
    height: int
    width: int
    numbers: list[list[Number]]
    item: str = ""
    step: str = "row"


def input_items(
    first: View, snapshot: Snapshot, shape: Shapes, names: Sequence[str], rows: int
) -> list[Item]:
    """Return the inputs, if a row of this shape is a vector, and the first layer takes all of it."""
    x = snapshot.arrays.get(f"{first.path}:x")
    if x is None or x.ndim != 2 or shape != x.shape[1:]:
        return []
    found = []
    for j in busiest(np.abs(x).max(axis=0), 16 if x.shape[1] <= 16 else 8):
        numbers = {"result": [Number(f"{first.path}:x", (row, j)) for row in range(rows)]}
        name = names[j] if names else f"input {j}"
        found.append(Item(f"neuron:0:{j}", name, 0, numbers, {"result": "row"}))
    return found


def output_items(
    views: Sequence[View], snapshot: Snapshot, names: Sequence[str], rows: int
) -> list[Item]:
    """Return the outputs of a network whose last layer has no units that are shown."""
    column, found = len(views), []
    for unit in output_units(snapshot):
        arrays = {"result": "prediction", "error": "output:gradient", "target": "target"}
        numbers = {
            what: [Number(array, (row, unit)) for row in range(rows)]
            for what, array in arrays.items()
            if snapshot.arrays[array].ndim == 2
        }
        known = {"result": "loss", "error": f"error:{column - 1}", "target": "row"}
        name = names[unit] if names else f"output {unit}"
        found.append(Item(f"neuron:{column}:{unit}", name, column, numbers, known))
    return found


def unit_items(
    views: Sequence[View],
    i: int,
    snapshot: Snapshot,
    inputs: Sequence[str],
    names: Sequence[str],
    rows: int,
) -> Iterator[Item]:
    """Yield the units of a layer, and their weights and biases.

    Args:
        views: the layers.
        i: the number of the layer among them.
        snapshot: the arrays of the step.
        inputs: the names of the inputs, or none.
        names: the names of the outputs, if it is the last layer; none otherwise.
        rows: the number of rows.
    """
    view, column = views[i], i + 1
    y, path = snapshot.arrays[f"{view.end}:y"], view.path
    if y.ndim != 2:
        return
    is_last = i == len(views) - 1
    for unit in chosen_units(view, snapshot):
        name = names[unit] if names else f"unit {unit} of layer {path}"
        yield _neuron(view, i, unit, name, is_last, snapshot, rows)
    if view.has_feature_weights:
        for unit in chosen_units(view, snapshot):
            title = f"weight of {_source(views, i, unit, inputs)} in layer {path}"
            item = f"weight:{column}:{unit}:{unit}"
            yield _parameter(item, title, column, f"{path}.weight", (unit,))
    if not view.is_dense:
        return
    for unit in chosen_units(view, snapshot):
        target = names[unit] if names else f"unit {unit} of layer {path}"
        for j in chosen_weights(view, unit, snapshot):
            item = f"weight:{column}:{j}:{unit}"
            title = f"weight from {_source(views, i, j, inputs)} to {target}"
            yield _parameter(item, title, column, f"{path}.weight", (j, unit))
        if f"{path}.bias" in snapshot.arrays:
            item, title = f"bias:{column}:{unit}", f"bias of {target}"
            yield _parameter(item, title, column, f"{path}.bias", (unit,))


def _source(views: Sequence[View], i: int, j: int, inputs: Sequence[str]) -> str:
    view = views[i]
    if i and views[i - 1].last.y is view.first.x:
        return f"unit {j} of layer {views[i - 1].path}"
    if i == 0 and inputs and len(inputs) == view.first.x.shape[1]:
        return inputs[j]
    return f"input {j}" if i == 0 else f"input {j} of layer {view.path}"


def _neuron(
    view: View, i: int, unit: int, name: str, is_last: bool, snapshot: Snapshot, rows: int
) -> Item:
    step = f"forward:{i}"
    arrays = {"sum": f"{view.path}:z", "result": f"{view.end}:y", "error": f"{view.end}:dy",
              "delta": f"{view.path}:dz"}  # fmt: skip
    known = {"sum": step, "result": step, "error": f"error:{i}", "delta": f"delta:{i}"}
    if is_last and snapshot.arrays["target"].ndim == snapshot.arrays["prediction"].ndim == 2:
        arrays |= {"target": "target"}
        known |= {"target": "row"}
        if view.absorbed:
            arrays["result"], known["result"] = "prediction", "loss"
    numbers = {
        what: [Number(array, (row, unit)) for row in range(rows)]
        for what, array in arrays.items()
        if array in snapshot.arrays
    }
    shown_from = {what: known[what] for what in numbers}
    return Item(f"neuron:{i + 1}:{unit}", name, i + 1, numbers, shown_from)


def _parameter(item: str, title: str, column: int, name: str, place: tuple[int, ...]) -> Item:
    numbers = {
        "value": [Number(name, place)],
        "gradient": [Number(f"{name}:gradient", place)],
        "after": [Number(f"{name}:after", place)],
    }
    known = {"value": "row", "gradient": "adjustment", "after": "update"}
    return Item(item, title, column, numbers, known)


def window_items(
    view: View, i: int, windows: Sequence[Window], snapshot: Snapshot, rows: int
) -> Iterator[Item]:
    """Yield the chosen windows of a convolution, and of each the weight that contributes most."""
    step, column = f"forward:{i}", i + 1
    known = {"sum": step, "result": step, "error": f"error:{i}", "delta": f"delta:{i}"}
    arrays = {"sum": f"{view.path}:z", "result": f"{view.end}:y", "error": f"{view.end}:dy",
              "delta": f"{view.path}:dz"}  # fmt: skip
    for window in windows:
        places = [place_in(view, row, window.at, window.channel) for row in range(rows)]
        numbers = {what: [Number(name, p) for p in places] for what, name in arrays.items()}
        name = (
            f"channel {window.channel} of layer {view.path} at row {window.at[0]}, "
            f"column {window.at[1]}"
        )
        corner = window.top, window.left, window.height, window.width
        yield Item(f"neuron:{column}:{window.channel}", name, column, numbers, known, corner)
        if place := strongest_weight(view, window, snapshot):
            title = f"weight {list(place[:3])} of channel {window.channel} of layer {view.path}"
            yield _parameter(
                f"weight:{column}:{place[0]}.{place[1]}.{place[2]}:{window.channel}",
                title,
                column,
                f"{view.path}.weight",
                place,
            )


def strongest_weight(view: View, window: Window, snapshot: Snapshot) -> tuple[int, ...]:
    """Return the place of the weight that contributes most to a window; () if all is padding."""
    x, weight = snapshot.arrays[f"{view.path}:x"], snapshot.arrays[f"{view.path}.weight"]
    best: tuple[int, ...] = ()
    largest = -1.0
    for (a, b, c), at in window.inputs:
        size = abs(float(x[place_in(view, 0, at, c)]) * float(weight[a, b, c, window.channel]))
        if size > largest:
            best, largest = (a, b, c, window.channel), size
    return best


def layer_images(
    views: Sequence[View], i: int, snapshot: Snapshot, windows: Sequence[Window], rows: int
) -> Iterator[Image]:
    """Yield the images that a layer gives, and attention weights that it noted; i = -1: the input."""
    view = views[max(i, 0)]
    name = f"{view.path}:x" if i < 0 else f"{view.end}:y"
    array = snapshot.arrays.get(name)
    if array is not None and array.ndim == 4:
        yield from _channels(view, i, name, array.shape, snapshot, windows, rows)
    noted = snapshot.arrays.get(f"{view.path}:attention") if i >= 0 else None
    if noted is not None and noted.ndim in (3, 4) and noted.shape[-1] * noted.shape[-2] <= 400:
        heads = noted.shape[1] if noted.ndim == 4 else 1
        for head in range(min(heads, MOST_CHANNELS)):
            numbers = [
                [
                    Number(
                        f"{view.path}:attention",
                        (row, *((head,) if noted.ndim == 4 else ()), q, k),
                    )
                    for q in range(noted.shape[-2])
                    for k in range(noted.shape[-1])
                ]
                for row in range(rows)
            ]
            title = f"attention of head {head}" if noted.ndim == 4 else "attention"
            title += ": a row for each query, a column for each key"
            size = noted.shape[-2], noted.shape[-1]
            yield Image(title, i + 1, *size, numbers, step=f"forward:{i}")


def _channels(
    view: View,
    i: int,
    name: str,
    shape: tuple[int, ...],
    snapshot: Snapshot,
    windows: Sequence[Window],
    rows: int,
) -> Iterator[Image]:
    """Yield the channels of images that are shown."""
    last = getattr(view.layer, "channels", "last") == "last"
    height, width, channels = shape[1:] if last else (*shape[2:], shape[1])
    if height * width > _MOST_PIXELS:
        return
    sizes = np.abs(snapshot.arrays[name]).max(axis=(0, 1, 2) if last else (0, 2, 3))
    shown = [w.channel for w in windows] if i >= 0 and windows else busiest(sizes, MOST_CHANNELS)
    for channel in shown:
        numbers = [
            [
                Number(name, (row, p, q, channel) if last else (row, channel, p, q))
                for p in range(height)
                for q in range(width)
            ]
            for row in range(rows)
        ]
        title = f"channel {channel}" if channels > 1 else "image"
        item = f"neuron:{i + 1}:{channel}" if windows and i >= 0 else ""
        step = f"forward:{i}" if i >= 0 else "row"
        yield Image(title, i + 1, height, width, numbers, item, step)
