"""Group normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.checks import check_choice, set_flag, set_positive, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.affine import affine, affine_params
from nnbackend.layers.normalization.standardize import standardize
from nnbackend.layers.spatial import CHANNELS, channels_as_given, channels_last

__all__ = ["GroupNorm", "normalize_groups"]


@register_layer
@dataclass(frozen=True)
class GroupNorm:
    """Group normalization: ``y = weight * z + bias`` with ``z = (x - mean) / sqrt(var + epsilon)``.

    Mean and variance, divided by the number of values, are those of each row over all places and the
    channels of a group. It does the same in training and outside, and does not look at other rows. With
    means over the same numbers::

        dweight = sum(dy * z)        (for each channel)
        dbias   = sum(dy)
        dx      = (dz - mean(dz) - z * mean(dz * z)) / sqrt(var + epsilon)        with dz = dy * weight

    Args:
        groups: the number of groups; the channels are divided evenly among them, in order.
        epsilon: is added to the variance; default 1e-5.
        affine: whether there are ``weight`` (initially 1) and ``bias`` (0) for each channel; default
            True.
        channels: where the channels are: "last" (the default) or "first", right behind the batch's axis.

    Raises:
        ValueError: an argument is out of range, or the channels cannot be divided.

    Source: Wu, He (2018), arXiv:1803.08494.
    """

    groups: int
    epsilon: float = 1e-5
    affine: bool = True
    channels: str = "last"

    def __post_init__(self) -> None:
        set_size(self, "groups")
        set_positive(self, "epsilon")
        set_flag(self, "affine")
        check_choice("channels", self.channels, CHANNELS)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, one for each channel, and the input's shape."""
        count = count_channels(input_shape, self.channels)
        if count % self.groups:
            raise ValueError(f"{count} channels cannot be divided into groups={self.groups}")
        return affine_params((count,), self.affine, self.affine, rng), input_shape

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the normalized input."""
        return normalize_groups(params, x, self.groups, self.epsilon, self.channels, ctx)


def count_channels(input_shape: Shape, channels: str) -> int:
    """Return how many channels a row has.

    Raises:
        ValueError: a row has no axes.
    """
    if not input_shape:
        raise ValueError("needs an axis of channels, got a scalar for each row")
    return input_shape[-1 if channels == "last" else 0]


def normalize_groups(
    params: Params, x: Array, groups: int, epsilon: float, channels: str, ctx: Context
) -> tuple[Array, Backward]:
    """Return a batch normalized over the places and channels of each group, and the backward pass."""
    xp, dtype = ctx.xp, x.dtype
    x = channels_last(xp.astype(x, ctx.backend.dtype, copy=False), channels, xp)
    shape, count = x.shape, x.shape[-1]
    places, each = math.prod(shape[1:-1]), count // groups
    x = xp.reshape(x, (shape[0], places, count))

    def mean(a: Array) -> Array:
        sums = ctx.backend.sum_rows(a)  # of each channel, then of each group
        if each > 1:
            sums = xp.sum(xp.reshape(sums, (shape[0], groups, each)), axis=2, keepdims=True)
            sums = xp.reshape(xp.broadcast_to(sums, (shape[0], groups, each)), (shape[0], count))
        return sums[:, None, :] / (places * each)

    y, backward = affine(params, *standardize(x, mean, epsilon, xp), dtype, ctx)

    def back(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
        dy = xp.reshape(channels_last(dy, channels, xp), x.shape)
        dx, grads = backward(dy, input_grad=input_grad)
        if dx is None:
            return None, grads
        return channels_as_given(xp.reshape(dx, shape), channels, xp), grads

    return channels_as_given(xp.reshape(y, shape), channels, xp), back
