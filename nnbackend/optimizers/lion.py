"""Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, non_negative
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.schedules import Scheduled

__all__ = ["Lion"]


@OPTIMIZERS.register("lion")
@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of momentum: every number moves by the learning rate, up or down.

    ``c = beta1 * m + (1 - beta1) * g``; ``p -= learning_rate * (sign(c) + weight_decay * p)``;
    ``m = beta2 * m + (1 - beta2) * g``. The paper takes a learning rate three to ten times smaller
    than for AdamW, and a weight decay as many times larger.

    Args:
        learning_rate: the factor of a step, default 0.0001.
        beta1: the share of the mean of gradients in the step, default 0.9.
        beta2: the share of the mean of gradients that a step keeps, default 0.99.
        weight_decay: the strength of weight decay, default 0.

    Source: Chen et al. (2023), Symbolic discovery of optimization algorithms, arXiv:2302.06675,
    algorithm 2; defaults are the authors'.

    >>> import numpy as np
    >>> optimizer = Lion(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.9, 1.1])
    """

    slots = 1

    bounds = non_negative("learning_rate", "weight_decay", beta1=1.0, beta2=1.0)

    learning_rate: Scheduled = 1e-4
    beta1: Scheduled = 0.9
    beta2: Scheduled = 0.99
    weight_decay: Scheduled = 0.0

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, and the numbers computed from them.

        ``complement1 = 1 - beta1``, ``complement2 = 1 - beta2`` and
        ``decay = 1 - learning_rate * weight_decay``.
        """
        h = super().numbers(step)
        decay = 1.0 - h["learning_rate"] * h["weight_decay"]
        complements = {"complement1": 1.0 - h["beta1"], "complement2": 1.0 - h["beta2"]}
        return {**h, **complements, "decay": decay}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        (m,) = slots
        c = h.complement1 * g
        c += h.beta1 * m
        if self.weight_decay:
            p *= h.decay
        p -= h.learning_rate * xp.sign(c)
        m *= h.beta2
        m += h.complement2 * g
        return p, (m,)
