"""RAdam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, update_moments
from nnbackend.optimizers.base import OPTIMIZERS, Slots, Updated, decayed
from nnbackend.optimizers.numbers import Number, Numbers

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

    Args:
        learning_rate: the factor of a step, default 0.001.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-8.
        weight_decay: the strength of weight decay, default 0.

    Source: Liu et al. (2020), On the variance of the adaptive learning rate and beyond,
    arXiv:1908.03265, algorithm 2, with 5 for 4 as in PyTorch.

    >>> import numpy as np
    >>> optimizer = RAdam(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)  # at first, by the mean of gradients
    array([0.8, 1.1])
    """

    numbers_at_once = False

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the factor of ``m`` as kept, and the two numbers that make its divisor.

        The divisor is ``share * sqrt(v) + rest``: 1, at first.
        """
        h = super().numbers(step)
        beta1, beta2 = h["beta1"], h["beta2"]
        factor = h["learning_rate"] * (1.0 - beta1) / (1.0 - beta1**step)
        left = 1.0 - beta2**step
        longest = 2.0 / (1.0 - beta2) - 1.0
        length = longest - 2.0 * step * beta2**step / left
        share, rest = 0.0, 1.0
        if length > 5.0:
            share, rest = math.sqrt(1.0 - beta2), h["epsilon"]
            above = (length - 4.0) * (length - 2.0) * longest
            factor *= math.sqrt(left * above / ((longest - 4.0) * (longest - 2.0) * length))
        kept = self.kept_betas(h, step)
        return {**h, **kept, "factor": factor, "share": share, "rest": rest}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        m, v = update_moments(slots, g, h)
        d = xp.sqrt(v)
        d *= h.share
        d += h.rest
        d = m / d
        d *= h.factor
        p -= d
        return p, (m, v)
