"""Nadam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar

from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, advance
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Slots, decayed
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

    ``beta1`` and ``momentum_decay`` are a schedule of their own and must be numbers.

    Source: Dozat (2016), Incorporating Nesterov momentum into Adam; defaults are PyTorch's.
    """

    bounds: ClassVar[Bounds] = {
        name: bound for name, bound in AdamBase.bounds.items() if name != "beta1"
    }

    learning_rate: Scheduled = 2e-3
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "beta1", 0.0, 1.0)
        set_number(self, "momentum_decay", 0.0)

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the factors of ``g`` and of ``m`` as it is kept, and epsilon."""
        now: Any = self
        correction = self.correction(step)
        rate = now.learning_rate * correction
        u, total = _momentum(now.beta1, now.momentum_decay, step)
        u_next, total_next = _momentum(now.beta1, now.momentum_decay, step + 1)
        of_gradient = rate * (1.0 - u) / (1.0 - total)
        of_mean = rate * u_next * (1.0 - now.beta1) / (1.0 - total_next)
        return of_gradient, of_mean, now.epsilon * correction

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, beta2, weight_decay = self.constants(scalars, 3)
        if self.weight_decay:
            g = decayed(g, p, weight_decay)
        m, v = advance(slots, g, beta1, beta2)
        root = xp.sqrt(v)
        root += scalars[2]
        d = scalars[0] * g
        d += scalars[1] * m
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
