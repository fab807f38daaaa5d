"""The networks that ``nnbackend train`` builds: a multilayer perceptron or a convolutional network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import nnbackend as nnb
from nnbackend.core.types import Layer
from nnbackend.regularizers import ElasticNet

if TYPE_CHECKING:
    from nnbackend.cli.settings import Settings

__all__ = ["MODELS", "build_layers", "default_model", "default_widths"]

MODELS = ("mlp", "cnn")

_CONVOLUTIONS: dict[
    int, tuple[Any, Any, Any, int]
] = {  # by spatial axes; the last: the kernel's size
    1: (nnb.Conv1D, nnb.MaxPool1D, nnb.GlobalAveragePool1D, 5),
    2: (nnb.Conv2D, nnb.MaxPool2D, nnb.GlobalAveragePool2D, 3),
    3: (nnb.Conv3D, nnb.MaxPool3D, nnb.GlobalAveragePool3D, 3),
}
_POOLED_SIZE = 8  # an axis that is shorter is not pooled
_MOST_POOLS = 5
_FLAT_POSITIONS = 64  # of more the average is taken
_SMALL = 256  # positions of a row that starts with twice the channels
_MOST_WIDTH = 128


def default_model(input_shape: tuple[int, ...]) -> str:
    """Return the network for rows of a shape: ``cnn`` for signals, images and volumes."""
    return "cnn" if len(input_shape) - 1 in _CONVOLUTIONS else "mlp"


def default_widths(model: str, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths of the hidden layers of a network for rows of a shape.

    A ``cnn`` has a convolution for each time that its longest axis is halved, each with twice the
    channels, and one after those.
    """
    if model == "mlp":
        return (64,)
    sizes = input_shape[:-1]
    halvings = min(max(max(sizes).bit_length() - 3, 0), _MOST_POOLS)
    first = 32 if math.prod(sizes) <= _SMALL else 16
    widths = [min(first << i, _MOST_WIDTH) for i in range(halvings + 1)]
    return (*widths, widths[-1])


def build_layers(settings: Settings, outputs: int, input_shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers of a network with that many outputs.

    Raises:
        ValueError: a ``cnn`` is not possible for rows of that shape, or has no convolution.
    """
    penalty = ElasticNet(settings.l1, settings.l2) if settings.l1 or settings.l2 else None
    common: dict[str, Any] = {"initializer": settings.init, "regularizer": penalty}
    model = settings.model or default_model(input_shape)
    widths = default_widths(model, input_shape) if settings.hidden is None else settings.hidden
    build = _convolutional_layers if model == "cnn" else _dense_layers
    dropout: list[Layer] = [nnb.Dropout(settings.dropout)] if settings.dropout else []
    hidden = build(settings, widths, input_shape, common, dropout)
    last = nnb.Dense(outputs, settings.output_activation, bias=settings.bias, **common)
    return [*hidden, last]


def _dense_layers(
    settings: Settings,
    widths: Any,
    input_shape: tuple[int, ...],
    common: dict[str, Any],
    dropout: list[Layer],
) -> list[Layer]:
    """Return the hidden layers of a multilayer perceptron."""
    layers: list[Layer] = [nnb.Flatten()] if len(input_shape) > 1 else []
    for width in widths:
        layers += [nnb.Dense(width, settings.activation, bias=settings.bias, **common), *dropout]
    return layers


def _convolutional_layers(
    settings: Settings,
    widths: Any,
    input_shape: tuple[int, ...],
    common: dict[str, Any],
    dropout: list[Layer],
) -> list[Layer]:
    """Return the hidden layers of a convolutional network.

    Each width is a convolution with batch normalization and the activation; between two of them the axes
    that are long enough are halved by pooling. At the end the positions are flattened, or averaged where
    there are many.
    """
    *sizes, _ = input_shape
    if len(sizes) not in _CONVOLUTIONS:
        raise ValueError(
            "--model cnn is for signals, images and volumes, with 1 to 3 axes beside the channels; a "
            f"row here has {len(sizes)}; --model mlp takes any shape"
        )
    if not widths:
        raise ValueError("--hidden none is a linear model, and --model cnn has convolutions")
    conv, pool, average, kernel = _CONVOLUTIONS[len(sizes)]
    layers: list[Layer] = []
    for place, width in enumerate(widths):
        halved = [2 if size >= _POOLED_SIZE else 1 for size in sizes]
        if place and max(halved) > 1:
            layers.append(pool(tuple(halved)))
            sizes = [size // by for size, by in zip(sizes, halved, strict=True)]
        layers += [
            conv(width, kernel, padding="same", bias=False, **common),
            nnb.BatchNorm(),
            nnb.Activation(settings.activation),
        ]
    layers.append(nnb.Flatten() if math.prod(sizes) <= _FLAT_POSITIONS else average())
    return [*layers, *dropout]
