"""LAMB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.adam import AdamBase, second_moment_correction, update_moments
from nnbackend.optimizers.base import OPTIMIZERS, Slots, Updated, norm
from nnbackend.optimizers.numbers import Number, Numbers, power
from nnbackend.schedules import Scheduled

__all__ = ["LAMB"]


@OPTIMIZERS.register("lamb")
@dataclass(frozen=True)
class LAMB(AdamBase):
    """Adam for large batches: each parameter moves in proportion to its own size.

    ``d = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon) + weight_decay * p`` with Adam's
    ``m`` and ``v``; ``p -= learning_rate * norm(p) / norm(d) * d``. Where one of the norms is zero,
    the ratio is one.

    Args:
        learning_rate: the factor of a step, default 0.001.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-6.
        weight_decay: the strength of weight decay, default 0.

    Source: You et al. (2020), Large batch optimization for deep learning, arXiv:1904.00962,
    algorithm 2 with the identity for its function of the norm; defaults are optax's.

    >>> import numpy as np
    >>> optimizer = LAMB(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)  # each parameter by a tenth of its norm
    array([0.9, 1.1])
    """

    elementwise = False

    epsilon: Scheduled = 1e-6

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, ``factor`` and ``epsilon`` for the arrays as kept."""
        h = super().numbers(step)
        correction = second_moment_correction(h["beta2"], step)
        factor = correction * (1.0 - h["beta1"]) / (1.0 - power(h["beta1"], step))
        kept = self.kept_betas(h, step)
        return {**h, **kept, "factor": factor, "epsilon": h["epsilon"] * correction}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        m, v = update_moments(slots, g, h)
        d = xp.sqrt(v)
        d += h.epsilon
        d = m / d
        d *= h.factor
        if self.weight_decay:
            d += h.weight_decay * p
        of_p, of_d = norm(p, xp), norm(d, xp)
        moving = (of_p > 0.0) & (of_d > 0.0)
        d *= xp.where(moving, of_p / xp.where(moving, of_d, 1.0), 1.0)
        d *= h.learning_rate
        p -= d
        return p, (m, v)
