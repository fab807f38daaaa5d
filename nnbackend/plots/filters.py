"""The filters of a layer that sees an image: what each output looks for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.backends.host import host_numbers
from nnbackend.core.axes import get_axes
from nnbackend.core.checks import check_network, check_size
from nnbackend.core.layer_tree import children
from nnbackend.core.text import number
from nnbackend.core.tree import flatten
from nnbackend.core.types import Layer
from nnbackend.errors import unknown_name
from nnbackend.layers import Conv2D, Dense
from nnbackend.layers.normalization.wrapped import WrappedWeight

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["filters"]

_RGB = 3


def filters(
    net: Network,
    layer: str | None = None,
    *,
    shape: Sequence[int] | None = None,
    most: int = 64,
    ax: Any = None,
) -> Any:
    """Draw the weights of a layer as images, one for each output, from left to right and down.

    Gray is 0, black the negative and white the positive weight of the largest size among all images.
    Weights of 3 input channels are one image in red, green and blue; of other numbers of channels an
    image for each, side by side, with a row for each output.

    Args:
        net: the network.
        layer: the place of a ``Conv2D`` or ``Dense`` layer, as ``net.summary()`` has it: ``"0"``,
            ``"1.0"``. Default None: the first of either.
        shape: of the images that a Dense layer takes, flattened: (height, width) or (height, width,
            channels). A Conv2D has its own.
        most: at most so many outputs are drawn; default 64. The label below says what is left out.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes, with one image; between the filters it has empty lines.

    Raises:
        ValueError: the network is not built, there is no such layer, or the shape does not fit.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_network(net)
    path, found = _find(net, layer)
    weight = host_numbers(flatten(net.params)[f"{path}.weight"], "float64")
    if not np.isfinite(weight).all():
        raise ValueError(f"the weights of layer {path} are not finite")
    stacked = _images(weight, path, found, shape)
    count = min(check_size("most", most), len(stacked))
    ax = get_axes(ax)
    dark, bright, largest = _show(ax, stacked[:count])
    some = "" if count == len(stacked) else f"{count} of {len(stacked)} outputs; "
    ax.set_xlabel(f"{some}{dark}: -{number(largest)}, gray: 0, {bright}: {number(largest)}")
    ax.set_title(f"layer {path}: {type(found).__name__}")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_frame_on(False)
    return ax


def _show(ax: Any, images: NDArray[np.float64]) -> tuple[str, str, float]:
    """Draw images of shape (outputs, height, width, channels); return what is dark and bright."""
    largest = float(np.abs(images).max()) or 1.0
    outputs, *size, channels = images.shape
    across = math.ceil(math.sqrt(outputs))
    if channels == _RGB:
        grid = _grid(images / (2.0 * largest) + 0.5, across)
        ax.imshow(np.nan_to_num(grid.clip(0.0, 1.0), nan=1.0))
        return "dark", "bright", largest
    apart = np.moveaxis(images, -1, 1).reshape(-1, *size, 1)
    grid = _grid(apart, across if channels == 1 else channels)
    ax.imshow(grid[..., 0], cmap="gray", vmin=-largest, vmax=largest)
    return "black", "white", largest


def _find(net: Network, layer: str | None) -> tuple[str, Layer]:
    """Return the path of a layer, and the layer; of the first if none is named."""
    drawable = {
        path: each for path, each in _layers(net.layers) if isinstance(each, Conv2D | Dense)
    }
    if not drawable:
        raise ValueError("the network has no Conv2D and no Dense layer, whose weights are images")
    if layer is None:
        return next(iter(drawable.items()))
    if layer not in drawable:
        raise unknown_name("Conv2D or Dense layer", layer, drawable)
    return layer, drawable[layer]


def _layers(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield the layers inside a layer by path, but none whose weight is not what it computes with."""
    for name, child in children(layer):
        yield f"{prefix}{name}", child
        if not isinstance(child, WrappedWeight):
            yield from _layers(child, f"{prefix}{name}.")


def _images(
    weight: NDArray[np.float64], path: str, layer: Layer, shape: Sequence[int] | None
) -> NDArray[np.float64]:
    """Return the weights of a layer, shape (outputs, height, width, channels)."""
    if isinstance(layer, Conv2D):
        if shape is not None:
            raise ValueError(
                f"layer {path} is a Conv2D, whose filters have a shape: leave shape= out"
            )
        return np.moveaxis(weight, -1, 0)
    inputs = weight.shape[0]
    if shape is None:
        raise ValueError(
            f"layer {path} is a Dense layer of {inputs} inputs: say which image they are, "
            "shape=(height, width) or (height, width, channels)"
        )
    sizes = tuple(check_size("shape", size) for size in shape)
    if len(sizes) not in (2, 3) or math.prod(sizes) != inputs:
        raise ValueError(
            f"shape must be (height, width) or (height, width, channels) with {inputs} numbers, the "
            f"inputs of layer {path}; got {sizes}"
        )
    return weight.T.reshape(-1, *sizes[:2], *(sizes[2:] or (1,)))


def _grid(images: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Return images as one, row by row, with an empty line (NaN) between them."""
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    full = np.full((rows * columns, height + 1, width + 1, channels), np.nan)
    full[:count, :-1, :-1] = images
    across = full.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    return across.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
