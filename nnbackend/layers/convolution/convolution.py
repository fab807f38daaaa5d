"""Convolutions over one, two and three spatial axes."""

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

__all__ = ["Conv1D", "Conv2D", "Conv3D"]


@dataclass(frozen=True)
class Convolution(ConvolutionLayer):
    """A convolution over any number of spatial axes; see :class:`Conv2D`."""

    out_channels: int
    kernel_size: int | Sizes
    stride: int | Sizes = 1
    padding: Padding = "valid"
    dilation: int | Sizes = 1
    groups: int = 1
    activation: str | ActivationFunction | None = None
    bias: bool = True
    channels: str = "last"
    padding_mode: str = "zeros"
    initializer: str | Initializer | None = None
    bias_initializer: str | Initializer = "zeros"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "out_channels")
        set_size(self, "groups")
        self._check_fields()
        if self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide out_channels={self.out_channels}, got {self.groups}"
            )

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (*size, in / groups, out) and ``bias`` (out,), and the output's shape."""
        lengths, count = input_lengths(input_shape, self.axes, self.channels)
        if count % self.groups:
            raise ValueError(f"groups must divide the input's {count} channels, got {self.groups}")
        pairs = self._pairs(lengths)
        counts = output_lengths(lengths, self.kernel_size, self.stride, pairs, self.dilation)  # type: ignore[arg-type]
        shape = (*self.kernel_size, count // self.groups, self.out_channels)  # type: ignore[misc]
        params = {"weight": rng.draw(self.initializer, shape, "weight")}  # type: ignore[arg-type]
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, shape[-1:], "bias")  # type: ignore[arg-type]
        return params, output_shape(counts, self.out_channels, self.channels)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: the numbers of a window for each output."""
        _, count = input_lengths(input_shape, self.axes, self.channels)
        window = math.prod(self.kernel_size) * count // self.groups  # type: ignore[arg-type]
        return math.prod(output_shape) * window

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``f(x * weight + bias)``."""
        weight = params["weight"]
        check_input(x, self.axes, weight.shape[-2] * self.groups, ctx, self.channels)
        lengths, _ = input_lengths(tuple(x.shape[1:]), self.axes, self.channels)
        linear = windowed(weight, self, self._pairs(lengths), self.groups, ctx)
        return self._run(params, x, ctx, linear)


@register_layer
@dataclass(frozen=True)
class Conv1D(Convolution):
    """A convolution over one spatial axis; all else is as in :class:`Conv2D`.

    ``z[n, i, o] = sum over a, c of x[n, i stride + a dilation, c] weight[a, c, o] + bias[o]``

    Shapes: (batch, length, in) → (batch, length', out_channels); weight (size, in / groups,
    out_channels).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        groups: see :class:`Conv2D`; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first": (batch, channels, length).
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: see :class:`Conv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class Conv2D(Convolution):
    """A convolution over two spatial axes: an output for each window of the input.

    With stride s, dilation d, and ``x`` padded::

        z[n, i, j, o] = sum over a, b, c of x[n, i s + a d, j s + b d, c] weight[a, b, c, o] + bias[o]
        y = f(z)

        dz = dy * f'(z)
        dweight[a, b, c, o] = sum over n, i, j of x[n, i s + a d, j s + b d, c] dz[n, i, j, o]
        dbias = sum of dz over batch, height and width
        dx[n, p, q, c] = sum over the windows that (p, q) is in of dz[n, i, j, o] weight[a, b, c, o]

    (As everywhere in this field, the kernel is not flipped.)

    Shapes: (batch, height, width, in) → (batch, height', width', out_channels); weight (height of the
    kernel, width of the kernel, in / groups, out_channels); ``height' = (height + padding - dilation
    (size - 1) - 1) // stride + 1``.

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window: a number, or one for height and one for width.
        stride: the distance from one window to the next, likewise; default 1.
        padding: ``"valid"`` (the default), none. ``"same"``: so much that there are ``ceil(length /
            stride)`` windows along each axis; of an odd number the larger half is put behind, as Keras
            and TensorFlow do. A whole number: so much on each side. Or a tuple with a number, or a pair
            (before, after), for each axis.
        dilation: the distance from one number of a window to the next; default 1.
        groups: in how many parts channels and outputs are divided; outputs of a part see the channels
            of that part only. Default 1.
        activation: ``f``, a name or an object of :mod:`nnbackend.activations`; None (the default): the
            identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default), (batch, height, width, channels), or "first", (batch, channels,
            height, width), for input and output; the weight stays as it is. "last" is faster.
        padding_mode: what is put around the input: "zeros" (the default), "reflect" (the numbers inside
            the edge in reverse) or "edge" (the number at the edge again).
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`. None (the default): He's (uniform) before an activation of
            the ReLU family, Glorot's (uniform) otherwise.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight that is part of the loss, a name or an object of
            :mod:`nnbackend.regularizers`; default None.
        constraint: the constraint that the weight meets after each update, a name or an object of
            :mod:`nnbackend.constraints`; default None.

    Raises:
        ValueError: a size is below 1, padding is negative, ``groups`` does not divide
            ``out_channels``, or a name is not known; when the network is built, if the input has other
            axes, ``groups`` does not divide its channels, or the kernel is larger than the padded input.

    Source: LeCun et al. (1989), Neural Computation 1; PyTorch's Conv2d, Keras's Conv2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class Conv3D(Convolution):
    """A convolution over three spatial axes; all else is as in :class:`Conv2D`.

    Shapes: (batch, depth, height, width, in) → (batch, depth', height', width', out_channels); weight
    (depth, height and width of the kernel, in / groups, out_channels).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window: a number, or one for each of depth, height and width.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        groups: see :class:`Conv2D`; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: see :class:`Conv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.
    """

    axes: ClassVar[int] = 3
