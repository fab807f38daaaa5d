"""How layers are connected: graphs, branches, joined and divided arrays, layers around a layer."""

from nnbackend.layers.structure.concatenate import Concatenate
from nnbackend.layers.structure.graph import Graph

__all__ = ["Concatenate", "Graph"]
