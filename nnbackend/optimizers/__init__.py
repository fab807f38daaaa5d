"""Optimizers: one file each. Defaults are PyTorch's where PyTorch has it."""

from nnbackend.optimizers.adadelta import Adadelta
from nnbackend.optimizers.adagrad import Adagrad
from nnbackend.optimizers.adam import Adam, AdamW
from nnbackend.optimizers.averaging import EMA, SWA
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, get
from nnbackend.optimizers.clipping import Clipped
from nnbackend.optimizers.constrained import Constrained
from nnbackend.optimizers.groups import Frozen, Grouped
from nnbackend.optimizers.lamb import LAMB
from nnbackend.optimizers.lazy import Lazy
from nnbackend.optimizers.lbfgs import LBFGS
from nnbackend.optimizers.lion import Lion
from nnbackend.optimizers.muon import Muon
from nnbackend.optimizers.nadam import Nadam
from nnbackend.optimizers.radam import RAdam
from nnbackend.optimizers.rmsprop import RMSprop
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
    "Lazy",
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
