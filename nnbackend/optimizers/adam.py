"""Adam, and Adam with weight decay apart from the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nnbackend.checks import set_number
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, decayed
from nnbackend.types import Array, Namespace

__all__ = ["Adam", "AdamW"]


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square, both corrected for their start at zero.

    ``g += weight_decay * p``; ``m = beta1 * m + (1 - beta1) * g``;
    ``v = beta2 * v + (1 - beta2) * g**2``;
    ``p -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    The arrays kept are ``m / (1 - beta1)`` and ``v / (1 - beta2)``: with the constants gathered in
    ``scalars`` that saves two passes over all parameters.

    Source: Kingma, Ba (2015), arXiv:1412.6980, algorithm 1.
    """

    slots: ClassVar[int] = 2

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "beta1", 0.0, 1.0)
        set_number(self, "beta2", 0.0, 1.0)
        set_number(self, "epsilon", 0.0)
        set_number(self, "weight_decay", 0.0)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the factor and the epsilon for the arrays as they are kept, and the rate."""
        rate = self.rate(step)
        correction = math.sqrt((1.0 - self.beta2**step) / (1.0 - self.beta2))
        factor = rate * correction * (1.0 - self.beta1) / (1.0 - self.beta1**step)
        return factor, self.epsilon * correction, rate

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        return self._step(p, decayed(g, p, self.weight_decay), slots, scalars, xp)

    def _step(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Return the parameter and its running means after a step, without weight decay."""
        m, v = slots
        m *= self.beta1
        m += g
        v *= self.beta2
        v += g * g
        d = xp.sqrt(v)
        d += scalars[1]
        d = m / d
        d *= scalars[0]
        p -= d
        return p, (m, v)


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``p *= 1 - learning_rate * weight_decay`` first.

    Source: Loshchilov, Hutter (2019), arXiv:1711.05101.
    """

    weight_decay: float = field(default=1e-2)

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        p *= 1.0 - scalars[2] * self.weight_decay
        return self._step(p, g, slots, scalars, xp)
