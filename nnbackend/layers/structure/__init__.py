"""How layers are connected: graphs, branches, joined and divided arrays, layers around a layer."""

from nnbackend.layers.structure.add import Add
from nnbackend.layers.structure.average import Average
from nnbackend.layers.structure.bilinear import Bilinear
from nnbackend.layers.structure.checkpoint import Checkpoint
from nnbackend.layers.structure.concatenate import Concatenate
from nnbackend.layers.structure.freeze import Freeze
from nnbackend.layers.structure.graph import Graph
from nnbackend.layers.structure.highway import Highway
from nnbackend.layers.structure.lambda_layer import FUNCTIONS, Lambda, register_function
from nnbackend.layers.structure.multiply import Multiply
from nnbackend.layers.structure.parallel import Parallel
from nnbackend.layers.structure.permute import Permute
from nnbackend.layers.structure.repeat import Repeat
from nnbackend.layers.structure.reshape import Reshape
from nnbackend.layers.structure.split import Split

__all__ = [
    "FUNCTIONS",
    "Add",
    "Average",
    "Bilinear",
    "Checkpoint",
    "Concatenate",
    "Freeze",
    "Graph",
    "Highway",
    "Lambda",
    "Multiply",
    "Parallel",
    "Permute",
    "Repeat",
    "Reshape",
    "Split",
    "register_function",
]
