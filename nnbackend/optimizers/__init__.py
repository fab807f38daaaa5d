"""Optimisers: one rule each, one family a file. Defaults are PyTorch's where PyTorch has it."""

from nnbackend.optimizers.adadelta import Adadelta
from nnbackend.optimizers.adagrad import Adagrad
from nnbackend.optimizers.adam import Adam, AdamW
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, get
from nnbackend.optimizers.lamb import LAMB
from nnbackend.optimizers.lion import Lion
from nnbackend.optimizers.muon import Muon
from nnbackend.optimizers.nadam import Nadam
from nnbackend.optimizers.radam import RAdam
from nnbackend.optimizers.rmsprop import RMSprop
from nnbackend.optimizers.sgd import SGD

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "get",
]
