"""Nadam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar

from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, second_moment_correction, update_moments
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Slots, Updated, decayed
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.schedules import Scheduled

__all__ = ["Nadam"]


@OPTIMIZERS.register("nadam")
@dataclass(frozen=True)
class Nadam(AdamBase):
    """Adam with Nesterov's momentum.

    ``g += weight_decay * p``; ``m`` and ``v`` as in Adam;
    ``u(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2)``; ``U(t) = u(1) * ... * u(t)``;
    ``d = (1 - u(t)) / (1 - U(t)) * g + u(t + 1) / (1 - U(t + 1)) * m``;
    ``p -= learning_rate * d / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    ``beta1`` and ``momentum_decay`` make a schedule together and must be numbers.

    Args:
        learning_rate: the factor of a step, default 0.002.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-8.
        weight_decay: the strength of weight decay, default 0.
        momentum_decay: the speed at which the momentum rises to ``beta1``, default 0.004.

    Source: Dozat (2016), Incorporating Nesterov momentum into Adam; defaults are PyTorch's.

    >>> import numpy as np
    >>> optimizer = Nadam(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.8944, 1.1056])
    """

    bounds: ClassVar[Bounds] = {
        name: bound for name, bound in AdamBase.bounds.items() if name != "beta1"
    }

    numbers_at_once = False
    data = ("beta1", "momentum_decay")

    learning_rate: Scheduled = 2e-3
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "beta1", 0.0, 1.0)
        set_number(self, "momentum_decay", 0.0)

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, and the factors of ``g`` and ``m`` in the step.

        The factor of ``m`` and ``epsilon`` are for the arrays that are kept.
        """
        h: dict[str, Number] = {**super().numbers(step), "beta1": self.beta1}
        beta1, momentum_decay = h["beta1"], self.momentum_decay
        correction = second_moment_correction(h["beta2"], step)
        rate = h["learning_rate"] * correction
        u, total = _momentum(beta1, momentum_decay, step)
        u_next, total_next = _momentum(beta1, momentum_decay, step + 1)
        return {
            **h,
            **self.kept_betas(h, step),
            "gradient_factor": rate * (1.0 - u) / (1.0 - total),
            "mean_factor": rate * u_next * (1.0 - beta1) / (1.0 - total_next),
            "epsilon": h["epsilon"] * correction,
        }

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        m, v = update_moments(slots, g, h)
        root = xp.sqrt(v)
        root += h.epsilon
        d = h.gradient_factor * g
        d += h.mean_factor * m
        d /= root
        p -= d
        return p, (m, v)


_growing = Lock()


@lru_cache(maxsize=64)
def _products(beta1: float, decay: float) -> list[float]:
    """Return the products of the momenta up to each step, as far as they were needed."""
    return [1.0]


def _momentum(beta1: float, decay: float, step: int) -> tuple[float, float]:
    """Return the momentum of a step, and the product of those up to it."""
    products = _products(beta1, decay)
    with _growing:
        # Below that, one minus the product is one.
        while len(products) <= step and products[-1] > 1e-20:
            products.append(products[-1] * _one_momentum(beta1, decay, len(products)))
    total = products[step] if step < len(products) else 0.0
    return _one_momentum(beta1, decay, step), total


def _one_momentum(beta1: float, decay: float, step: int) -> float:
    return beta1 * (1.0 - 0.5 * math.pow(0.96, step * decay))
