"""Lion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Optimizer, Slots
from nnbackend.schedules import Scheduled

__all__ = ["Lion"]


@OPTIMIZERS.register("lion")
@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of momentum: every number moves by the learning rate, up or down.

    ``c = beta1 * m + (1 - beta1) * g``; ``p -= learning_rate * (sign(c) + weight_decay * p)``;
    ``m = beta2 * m + (1 - beta2) * g``. The paper takes a learning rate three to ten times smaller
    than for AdamW, and a weight decay as many times larger.

    Source: Chen et al. (2023), Symbolic discovery of optimization algorithms, arXiv:2302.06675,
    algorithm 2; defaults are the authors'.
    """

    slots: ClassVar[int] = 1

    bounds: ClassVar[Bounds] = {
        "learning_rate": (0.0, math.inf),
        "beta1": (0.0, 1.0),
        "beta2": (0.0, 1.0),
        "weight_decay": (0.0, math.inf),
    }

    learning_rate: Scheduled = 1e-4
    beta1: Scheduled = 0.9
    beta2: Scheduled = 0.99
    weight_decay: Scheduled = 0.0

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the learning rate, and what is left of a parameter after its decay."""
        now: Any = self
        return now.learning_rate, 1.0 - now.learning_rate * now.weight_decay

    def fixed(self) -> tuple[Any, ...]:
        """Return the betas, and the weights of a new gradient."""
        now: Any = self
        return now.beta1, 1.0 - now.beta1, now.beta2, 1.0 - now.beta2

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, new1, beta2, new2 = self.constants(scalars, 2)
        (m,) = slots
        c = new1 * g
        c += beta1 * m
        if self.weight_decay:
            p *= scalars[1]
        p -= scalars[0] * xp.sign(c)
        m *= beta2
        m += new2 * g
        return p, (m,)
