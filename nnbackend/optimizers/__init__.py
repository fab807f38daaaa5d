"""Optimisers: one rule each, one family a file. Defaults are PyTorch's where PyTorch has it."""

from nnbackend.optimizers.adam import Adam, AdamW
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, get
from nnbackend.optimizers.rmsprop import RMSprop
from nnbackend.optimizers.sgd import SGD

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "get"]
