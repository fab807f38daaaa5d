"""Muon."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nnbackend.core.checks import check_flag, set_number, set_size
from nnbackend.core.types import Array, Namespace, Shape
from nnbackend.optimizers.adam import Adam
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Optimizer, Slots, norm
from nnbackend.schedules import Scheduled

__all__ = ["Muon"]

_ADJUSTMENTS = ("original", "match_rms_adamw")
_COEFFICIENTS = 3.4445, -4.7750, 2.0315


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
        learning_rate: of the matrices.
        momentum: of the matrices.
        nesterov: whether the step looks ahead.
        weight_decay: of the matrices.
        iterations: of Newton and Schulz.
        epsilon: the smallest norm that is divided by.
        adjust: ``"original"`` or ``"match_rms_adamw"``, with which a learning rate found for AdamW
            will do.
        others: for biases and all else that is no matrix; None: Adam with the same learning rate.

    Source: Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks,
    kellerjordan.github.io/posts/muon; Liu et al. (2025), arXiv:2502.16982. Defaults are PyTorch's.
    """

    elementwise: ClassVar[bool] = False

    bounds: ClassVar[Bounds] = {
        "learning_rate": (0.0, math.inf),
        "momentum": (0.0, 1.0),
        "weight_decay": (0.0, math.inf),
    }

    momentum: Scheduled = 0.95
    nesterov: bool = True
    weight_decay: Scheduled = 0.1
    iterations: int = 5
    epsilon: float = 1e-7
    adjust: str = "original"
    others: Optimizer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("nesterov", self.nesterov)
        set_size(self, "iterations")
        set_number(self, "epsilon", 0.0)
        if self.adjust not in _ADJUSTMENTS:
            raise ValueError(f"adjust must be one of {_ADJUSTMENTS}, got {self.adjust!r}")
        if not isinstance(self.others, Optimizer | None):
            raise TypeError(f"others must be an optimizer or None, got {self.others!r}")
        others = Adam(self.learning_rate) if self.others is None else self.others
        object.__setattr__(self, "_others", others)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The momentum of a matrix, or what the other parameters need."""
        others: Optimizer = self._others  # type: ignore[attr-defined]
        return max(1, others.slots)

    def scaled(self, factor: float) -> Optimizer:
        """Return the optimizer with both its learning rates times a factor."""
        own = super().scaled(factor)
        if self.others is None:
            return own
        return replace(own, others=self.others.scaled(factor))  # type: ignore[call-arg]

    def in_program(self) -> Optimizer:
        """Return the optimizer, and that of the other parameters, as a program knows it."""
        others: Optimizer = self._others  # type: ignore[attr-defined]
        return replace(super().in_program(), others=others.in_program())  # type: ignore[call-arg]

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the numbers for a matrix, then those of the other rule."""
        others: Optimizer = self._others  # type: ignore[attr-defined]
        return *super().scalars(step), *others.scalars(step)

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the learning rate, and what is left of a matrix after its decay."""
        now: Any = self
        return now.learning_rate, 1.0 - now.learning_rate * now.weight_decay

    def fixed(self) -> tuple[Any, ...]:
        """Return the momentum, and the weight of a new gradient."""
        now: Any = self
        return now.momentum, 1.0 - now.momentum

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        own = 4 if self._scheduled else 2  # of the scalars
        if p.ndim != 2:
            others: Optimizer = self._others  # type: ignore[attr-defined]
            used = others.slots
            p, kept = others.rule(p, g, slots[:used], scalars[own:], xp)
            return p, (*kept, *slots[used:])
        momentum, new = self.constants(scalars[:own], 2)
        b = slots[0]
        b *= momentum
        b += new * g
        u = momentum * b + new * g if self.nesterov else b
        if self.weight_decay:
            p *= scalars[1]
        d = orthogonal(u, self.iterations, self.epsilon, xp)
        d *= self._adjustment(p.shape)
        d *= scalars[0]
        p -= d
        return p, (b, *slots[1:])

    def _adjustment(self, shape: Shape) -> float:
        """Return the factor of the learning rate for a matrix of a shape (in, out)."""
        if self.adjust == "original":
            return math.sqrt(max(1.0, shape[1] / shape[0]))
        return 0.2 * math.sqrt(max(shape))


def orthogonal(u: Array, iterations: int, epsilon: float, xp: Namespace) -> Array:
    """Return a new matrix with the singular vectors of ``u`` and singular values near one."""
    a, b, c = _COEFFICIENTS
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
