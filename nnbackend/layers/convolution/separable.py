"""Separable convolutions: each channel by itself, then all channels of a place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.activations import ActivationFunction
from nnbackend.constraints import Constraint
from nnbackend.core.checks import set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer, LecunUniform
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

__all__ = ["SeparableConv1D", "SeparableConv2D"]


@dataclass(frozen=True)
class SeparableConvolution(ConvolutionLayer):
    """A separable convolution over any number of spatial axes; see :class:`SeparableConv2D`."""

    out_channels: int
    kernel_size: int | Sizes
    stride: int | Sizes = 1
    padding: Padding = "valid"
    dilation: int | Sizes = 1
    multiplier: int = 1
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
        set_size(self, "multiplier")
        self._check_fields()

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``depthwise``, ``weight`` and ``bias``, and the shape of the output."""
        lengths, count = input_lengths(input_shape, self.axes, self.channels)
        pairs = self._pairs(lengths)
        counts = output_lengths(lengths, self.kernel_size, self.stride, pairs, self.dilation)  # type: ignore[arg-type]
        inner = count * self.multiplier
        params = {
            "depthwise": rng.draw(LecunUniform(), (*self.kernel_size, 1, inner), "depthwise"),  # type: ignore[misc]
            "weight": rng.draw(self.initializer, (inner, self.out_channels), "weight"),  # type: ignore[arg-type]
        }
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, (self.out_channels,), "bias")  # type: ignore[arg-type]
        return params, output_shape(counts, self.out_channels, self.channels)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: a window of each channel, and all channels then."""
        _, count = input_lengths(input_shape, self.axes, self.channels)
        places, inner = math.prod(output_shape) // self.out_channels, count * self.multiplier
        return places * inner * (math.prod(self.kernel_size) + self.out_channels)  # type: ignore[arg-type]

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``f((x * depthwise) @ weight + bias)``."""
        weight, depthwise = params["weight"], params["depthwise"]
        count = depthwise.shape[-1] // self.multiplier
        check_input(x, self.axes, count, ctx, self.channels)
        lengths, _ = input_lengths(tuple(x.shape[1:]), self.axes, self.channels)
        first = windowed(depthwise, self, self._pairs(lengths), count, ctx, "depthwise")
        ones, none = (1,) * self.axes, ((0, 0),) * self.axes
        kernel = ctx.xp.reshape(weight, (*ones, *weight.shape))

        def linear(x: Array) -> tuple[Array, Callable[..., tuple[Array | None, Params]]]:
            inner, first_pullback = first(x)
            inner = ctx.note("inner", inner)
            z, pullback = ctx.backend.convolution(inner, kernel, ones, none, ones)

            def backward(dz: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
                dinner, dkernel = pullback(dz)
                dx, grads = first_pullback(dinner, input_grad=input_grad)
                return dx, {**grads, "weight": ctx.xp.reshape(dkernel, weight.shape)}

            return z, backward

        return self._run(params, x, ctx, linear)


@register_layer
@dataclass(frozen=True)
class SeparableConv1D(SeparableConvolution):
    """A separable convolution over one spatial axis; all else is as in :class:`SeparableConv2D`.

    Shapes: (batch, length, in) → (batch, length', out_channels); depthwise (size, 1, in * multiplier),
    weight (in * multiplier, out_channels).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        multiplier: the number of inner channels of an input channel; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: see :class:`SeparableConv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on ``weight``; default None.
        constraint: the constraint that ``weight`` meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class SeparableConv2D(SeparableConvolution):
    """A convolution of each channel by itself, then a matrix product at each place.

    ``u = x * depthwise`` as of :class:`DepthwiseConv2D`, ``y = f(u @ weight + bias)``; with
    ``dz = dy * f'(z)``::

        dweight = sum over the places of u.T @ dz
        dbias = sum of dz over batch, height and width
        du = dz @ weight.T, from which ddepthwise and dx as of DepthwiseConv2D

    Shapes: (batch, height, width, in) → (batch, height', width', out_channels); depthwise (height of the
    kernel, width of the kernel, 1, in * multiplier), weight (in * multiplier, out_channels).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window: a number, or one for height and one for width.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`Conv2D`; default "valid".
        dilation: the distance from one number of a window to the next; default 1.
        multiplier: the number of inner channels of an input channel; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        padding_mode: see :class:`Conv2D`; default "zeros".
        initializer: the initializer of ``weight``; None (the default): He's (uniform) before an
            activation of the ReLU family, Glorot's (uniform) otherwise. ``depthwise`` has LeCun's.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on ``weight``, not on ``depthwise``; default None.
        constraint: the constraint that ``weight`` meets after each update; default None.

    Raises:
        ValueError: as of :class:`Conv2D`.

    Source: Chollet (2017), arXiv:1610.02357; Keras's SeparableConv2D.
    """

    axes: ClassVar[int] = 2
