"""Adadelta."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Optimizer, Slots, decayed
from nnbackend.schedules import Scheduled

__all__ = ["Adadelta"]


@OPTIMIZERS.register("adadelta")
@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in the parameters' own units: by the ratio of past steps to past gradients.

    ``g += weight_decay * p``; ``v = smoothing * v + (1 - smoothing) * g**2``;
    ``d = sqrt(u + epsilon) / sqrt(v + epsilon) * g``;
    ``u = smoothing * u + (1 - smoothing) * d**2``; ``p -= learning_rate * d``.

    Source: Zeiler (2012), arXiv:1212.5701, algorithm 1; defaults are PyTorch's.
    """

    slots: ClassVar[int] = 2

    bounds: ClassVar[Bounds] = {
        "learning_rate": (0.0, math.inf),
        "smoothing": (0.0, 1.0),
        "epsilon": (0.0, math.inf),
        "weight_decay": (0.0, math.inf),
    }

    learning_rate: Scheduled = 1.0
    smoothing: Scheduled = 0.9
    epsilon: Scheduled = 1e-6
    weight_decay: Scheduled = 0.0

    def fixed(self) -> tuple[Any, ...]:
        """Return all hyperparameters but the learning rate, and the weight of a new square."""
        now: Any = self
        return now.smoothing, 1.0 - now.smoothing, self.epsilon, self.weight_decay

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        smoothing, new, epsilon, weight_decay = self.constants(scalars, 1)
        if self.weight_decay:
            g = decayed(g, p, weight_decay)
        v, u = slots
        v *= smoothing
        v += new * g * g
        d = xp.sqrt((u + epsilon) / (v + epsilon))
        d *= g
        u *= smoothing
        u += new * d * d
        p -= scalars[0] * d
        return p, (v, u)
