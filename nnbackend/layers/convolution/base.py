"""What the convolution layers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from nnbackend import activations, constraints, initializers, regularizers
from nnbackend.core.checks import check_choice, convert_fields, set_flag
from nnbackend.core.types import Array, Backward, Context, Params
from nnbackend.layers.spatial import (
    PADDING_MODES,
    Padding,
    Pairs,
    Sizes,
    channels_as_given,
    channels_last,
    check_mode,
    pad,
    pad_adjoint,
    padding_pairs,
    set_channels,
    set_padding,
    set_sizes,
)

__all__ = ["ConvolutionLayer", "Linear", "windowed"]

Linear = Callable[[Array], tuple[Array, Callable[..., tuple[Array | None, Params]]]]
"""``linear(x) -> (z, pullback)``, channels last; ``pullback(dz, input_grad=True) -> (dx, grads)``."""


class ConvolutionLayer:
    """The base of convolution layers; a subclass is a frozen dataclass with fields of these names."""

    axes: ClassVar[int]
    """How many spatial axes there are."""
    convolves: ClassVar[bool] = True
    """What XLA must not compile into a loop on the CPU."""
    plain_initializer: ClassVar[str | None] = None
    """The initializer where Glorot's would be the activation's; None: that one."""

    kernel_size: Any
    stride: Any
    padding: Padding
    dilation: Any
    activation: Any
    bias: bool
    channels: str
    initializer: Any

    def _check_fields(self) -> None:
        """Check the fields that all convolution layers have, and convert them."""
        set_sizes(self, self.axes, "kernel_size", "stride", "dilation")
        set_padding(self, self.axes)
        set_flag(self, "bias")
        set_channels(self)
        if hasattr(self, "padding_mode"):
            check_choice("padding_mode", self.padding_mode, PADDING_MODES)
        convert_fields(
            self,
            activation=activations.get,
            bias_initializer=initializers.get,
            regularizer=regularizers.get,
            constraint=constraints.get,
        )
        if self.initializer is None:
            chosen = self.activation.initializer
            if chosen.startswith("glorot") and self.plain_initializer is not None:
                chosen = self.plain_initializer
            object.__setattr__(self, "initializer", chosen)
        convert_fields(self, initializer=initializers.get)

    def _pairs(self, lengths: Sizes) -> Pairs:
        """Return how much is put before and after along each spatial axis of these lengths."""
        pairs = padding_pairs(
            self.padding,  # type: ignore[arg-type]
            lengths,
            self.kernel_size,
            self.stride,
            self.dilation,
        )
        for length, pair in zip(lengths, pairs, strict=True):
            check_mode(getattr(self, "padding_mode", "zeros"), length, pair)
        return pairs

    def _run(
        self, params: Params, x: Array, ctx: Context, linear: Linear
    ) -> tuple[Array, Backward]:
        """Return ``f(linear(x) + bias)`` and its backward pass, channels where the user has them."""
        xp, channels = ctx.xp, self.channels
        z, pullback = linear(channels_last(x, channels, xp))
        if self.bias:
            z = ctx.backend.add_to_channels(z, params["bias"])
        ctx.note("z", channels_as_given(z, channels, xp))
        y, activation_backward = self.activation(z, ctx)  # one over classes is over channels

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dz = activation_backward(channels_last(dy, channels, xp))
            ctx.note("dz", channels_as_given(dz, channels, xp))
            dx, grads = pullback(dz, input_grad=input_grad)
            if self.bias:
                grads["bias"] = ctx.backend.channel_sums(dz)
            return (channels_as_given(dx, channels, xp) if input_grad else None), grads

        return channels_as_given(y, channels, xp), backward


def windowed(
    weight: Array, layer: Any, pairs: Pairs, groups: int, ctx: Context, name: str = "weight"
) -> Linear:
    """Return the convolution with a weight as a function of an input with channels last.

    Args:
        weight: the weight, of shape (*size, channels / groups, outputs).
        layer: the layer; its stride, dilation and padding mode count.
        pairs: how much is put before and after along each spatial axis.
        groups: the number of parts of channels and outputs.
        ctx: the context.
        name: the name of the weight's gradient.
    """
    backend, mode = ctx.backend, layer.padding_mode
    none = ((0, 0),) * len(pairs)
    zeros, others = (pairs, none) if mode == "zeros" else (none, pairs)

    def linear(x: Array) -> tuple[Array, Callable[..., tuple[Array | None, Params]]]:
        wide = pad(x, others, backend, mode)
        z, pullback = backend.convolution(wide, weight, layer.stride, zeros, layer.dilation, groups)

        def backward(dz: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dx, dweight = pullback(dz, input_grad=input_grad)
            if input_grad:
                dx = pad_adjoint(dx, others, backend, mode)
            return dx, {name: dweight}

        return z, backward

    return linear
