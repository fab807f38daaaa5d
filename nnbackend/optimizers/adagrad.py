"""Adagrad."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, decayed, non_negative
from nnbackend.optimizers.numbers import Numbers
from nnbackend.schedules import Scheduled

__all__ = ["Adagrad"]


@OPTIMIZERS.register("adagrad")
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Each parameter's step divided by the root of the sum of all its squared gradients.

    ``g += weight_decay * p``; ``s += g**2``;
    ``p -= learning_rate * g / (sqrt(initial + s) + epsilon)``.

    Args:
        learning_rate: the factor of a step, default 0.01.
        initial: the first value of the sum of squares, default 0.
        epsilon: the number added to the root in the divisor, default 1e-10.
        weight_decay: the strength of weight decay, default 0.

    Source: Duchi, Hazan, Singer (2011), Adaptive subgradient methods, JMLR 12; defaults are
    PyTorch's.

    >>> import numpy as np
    >>> optimizer = Adagrad(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.9, 1.1])
    """

    slots = 1

    bounds = non_negative("learning_rate", "initial", "epsilon", "weight_decay")

    learning_rate: Scheduled = 1e-2
    initial: Scheduled = 0.0
    epsilon: Scheduled = 1e-10
    weight_decay: Scheduled = 0.0

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        (s,) = slots
        s += g * g
        d = xp.sqrt(s + h.initial)
        d += h.epsilon
        d = g / d
        d *= h.learning_rate
        p -= d
        return p, (s,)
