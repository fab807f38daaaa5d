"""Depthwise convolutions: each channel by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.activations import ActivationFunction
from nnbackend.constraints import Constraint
from nnbackend.core.checks import set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.layers.convolution.base import ConvolutionLayer, windowed
from nnbackend.layers.spatial import (
    Padding,
    Sizes,
    check_input,
    input_lengths,
    output_lengths,
    output_shape,
)
from nnbackend.regularizers import Regularizer

__all__ = ["DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D"]


@dataclass(frozen=True)
class DepthwiseConvolution(ConvolutionLayer):
    """A depthwise convolution over any number of spatial axes; see :class:`DepthwiseConv2D`."""

    kernel_size: int | Sizes
    multiplier: int = 1
    stride: int | Sizes = 1
    padding: Padding = "valid"
    dilation: int | Sizes = 1
    activation: str | ActivationFunction | None = None
    bias: bool = True
    channels: str = "last"
    padding_mode: str = "zeros"
    initializer: str | Initializer | None = None
    bias_initializer: str | Initializer = "zeros"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    # Glorot's fan-out counts all channels, of which an output sees one.
    plain_initializer: ClassVar[str | None] = "lecun_uniform"

    def __post_init__(self) -> None:
        set_size(self, "multiplier")
        self._check_fields()

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (*size, 1, in * multiplier) and ``bias``, and the output's shape."""
        lengths, count = input_lengths(input_shape, self.axes, self.channels)
        pairs = self._pairs(lengths)
        counts = output_lengths(lengths, self.kernel_size, self.stride, pairs, self.dilation)  # type: ignore[arg-type]
        shape = (*self.kernel_size, 1, count * self.multiplier)  # type: ignore[misc]
        params = {"weight": rng.draw(self.initializer, shape, "weight")}  # type: ignore[arg-type]
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, shape[-1:], "bias")  # type: ignore[arg-type]
        return params, output_shape(counts, shape[-1], self.channels)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: those of a window in one channel for each output."""
        return math.prod(output_shape) * math.prod(self.kernel_size)  # type: ignore[arg-type]

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``f(x * weight + bias)``, each channel by itself."""
        weight = params["weight"]
        count = weight.shape[-1] // self.multiplier
        check_input(x, self.axes, count, ctx, self.channels)
        lengths, _ = input_lengths(tuple(x.shape[1:]), self.axes, self.channels)
        linear = windowed(weight, self, self._pairs(lengths), count, ctx)
        return self._run(params, x, ctx, linear)


@register_layer
@dataclass(frozen=True)
class DepthwiseConv1D(DepthwiseConvolution):
    """A convolution of each channel by itself over one spatial axis; see :class:`DepthwiseConv2D`.

    Shapes: (batch, length, in) → (batch, length', in * multiplier); weight (size, 1, in * multiplier).

    Args:
        kernel_size: the size of a window.
        multiplier: the number of outputs of a channel; default 1.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: see :class:`DepthwiseConv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class DepthwiseConv2D(DepthwiseConvolution):
    """A convolution of each channel by itself over two spatial axes.

    ``z[n, i, j, c m + k] = sum over a, b of x[n, i s + a d, j s + b d, c] weight[a, b, 0, c m + k]
    + bias[c m + k]`` with multiplier m, stride s and dilation d: a :class:`Conv2D` with as many
    groups as channels, and its gradients.

    Shapes: (batch, height, width, in) → (batch, height', width', in * multiplier); weight (height,
    width, 1, in * multiplier).

    Args:
        kernel_size: the size of a window: a number, or one for height and one for width.
        multiplier: the number of outputs of a channel; default 1.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: the initializer of the weight. None (the default): He's (uniform) before an
            activation of the ReLU family, LeCun's (uniform) otherwise.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.

    Source: Chollet (2017), arXiv:1610.02357; PyTorch's Conv2d with ``groups=in_channels``, Keras's
    DepthwiseConv2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class DepthwiseConv3D(DepthwiseConvolution):
    """A convolution of each channel by itself over three spatial axes; see :class:`DepthwiseConv2D`.

    Shapes: (batch, depth, height, width, in) → (batch, depth', height', width', in * multiplier); weight
    (depth, height, width, 1, in * multiplier).

    Args:
        kernel_size: the size of a window: a number, or one for each of depth, height and width.
        multiplier: the number of outputs of a channel; default 1.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: see :class:`DepthwiseConv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.
    """

    axes: ClassVar[int] = 3
