"""Pooling: a number for each window, each bin or the whole of an image."""

from nnbackend.layers.pooling.adaptive import (
    AdaptiveAveragePool1D,
    AdaptiveAveragePool2D,
    AdaptiveAveragePool3D,
    AdaptiveMaxPool1D,
    AdaptiveMaxPool2D,
    AdaptiveMaxPool3D,
)
from nnbackend.layers.pooling.average_pool import AveragePool1D, AveragePool2D, AveragePool3D
from nnbackend.layers.pooling.global_pool import (
    GlobalAveragePool1D,
    GlobalAveragePool2D,
    GlobalAveragePool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
)
from nnbackend.layers.pooling.lp_pool import LpPool1D, LpPool2D, LpPool3D
from nnbackend.layers.pooling.max_pool import MaxPool1D, MaxPool2D, MaxPool3D

__all__ = [
    "AdaptiveAveragePool1D",
    "AdaptiveAveragePool2D",
    "AdaptiveAveragePool3D",
    "AdaptiveMaxPool1D",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
    "AveragePool1D",
    "AveragePool2D",
    "AveragePool3D",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalAveragePool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "LpPool1D",
    "LpPool2D",
    "LpPool3D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
]
