"""Layers: one concept per file, the backward pass beside the forward."""

from nnbackend.core.layer_tree import children, map_layers
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.base import LAYERS, Parameterless, register_layer
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.normalization.batch_norm import BatchNorm
from nnbackend.layers.normalization.group_norm import GroupNorm
from nnbackend.layers.normalization.instance_norm import InstanceNorm
from nnbackend.layers.normalization.layer_norm import LayerNorm
from nnbackend.layers.normalization.rms_norm import RMSNorm
from nnbackend.layers.residual import Residual
from nnbackend.layers.sequential import Sequential

__all__ = [
    "LAYERS",
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Parameterless",
    "RMSNorm",
    "Residual",
    "Sequential",
    "children",
    "map_layers",
    "register_layer",
]
