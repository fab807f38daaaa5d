"""The formulas of a convolution: for each channel the window whose result is largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nnbackend.layers.spatial import padding_pairs
from nnbackend.microscope.formulas import (
    DERIVATIVES,
    FUNCTIONS,
    Formula,
    Number,
    application,
    busiest,
    derivative,
    terms,
)
from nnbackend.microscope.snapshot import Snapshot
from nnbackend.microscope.views import View

__all__ = ["MOST_CHANNELS", "Window", "chosen_windows", "window_formulas"]

MOST_CHANNELS = 6
"""As many channels of a layer are shown, the busiest ones."""

_MOST_TERMS = 9  # of a sum; of more the busiest six


@dataclass(frozen=True)
class Window:
    """A window of an image and the result that it leads to.

    Attributes:
        channel: the channel of the output.
        at: row and column of the result.
        inputs: the places in the window as (a, b, c) of the weight with (row, column) in the image; what
            lies in the padding is left out.
        top: the first row of the window that lies in the image.
        left: the first column.
        height: how many rows of the image it spans.
        width: how many columns.
    """

    channel: int
    at: tuple[int, int]
    inputs: tuple[tuple[tuple[int, int, int], tuple[int, int]], ...]
    top: int
    left: int
    height: int
    width: int


def place_in(view: View, row: int, at: tuple[int, int], channel: int) -> tuple[int, ...]:
    """Return the place of a number of an image in its array."""
    layer: Any = view.layer
    return (row, *at, channel) if layer.channels == "last" else (row, channel, *at)


def chosen_windows(view: View, snapshot: Snapshot) -> list[Window]:
    """Return for each of the busiest channels the window with the largest result, of the first row."""
    layer: Any = view.layer
    results = _channels_last(view, np.abs(snapshot.arrays[f"{view.end}:y"]))[0]
    largest = results.max(axis=(0, 1))
    windows = []
    for channel in busiest(largest, MOST_CHANNELS):
        i, j = np.unravel_index(int(results[:, :, channel].argmax()), results.shape[:2])
        windows.append(_window(view, layer, (int(i), int(j)), channel, snapshot))
    return windows


def _channels_last(view: View, images: Any) -> Any:
    layer: Any = view.layer
    return images if layer.channels == "last" else np.moveaxis(images, 1, -1)


def _window(
    view: View, layer: Any, at: tuple[int, int], channel: int, snapshot: Snapshot
) -> Window:
    height, width, channels = _channels_last(view, snapshot.arrays[f"{view.path}:x"]).shape[1:]
    pairs = padding_pairs(
        layer.padding, (height, width), layer.kernel_size, layer.stride, layer.dilation
    )
    inputs = []
    for a, b in product(range(layer.kernel_size[0]), range(layer.kernel_size[1])):
        p = at[0] * layer.stride[0] + a * layer.dilation[0] - pairs[0][0]
        q = at[1] * layer.stride[1] + b * layer.dilation[1] - pairs[1][0]
        if 0 <= p < height and 0 <= q < width:
            inputs += [((a, b, c), (p, q)) for c in range(channels)]
    rows = [place[0] for _, place in inputs] or [0]
    columns = [place[1] for _, place in inputs] or [0]
    top, left = min(rows), min(columns)
    size = max(rows) - top + 1, max(columns) - left + 1
    return Window(channel, at, tuple(inputs), top, left, *size)


def window_formulas(
    view: View, i: int, windows: list[Window], snapshot: Snapshot, rows: int
) -> Iterator[Formula]:
    """Yield the formulas of windows, forward and back."""
    for window in windows:
        item = f"neuron:{i + 1}:{window.channel}"
        for row in range(rows):
            yield from _forward(view, i, window, row, item, snapshot)
            yield from _back(view, i, window, row, item)


def _forward(
    view: View, i: int, window: Window, row: int, item: str, snapshot: Snapshot
) -> Iterator[Formula]:
    path, step = view.path, f"forward:{i}"
    pairs = []
    for (a, b, c), at in window.inputs:
        x = Number(f"{path}:x", place_in(view, row, at, c))
        pairs.append((x, Number(f"{path}.weight", (a, b, c, window.channel))))
    sizes = np.array([_size(pair, snapshot) for pair in pairs])
    shown = busiest(sizes, _MOST_TERMS if len(pairs) <= _MOST_TERMS else 6)
    parts = terms([pairs[k] for k in shown], len(pairs) - len(shown))
    symbols = "z = sum over the window of input \u00b7 weight"
    if f"{path}.bias" in snapshot.arrays:
        parts += [" + ", Number(f"{path}.bias", (window.channel,))]
        symbols += " + bias"
    place = place_in(view, row, window.at, window.channel)
    z, y = Number(f"{path}:z", place), Number(f"{view.end}:y", place)
    yield Formula(step, item, row, symbols, (*parts, " = ", z))
    if name := view.function_name:
        symbols = f"y = {FUNCTIONS.get(name, f'{name}(z)')}"
        yield Formula(step, item, row, symbols, application(name, z, y))


def _size(pair: tuple[Number, Number], snapshot: Snapshot) -> float:
    x, weight = (float(snapshot.arrays[n.array][n.place]) for n in pair)
    return abs(x * weight)


def _back(view: View, i: int, window: Window, row: int, item: str) -> Iterator[Formula]:
    place = place_in(view, row, window.at, window.channel)
    error, delta = Number(f"{view.end}:dy", place), Number(f"{view.path}:dz", place)
    z, y = Number(f"{view.path}:z", place), Number(f"{view.end}:y", place)
    symbols = "error, as the layer behind hands it back"
    yield Formula(f"error:{i}", item, row, symbols, (error,))
    name = view.function_name
    symbols = DERIVATIVES.get(name, f"delta = error \u00b7 {name}'(z)")
    yield Formula(f"delta:{i}", item, row, symbols, derivative(name, error, z, y, delta))
