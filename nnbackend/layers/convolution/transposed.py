"""Transposed convolutions: the adjoints of convolutions, which make an input larger."""

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
from nnbackend.errors import given
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.layers.convolution.base import ConvolutionLayer
from nnbackend.layers.spatial import (
    Padding,
    Pairs,
    Sizes,
    check_input,
    input_lengths,
    output_shape,
    padding_pairs,
    set_sizes,
)
from nnbackend.regularizers import Regularizer

__all__ = ["ConvTranspose1D", "ConvTranspose2D", "ConvTranspose3D"]


@dataclass(frozen=True)
class TransposedConvolution(ConvolutionLayer):
    """A transposed convolution over any number of spatial axes; see :class:`ConvTranspose2D`."""

    out_channels: int
    kernel_size: int | Sizes
    stride: int | Sizes = 1
    padding: Padding = "valid"
    output_padding: int | Sizes = 0
    dilation: int | Sizes = 1
    groups: int = 1
    activation: str | ActivationFunction | None = None
    bias: bool = True
    channels: str = "last"
    initializer: str | Initializer | None = None
    bias_initializer: str | Initializer = "zeros"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "out_channels")
        set_size(self, "groups")
        set_sizes(self, self.axes, "output_padding", least=0)
        self._check_fields()
        if self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide out_channels={self.out_channels}, got {self.groups}"
            )
        more, stride = self.output_padding, self.stride
        if any(n >= step for n, step in zip(more, stride, strict=True)):  # type: ignore[arg-type]
            raise ValueError(f"output_padding must be below the stride {stride}, got {given(more)}")
        if self.padding == "same" and any(more):  # type: ignore[arg-type]
            raise ValueError(
                f"output_padding must be 0 with padding='same', which says how long the output is; "
                f"got {given(more)}"
            )

    def _output(self, lengths: Sizes) -> tuple[Sizes, Pairs]:
        """Return the lengths of the output's spatial axes, and what is cut off before and after."""
        size, stride, dilation = self.kernel_size, self.stride, self.dilation
        if self.padding == "same":
            found = tuple(n * step for n, step in zip(lengths, stride, strict=True))  # type: ignore[arg-type]
            return found, padding_pairs("same", found, size, stride, dilation)  # type: ignore[arg-type]
        pairs = padding_pairs(self.padding, lengths, size, stride, dilation)  # type: ignore[arg-type]
        axes = zip(lengths, stride, dilation, size, self.output_padding, pairs, strict=True)  # type: ignore[arg-type]
        found = tuple(
            (n - 1) * step + apart * (k - 1) + 1 + more - low - high
            for n, step, apart, k, more, (low, high) in axes
        )
        if any(n < 1 for n in found):
            raise ValueError(
                f"padding must leave something of the output, got {pairs} and lengths of {found}"
            )
        return found, pairs

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (*size, out / groups, in) and ``bias`` (out,), and the output's shape."""
        lengths, count = input_lengths(input_shape, self.axes, self.channels)
        if count % self.groups:
            raise ValueError(f"groups must divide the input's {count} channels, got {self.groups}")
        found, _ = self._output(lengths)
        shape = (*self.kernel_size, self.out_channels // self.groups, count)  # type: ignore[misc]
        params = {"weight": rng.draw(self.initializer, shape, "weight")}  # type: ignore[arg-type]
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, (self.out_channels,), "bias")  # type: ignore[arg-type]
        return params, output_shape(found, self.out_channels, self.channels)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each input with its weights."""
        window = math.prod(self.kernel_size) * self.out_channels // self.groups  # type: ignore[arg-type]
        return math.prod(input_shape) * window

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``f(z + bias)``, ``z`` being the adjoint of the convolution with ``weight``."""
        weight = params["weight"]
        check_input(x, self.axes, weight.shape[-1], ctx, self.channels)
        lengths, _ = input_lengths(tuple(x.shape[1:]), self.axes, self.channels)
        found, pairs = self._output(lengths)
        how = (found, self.stride, pairs, self.dilation, self.groups)

        def linear(x: Array) -> tuple[Array, Callable[..., tuple[Array | None, Params]]]:
            z, pullback = ctx.backend.transposed_convolution(x, weight, *how)  # type: ignore[arg-type]

            def backward(dz: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
                dx, dweight = pullback(dz, input_grad=input_grad)
                return dx, {"weight": dweight}

            return z, backward

        return self._run(params, x, ctx, linear)


@register_layer
@dataclass(frozen=True)
class ConvTranspose1D(TransposedConvolution):
    """A transposed convolution over one spatial axis; all else is as in :class:`ConvTranspose2D`.

    Shapes: (batch, length, in) → (batch, length', out_channels); weight (size, out_channels / groups,
    in).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window of the output.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`ConvTranspose2D`; default "valid".
        output_padding: see :class:`ConvTranspose2D`; default 0.
        dilation: the distance from one number of a window to the next; default 1.
        groups: in how many parts channels and outputs are divided; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        initializer: see :class:`Conv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`ConvTranspose2D`.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class ConvTranspose2D(TransposedConvolution):
    """A transposed convolution over two spatial axes: each input is spread over a window of the output.

    It is the adjoint of a :class:`Conv2D` from ``out_channels`` to the input's channels, with the weight
    of that. With stride s and dilation d, before ``padding`` is cut off::

        z[n, p, q, o] = sum over c and the i, j, a, b with p = i s + a d, q = j s + b d
                        of x[n, i, j, c] weight[a, b, o, c], + bias[o]
        y = f(z)

        dz = dy * f'(z)
        dx = the convolution of dz with weight
        dweight[a, b, o, c] = sum over n, i, j of dz[n, i s + a d, j s + b d, o] x[n, i, j, c]
        dbias = sum of dz over batch, height and width

    Shapes: (batch, height, width, in) → (batch, height', width', out_channels); weight (height of the
    kernel, width of the kernel, out_channels / groups, in); ``height' = (height - 1) stride + dilation
    (size - 1) + 1 + output_padding - padding``.

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window of the output: a number, or one for height and one for width.
        stride: the distance from one window to the next, likewise; default 1.
        padding: what is cut off the output: ``"valid"`` (the default), nothing. ``"same"``: so much that
            it is ``length * stride`` long. A whole number: so much on each side. Or a tuple with a
            number, or a pair (before, after), for each axis.
        output_padding: how much longer the output is behind, of the lengths for which the convolution
            gives the input's; below the stride. Default 0.
        dilation: the distance from one number of a window to the next; default 1.
        groups: in how many parts channels and outputs are divided; default 1.
        activation: ``f``, a name or an object of :mod:`nnbackend.activations`; None (the default): the
            identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first"; see :class:`Conv2D`.
        initializer: the initializer of the weight; see :class:`Conv2D`. Default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: a size is below 1, padding is negative, ``output_padding`` is not below the stride,
            ``groups`` does not divide ``out_channels``, or a name is not known; when the network
            is built, if the input has other axes, ``groups`` does not divide its channels, or padding
            leaves nothing of the output.

    Source: Dumoulin & Visin (2016), arXiv:1603.07285; PyTorch's ConvTranspose2d, Keras's
    Conv2DTranspose.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class ConvTranspose3D(TransposedConvolution):
    """A transposed convolution over three spatial axes; all else is as in :class:`ConvTranspose2D`.

    Shapes: (batch, depth, height, width, in) → (batch, depth', height', width', out_channels); weight
    (depth, height and width of the kernel, out_channels / groups, in).

    Args:
        out_channels: the number of output channels.
        kernel_size: the size of a window of the output: a number, or one for each axis.
        stride: the distance from one window to the next; default 1.
        padding: see :class:`ConvTranspose2D`; default "valid".
        output_padding: see :class:`ConvTranspose2D`; default 0.
        dilation: the distance from one number of a window to the next; default 1.
        groups: in how many parts channels and outputs are divided; default 1.
        activation: ``f``; None (the default): the identity.
        bias: whether there is a bias; default True.
        channels: "last" (the default) or "first".
        initializer: see :class:`Conv2D`; default None.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight; default None.
        constraint: the constraint that the weight meets after each update; default None.

    Raises:
        ValueError: as of :class:`ConvTranspose2D`.
    """

    axes: ClassVar[int] = 3
