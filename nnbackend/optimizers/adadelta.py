"""Adadelta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, decayed, non_negative
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.schedules import Scheduled

__all__ = ["Adadelta"]


@OPTIMIZERS.register("adadelta")
@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in the parameters' own units: by the ratio of past steps to past gradients.

    ``g += weight_decay * p``; ``v = smoothing * v + (1 - smoothing) * g**2``;
    ``d = sqrt(u + epsilon) / sqrt(v + epsilon) * g``;
    ``u = smoothing * u + (1 - smoothing) * d**2``; ``p -= learning_rate * d``.

    Args:
        learning_rate: the factor of a step, default 1.
        smoothing: the share of both means of squares that a step keeps, default 0.9.
        epsilon: the number added to both means before their roots are taken, default 1e-6.
        weight_decay: the strength of weight decay, default 0.

    Source: Zeiler (2012), arXiv:1212.5701, algorithm 1; defaults are PyTorch's.

    >>> import numpy as np
    >>> optimizer = Adadelta()
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.9968, 1.0032])
    """

    slots = 2

    bounds = non_negative("learning_rate", "epsilon", "weight_decay", smoothing=1.0)

    learning_rate: Scheduled = 1.0
    smoothing: Scheduled = 0.9
    epsilon: Scheduled = 1e-6
    weight_decay: Scheduled = 0.0

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, and ``complement = 1 - smoothing``."""
        h = super().numbers(step)
        return {**h, "complement": 1.0 - h["smoothing"]}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        v, u = slots
        v *= h.smoothing
        v += h.complement * g * g
        d = xp.sqrt((u + h.epsilon) / (v + h.epsilon))
        d *= g
        u *= h.smoothing
        u += h.complement * d * d
        p -= h.learning_rate * d
        return p, (v, u)
