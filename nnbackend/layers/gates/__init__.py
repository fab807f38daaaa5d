"""Activations that are layers: they have parameters, or give fewer numbers than they take."""

from nnbackend.layers.gates.glu import GEGLU, GLU, ReGLU, SwiGLU
from nnbackend.layers.gates.maxout import Maxout
from nnbackend.layers.gates.prelu import PReLU

__all__ = ["GEGLU", "GLU", "Maxout", "PReLU", "ReGLU", "SwiGLU"]
