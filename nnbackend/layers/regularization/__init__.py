"""Layers that drop whole parts of their input in training."""

from nnbackend.layers.regularization.drop_block import DropBlock
from nnbackend.layers.regularization.drop_path import DropPath
from nnbackend.layers.regularization.spatial_dropout import SpatialDropout

__all__ = ["DropBlock", "DropPath", "SpatialDropout"]
