"""Optimizers: one rule each, one family a file. Defaults are PyTorch's where PyTorch has it."""

from nnbackend.optimizers.adam import LAMB, Adam, AdamW, Nadam, RAdam
from nnbackend.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from nnbackend.optimizers.averaging import EMA, SWA
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, get
from nnbackend.optimizers.clipping import Clipped
from nnbackend.optimizers.constrained import Constrained
from nnbackend.optimizers.groups import Frozen, Grouped
from nnbackend.optimizers.lbfgs import LBFGS
from nnbackend.optimizers.lion import Lion
from nnbackend.optimizers.muon import Muon
from nnbackend.optimizers.sgd import SGD
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper, matching

__all__ = [
    "EMA",
    "LAMB",
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "SWA",
    "WRAPPERS",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Clipped",
    "Constrained",
    "Frozen",
    "Grouped",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Wrapper",
    "get",
    "matching",
]
