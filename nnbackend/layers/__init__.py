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
from nnbackend.layers.embedding import Embedding
from nnbackend.layers.embedding_bag import EmbeddingBag
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gates import GEGLU, GLU, Maxout, PReLU, ReGLU, SwiGLU
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.normalization.batch_norm import BatchNorm
from nnbackend.layers.normalization.group_norm import GroupNorm
from nnbackend.layers.normalization.instance_norm import InstanceNorm
from nnbackend.layers.normalization.layer_norm import LayerNorm
from nnbackend.layers.normalization.rms_norm import RMSNorm
from nnbackend.layers.normalization.spectral_norm import SpectralNorm
from nnbackend.layers.normalization.weight_norm import WeightNorm
from nnbackend.layers.normalize import Normalize
from nnbackend.layers.pooling import (
    AdaptiveAveragePool1D,
    AdaptiveAveragePool2D,
    AdaptiveAveragePool3D,
    AdaptiveMaxPool1D,
    AdaptiveMaxPool2D,
    AdaptiveMaxPool3D,
    AveragePool1D,
    AveragePool2D,
    AveragePool3D,
    GlobalAveragePool1D,
    GlobalAveragePool2D,
    GlobalAveragePool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    LpPool1D,
    LpPool2D,
    LpPool3D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
)
from nnbackend.layers.regularization import DropBlock, DropPath, SpatialDropout
from nnbackend.layers.residual import Residual
from nnbackend.layers.sequential import Sequential
from nnbackend.layers.structure import (
    FUNCTIONS,
    Add,
    Average,
    Bilinear,
    Checkpoint,
    Concatenate,
    Freeze,
    Graph,
    Highway,
    Lambda,
    Multiply,
    Parallel,
    Permute,
    Repeat,
    Reshape,
    Split,
    register_function,
)

__all__ = [
    "FUNCTIONS",
    "GEGLU",
    "GLU",
    "LAYERS",
    "Activation",
    "AdaptiveAveragePool1D",
    "AdaptiveAveragePool2D",
    "AdaptiveAveragePool3D",
    "AdaptiveMaxPool1D",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
    "Add",
    "AlphaDropout",
    "Average",
    "AveragePool1D",
    "AveragePool2D",
    "AveragePool3D",
    "BatchNorm",
    "Bilinear",
    "Checkpoint",
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
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "Freeze",
    "GaussianNoise",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalAveragePool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "Graph",
    "GroupNorm",
    "Highway",
    "InstanceNorm",
    "Lambda",
    "LayerNorm",
    "LpPool1D",
    "LpPool2D",
    "LpPool3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "Maxout",
    "Multiply",
    "Normalize",
    "PReLU",
    "Parallel",
    "Parameterless",
    "Permute",
    "RMSNorm",
    "ReGLU",
    "Repeat",
    "Reshape",
    "Residual",
    "SeparableConv1D",
    "SeparableConv2D",
    "Sequential",
    "SpatialDropout",
    "SpectralNorm",
    "Split",
    "SwiGLU",
    "WeightNorm",
    "children",
    "map_layers",
    "register_function",
    "register_layer",
]
