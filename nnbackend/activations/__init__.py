"""Activation functions, each with its derivative beside it.

An activation is called with an array and returns the value and the backward pass:
``y, backward = activation(x, ctx)`` and ``dx = backward(dy)``. The formulas say how ``dx`` follows
from ``dy`` by the chain rule. ``x`` and ``dy`` are never changed: only new arrays are changed in place.
"""

from nnbackend.activations.base import (
    ACTIVATIONS,
    ActivationFunction,
    Identity,
    get,
    layer_instead,
    name_of,
)
from nnbackend.activations.classes import LogSoftmax, Softmax, Sparsemax
from nnbackend.activations.rectifiers import CELU, ELU, SELU, HardSwish, LeakyReLU, ReLU, ReLU6
from nnbackend.activations.saturating import HardSigmoid, HardTanh, Sigmoid, Softsign, Tanh
from nnbackend.activations.smooth import (
    GELU,
    Exponential,
    LogSigmoid,
    Mish,
    SiLU,
    Softplus,
    Tanhshrink,
)

__all__ = [
    "ACTIVATIONS",
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "ActivationFunction",
    "Exponential",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sparsemax",
    "Tanh",
    "Tanhshrink",
    "get",
    "layer_instead",
    "name_of",
]
