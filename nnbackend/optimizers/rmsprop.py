"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, decayed, non_negative
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.schedules import Scheduled

__all__ = ["RMSprop"]


@OPTIMIZERS.register("rmsprop")
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Each parameter's step divided by the root of a running mean of its squared gradient.

    ``g += weight_decay * p``; ``v = smoothing * v + (1 - smoothing) * g**2``;
    ``d = g / (sqrt(v) + epsilon)``; ``p -= learning_rate * d``, or with momentum
    ``b = momentum * b + d`` and ``p -= learning_rate * b``.

    Args:
        learning_rate: the factor of a step, default 0.01.
        smoothing: the share of the mean of squares that a step keeps, default 0.99.
        epsilon: the number added to the root in the divisor, default 1e-8.
        momentum: the share of the velocity that a step keeps, default 0.
        weight_decay: the strength of weight decay, default 0.

    Source: Hinton, Neural Networks for Machine Learning (2012), lecture 6e.

    >>> import numpy as np
    >>> optimizer = RMSprop(0.01)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)  # by learning_rate / sqrt(1 - smoothing)
    array([0.9, 1.1])
    """

    bounds = non_negative("learning_rate", "epsilon", "weight_decay", smoothing=1.0, momentum=1.0)

    learning_rate: Scheduled = 1e-2
    smoothing: Scheduled = 0.99
    epsilon: Scheduled = 1e-8
    momentum: Scheduled = 0.0
    weight_decay: Scheduled = 0.0

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The running mean and, with momentum, the velocity."""
        return 2 if self.momentum else 1

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, and ``complement = 1 - smoothing``."""
        h = super().numbers(step)
        return {**h, "complement": 1.0 - h["smoothing"]}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        v = slots[0]
        v *= h.smoothing
        v += h.complement * g * g
        d = xp.sqrt(v)
        d += h.epsilon
        d = g / d
        if not self.momentum:
            d *= h.learning_rate
            p -= d
            return p, (v,)
        b = slots[1]
        b *= h.momentum
        b += d
        p -= h.learning_rate * b
        return p, (v, b)
