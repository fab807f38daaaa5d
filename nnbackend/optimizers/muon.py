"""Muon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.checks import check_choice, set_flag, set_number, set_size
from nnbackend.core.types import Array, Namespace, Shape
from nnbackend.errors import given
from nnbackend.optimizers.adam import Adam
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, non_negative, norm
from nnbackend.optimizers.numbers import Number, Numbers
from nnbackend.schedules import Scheduled

__all__ = ["Muon"]

_RATE_ADJUSTMENTS = ("original", "match_rms_adamw")
_OTHERS_PREFIX = "others_"  # begins the names of the numbers of the other rule
_ITERATION_COEFFICIENTS = 3.4445, -4.7750, 2.0315


@OPTIMIZERS.register("muon")
@dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum made orthogonal: a matrix moves equally far in all its directions.

    For a matrix of shape (in, out): ``b = momentum * b + (1 - momentum) * g``;
    ``u = momentum * b + (1 - momentum) * g``, or ``b`` without ``nesterov``;
    ``p *= 1 - learning_rate * weight_decay``; ``p -= learning_rate * scale * orthogonal(u)``, with
    ``scale = sqrt(max(1, out / in))``, or ``0.2 * sqrt(max(in, out))`` for ``"match_rms_adamw"``.

    ``orthogonal`` is a Newton-Schulz iteration from ``x = u / norm(u)``, with ``A = x @ x.T``:
    ``x = 3.4445 * x + (-4.775 * A + 2.0315 * A @ A) @ x``. It brings all singular values near one.
    It is done in the network's dtype, PyTorch's in bfloat16.

    Args:
        learning_rate: the factor of a step of a matrix, default 0.001.
        momentum: the share of the mean of its gradients that a step keeps, default 0.95.
        nesterov: whether the step looks ahead along the momentum, default True.
        weight_decay: the strength of the decay of matrices, default 0.1.
        iterations: the number of Newton-Schulz iterations, default 5.
        epsilon: the smallest norm in a divisor, default 1e-7.
        adjust: ``"original"`` (the default), or ``"match_rms_adamw"``, for which a learning rate
            found for AdamW is right.
        others: the optimizer of biases and all else that is no matrix; None: Adam with the same
            learning rate.

    Source: Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks,
    kellerjordan.github.io/posts/muon; Liu et al. (2025), arXiv:2502.16982. Defaults are PyTorch's.

    >>> import numpy as np
    >>> optimizer = Muon(0.1, weight_decay=0.0)
    >>> params, grads = {"weight": np.zeros((2, 2))}, {"weight": np.diag([5.0, 3.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> np.diag(params["weight"]).round(2)  # about as far in both directions
    array([-0.1 , -0.07])
    """

    elementwise = False

    bounds = non_negative("learning_rate", "weight_decay", momentum=1.0)

    data = ("epsilon",)

    momentum: Scheduled = 0.95
    nesterov: bool = True
    weight_decay: Scheduled = 0.1
    iterations: int = 5
    epsilon: float = 1e-7
    adjust: str = "original"
    others: Optimizer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "nesterov")
        set_size(self, "iterations")
        set_number(self, "epsilon", 0.0)
        check_choice("adjust", self.adjust, _RATE_ADJUSTMENTS)
        if not isinstance(self.others, Optimizer | None):
            raise TypeError(f"others must be an optimizer or None, got {given(self.others)}")
        others = Adam(self.learning_rate) if self.others is None else self.others
        object.__setattr__(self, "_others", others)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The momentum of a matrix, or what the other parameters need."""
        (others,) = self.wrapped
        return max(1, others.slots)

    @property
    def wrapped(self) -> Sequence[Optimizer]:
        return (self._others,)  # type: ignore[attr-defined]

    def scaled(self, factor: float) -> Optimizer:
        """Return the optimizer with both its learning rates times a factor."""
        own = super().scaled(factor)
        if self.others is None:
            return own
        return replace(own, others=self.others.scaled(factor))  # type: ignore[call-arg]

    def structure(self) -> Optimizer:
        """Return the same of this rule and of that for the other parameters."""
        (others,), own = self.wrapped, super().structure()
        if own is not self:
            vars(own)["_others"] = vars(own)["others"] = others.structure()
        return own

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, the numbers computed from them, and those of the other rule.

        ``complement = 1 - momentum``, ``decay = 1 - learning_rate * weight_decay``; the other rule's
        begin with ``others_``.
        """
        h, (others,) = super().numbers(step), self.wrapped
        decay = 1.0 - h["learning_rate"] * h["weight_decay"]
        theirs = {
            f"{_OTHERS_PREFIX}{name}": number for name, number in others.numbers(step).items()
        }
        own = {"complement": 1.0 - h["momentum"], "decay": decay, "epsilon": self.epsilon}
        return {**h, **own, **theirs}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        if p.ndim != 2:
            (others,) = self.wrapped
            used = others.slots
            p, kept = others.rule(p, g, slots[:used], h.part(_OTHERS_PREFIX), xp)
            return p, (*kept, *slots[used:])
        b = slots[0]
        b *= h.momentum
        b += h.complement * g
        u = h.momentum * b + h.complement * g if self.nesterov else b
        if self.weight_decay:
            p *= h.decay
        d = orthogonal(u, self.iterations, h.epsilon, xp)
        d *= self._adjustment(p.shape)
        d *= h.learning_rate
        p -= d
        return p, (b, *slots[1:])

    def _adjustment(self, shape: Shape) -> float:
        """Return the factor of the learning rate for a matrix of a shape (in, out)."""
        if self.adjust == "original":
            return math.sqrt(max(1.0, shape[1] / shape[0]))
        return 0.2 * math.sqrt(max(shape))


def orthogonal(u: Array, iterations: int, epsilon: Number, xp: Namespace) -> Array:
    """Return a new matrix with the singular vectors of ``u`` and singular values near one."""
    a, b, c = _ITERATION_COEFFICIENTS
    tall = u.shape[0] > u.shape[1]
    x = u / xp.maximum(norm(u, xp), epsilon)
    for _ in range(iterations):
        gram = x.mT @ x if tall else x @ x.mT  # the smaller of the two
        polynomial = b * gram
        polynomial += c * (gram @ gram)
        step = x @ polynomial if tall else polynomial @ x
        x *= a
        x += step
    return x
