"""Other sizes: images made larger and smaller without parameters."""

from nnbackend.layers.resizing.crop import Crop1D, Crop2D, Crop3D
from nnbackend.layers.resizing.pixel_shuffle import PixelShuffle, PixelUnshuffle
from nnbackend.layers.resizing.upsample import Upsample1D, Upsample2D, Upsample3D
from nnbackend.layers.resizing.zero_pad import ZeroPad1D, ZeroPad2D, ZeroPad3D

__all__ = [
    "Crop1D",
    "Crop2D",
    "Crop3D",
    "PixelShuffle",
    "PixelUnshuffle",
    "Upsample1D",
    "Upsample2D",
    "Upsample3D",
    "ZeroPad1D",
    "ZeroPad2D",
    "ZeroPad3D",
]
