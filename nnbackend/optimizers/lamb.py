"""LAMB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, advance
from nnbackend.optimizers.base import OPTIMIZERS, Slots, norm
from nnbackend.schedules import Scheduled

__all__ = ["LAMB"]


@OPTIMIZERS.register("lamb")
@dataclass(frozen=True)
class LAMB(AdamBase):
    """Adam for large batches: each parameter moves in proportion to its own size.

    ``d = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon) + weight_decay * p`` with Adam's
    ``m`` and ``v``; ``p -= learning_rate * norm(p) / norm(d) * d``. Where one of the norms is zero,
    the ratio is one.

    Source: You et al. (2020), Large batch optimization for deep learning, arXiv:1904.00962,
    algorithm 2 with the identity for its function of the norm; defaults are optax's.
    """

    elementwise: ClassVar[bool] = False

    epsilon: Scheduled = 1e-6

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the learning rate, and the factor and the epsilon for the arrays as they are kept."""
        now: Any = self
        correction = self.correction(step)
        factor = correction * (1.0 - now.beta1) / (1.0 - now.beta1**step)
        return now.learning_rate, factor, now.epsilon * correction

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, beta2, weight_decay = self.constants(scalars, 3)
        m, v = advance(slots, g, beta1, beta2)
        d = xp.sqrt(v)
        d += scalars[2]
        d = m / d
        d *= scalars[1]
        if self.weight_decay:
            d += weight_decay * p
        of_p, of_d = norm(p, xp), norm(d, xp)
        moving = (of_p > 0.0) & (of_d > 0.0)
        d *= xp.where(moving, of_p / xp.where(moving, of_d, 1.0), 1.0)
        d *= scalars[0]
        p -= d
        return p, (m, v)
