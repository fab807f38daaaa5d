"""RAdam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, advance
from nnbackend.optimizers.base import OPTIMIZERS, Slots, decayed

__all__ = ["RAdam"]


@OPTIMIZERS.register("radam")
@dataclass(frozen=True)
class RAdam(AdamBase):
    """Adam that waits until the running mean of the squared gradient is worth dividing by.

    ``g += weight_decay * p``; ``m`` and ``v`` as in Adam;
    ``r0 = 2 / (1 - beta2) - 1``; ``r = r0 - 2 * t * beta2**t / (1 - beta2**t)``. Up to ``r = 5``
    ``p -= learning_rate * m / (1 - beta1**t)``, then that is multiplied by
    ``sqrt((r - 4) * (r - 2) * r0 / ((r0 - 4) * (r0 - 2) * r))`` and by
    ``sqrt(1 - beta2**t) / (sqrt(v) + epsilon)``.

    Source: Liu et al. (2020), On the variance of the adaptive learning rate and beyond,
    arXiv:1908.03265, algorithm 2, with 5 for 4 as in PyTorch.
    """

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the factor of ``m`` as it is kept, and the two numbers that make its divisor."""
        now: Any = self
        beta1, beta2 = now.beta1, now.beta2
        factor = now.learning_rate * (1.0 - beta1) / (1.0 - beta1**step)
        left = 1.0 - beta2**step
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * step * beta2**step / left
        share, rest = 0.0, 1.0  # the divisor is share * sqrt(v) + rest: one, at first
        if length > 5.0:
            share, rest = math.sqrt(1.0 - beta2), now.epsilon
            above = (length - 4.0) * (length - 2.0) * longest
            factor *= math.sqrt(left * above / ((longest - 4.0) * (longest - 2.0) * length))
        return factor, share, rest

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, beta2, weight_decay = self.constants(scalars, 3)
        if self.weight_decay:
            g = decayed(g, p, weight_decay)
        m, v = advance(slots, g, beta1, beta2)
        d = xp.sqrt(v)
        d *= scalars[1]
        d += scalars[2]
        d = m / d
        d *= scalars[0]
        p -= d
        return p, (m, v)
