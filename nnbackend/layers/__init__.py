"""Layers: one concept per file, the backward pass beside the forward."""

from nnbackend.core.layer_tree import children, map_layers
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.base import LAYERS, Parameterless, register_layer
from nnbackend.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv3D,
    ConvTranspose1D,
    ConvTranspose2D,
    ConvTranspose3D,
    DepthwiseConv1D,
    DepthwiseConv2D,
    DepthwiseConv3D,
    SeparableConv1D,
    SeparableConv2D,
)
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gates import GEGLU, GLU, Maxout, PReLU, ReGLU, SwiGLU
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.normalization.batch_norm import BatchNorm
from nnbackend.layers.normalization.group_norm import GroupNorm
from nnbackend.layers.normalization.instance_norm import InstanceNorm
from nnbackend.layers.normalization.layer_norm import LayerNorm
from nnbackend.layers.normalization.rms_norm import RMSNorm
from nnbackend.layers.normalize import Normalize
from nnbackend.layers.regularization import DropBlock, DropPath, SpatialDropout
from nnbackend.layers.residual import Residual
from nnbackend.layers.sequential import Sequential
from nnbackend.layers.structure import Concatenate, Graph

__all__ = [
    "GEGLU",
    "GLU",
    "LAYERS",
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "ConvTranspose3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv3D",
    "DropBlock",
    "DropPath",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Graph",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Maxout",
    "Normalize",
    "PReLU",
    "Parameterless",
    "RMSNorm",
    "ReGLU",
    "Residual",
    "SeparableConv1D",
    "SeparableConv2D",
    "Sequential",
    "SpatialDropout",
    "SwiGLU",
    "children",
    "map_layers",
    "register_layer",
]
