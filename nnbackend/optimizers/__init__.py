"""Optimisers: one rule each, one family a file. Defaults are PyTorch's where PyTorch has it."""

from nnbackend.optimizers.adam import Adam, AdamW
from nnbackend.optimizers.averaging import EMA, SWA
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, get
from nnbackend.optimizers.clipping import Clipped
from nnbackend.optimizers.constrained import Constrained
from nnbackend.optimizers.groups import Frozen, Grouped
from nnbackend.optimizers.rmsprop import RMSprop
from nnbackend.optimizers.sgd import SGD
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper, matching

__all__ = [
    "EMA",
    "OPTIMIZERS",
    "SGD",
    "SWA",
    "WRAPPERS",
    "Adam",
    "AdamW",
    "Clipped",
    "Constrained",
    "Frozen",
    "Grouped",
    "Optimizer",
    "RMSprop",
    "Wrapper",
    "get",
    "matching",
]
