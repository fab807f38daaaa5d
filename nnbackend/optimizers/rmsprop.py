"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.checks import set_number
from nnbackend.optimizers.base import OPTIMIZERS, LearningRate, Optimizer, Slots, decayed
from nnbackend.types import Array, Namespace

__all__ = ["RMSprop"]


@OPTIMIZERS.register("rmsprop")
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Each parameter's step divided by the root of a running mean of its squared gradient.

    ``g += weight_decay * p``; ``v = smoothing * v + (1 - smoothing) * g**2``;
    ``d = g / (sqrt(v) + epsilon)``; ``p -= learning_rate * d``, or with momentum
    ``b = momentum * b + d`` and ``p -= learning_rate * b``.

    Source: Hinton, Neural Networks for Machine Learning (2012), lecture 6e.
    """

    learning_rate: LearningRate = 1e-2
    smoothing: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "smoothing", 0.0, 1.0)
        set_number(self, "epsilon", 0.0)
        set_number(self, "momentum", 0.0, 1.0)
        set_number(self, "weight_decay", 0.0)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The running mean and, with momentum, the velocity."""
        return 2 if self.momentum else 1

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        g = decayed(g, p, self.weight_decay)
        v = slots[0]
        v *= self.smoothing
        v += (1.0 - self.smoothing) * g * g
        d = xp.sqrt(v)
        d += self.epsilon
        d = g / d
        if not self.momentum:
            d *= scalars[0]
            p -= d
            return p, (v,)
        b = slots[1]
        b *= self.momentum
        b += d
        p -= scalars[0] * b
        return p, (v, b)
