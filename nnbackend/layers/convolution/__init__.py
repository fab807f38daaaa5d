"""Convolutions: from windows of an input to channels of an output."""

from nnbackend.layers.convolution.convolution import Conv1D, Conv2D, Conv3D
from nnbackend.layers.convolution.depthwise import (
    DepthwiseConv1D,
    DepthwiseConv2D,
    DepthwiseConv3D,
)
from nnbackend.layers.convolution.separable import SeparableConv1D, SeparableConv2D
from nnbackend.layers.convolution.transposed import (
    ConvTranspose1D,
    ConvTranspose2D,
    ConvTranspose3D,
)

__all__ = [
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "ConvTranspose3D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv3D",
    "SeparableConv1D",
    "SeparableConv2D",
]
