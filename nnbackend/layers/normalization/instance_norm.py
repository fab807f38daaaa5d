"""Instance normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.checks import check_choice, set_flag, set_positive
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.affine import affine_params
from nnbackend.layers.normalization.group_norm import count_channels, normalize_groups
from nnbackend.layers.spatial import CHANNELS

__all__ = ["InstanceNorm"]


@register_layer
@dataclass(frozen=True)
class InstanceNorm:
    """Instance normalization: each channel of each row gets mean 0 and variance 1 over its places.

    ``y = weight * z + bias`` with ``z = (x - mean) / sqrt(var + epsilon)``: GroupNorm with one channel
    in a group, and its backward pass. It does the same in training and outside.

    Args:
        epsilon: is added to the variance; default 1e-5.
        affine: whether there are ``weight`` (initially 1) and ``bias`` (0) for each channel; default
            False, as in PyTorch.
        channels: where the channels are: "last" (the default) or "first", right behind the batch's axis.

    Raises:
        ValueError: an argument is out of range, or a channel has a single place, of which the variance
            is 0.

    Source: Ulyanov, Vedaldi, Lempitsky (2016), arXiv:1607.08022.
    """

    epsilon: float = 1e-5
    affine: bool = False
    channels: str = "last"

    def __post_init__(self) -> None:
        set_positive(self, "epsilon")
        set_flag(self, "affine")
        check_choice("channels", self.channels, CHANNELS)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, one for each channel, if wanted, and the input's shape."""
        count = count_channels(input_shape, self.channels)
        if math.prod(input_shape) == count:
            raise ValueError(
                "normalizes each channel over its places, and here each has one: the rows have the "
                f"shape {tuple(input_shape)}. LayerNorm normalizes over channels"
            )
        return affine_params((count,), self.affine, self.affine, rng), input_shape

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the normalized input."""
        count = x.shape[-1 if self.channels == "last" else 1]
        return normalize_groups(params, x, count, self.epsilon, self.channels, ctx)
