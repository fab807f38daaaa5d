"""Layers: one concept per file, the backward pass beside the forward."""

from nnbackend.core.layer_tree import children, map_layers
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.base import LAYERS, Parameterless, register_layer
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.embedding import Embedding
from nnbackend.layers.embedding_bag import EmbeddingBag
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.residual import Residual
from nnbackend.layers.sequential import Sequential

__all__ = [
    "LAYERS",
    "Activation",
    "AlphaDropout",
    "Dense",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "GaussianNoise",
    "Parameterless",
    "Residual",
    "Sequential",
    "children",
    "map_layers",
    "register_layer",
]
