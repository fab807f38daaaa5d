"""scikit-learn's Adam and SGD, and the learning rates that go with its SGD."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers import Adam, Optimizer
from nnbackend.optimizers.base import Slots, Updated, non_negative
from nnbackend.optimizers.numbers import Number, Numbers, power, square_root

__all__ = ["Rate", "ScikitLearnAdam", "ScikitLearnSGD"]

MIN_DIVIDED_RATE = 1e-6  # a rate up to here ends training instead
RATE_DIVISOR = 5.0


class Rate:
    """A learning rate, ``now``, that changes between epochs: the schedules of scikit-learn's SGD."""

    def __init__(self, initial: float, kind: str = "constant", power: float = 0.5) -> None:
        self.initial = self.now = float(initial)
        self.kind = kind
        self.power = float(power)

    def __call__(self, step: int) -> float:
        """Return the rate, the same for all steps of an epoch."""
        return self.now

    def end_epoch(self, samples_seen: int) -> None:
        """With inverse scaling, set the rate to ``initial / (samples_seen + 1)**power``."""
        if self.kind == "invscaling":
            self.now = self.initial / (samples_seen + 1) ** self.power

    def shrink(self) -> str | None:
        """Divide an adaptive rate by 5; return the words that end training if that cannot be."""
        if self.kind != "adaptive":
            return "Stopping."
        if self.now <= MIN_DIVIDED_RATE:
            return "Learning rate too small. Stopping."
        self.now /= RATE_DIVISOR
        return None


@dataclass(frozen=True)
class ScikitLearnAdam(Adam):
    """Adam with epsilon added before the correction of the mean square.

    ``p -= learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + epsilon)``: the form
    of Kingma and Ba at the end of their section 2, where :class:`~nnbackend.optimizers.Adam` has
    that of their algorithm 1. Only what depends on the step is different.

    Source: scikit-learn's ``AdamOptimizer``; Kingma, Ba (2015).
    """

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters; ``step_size`` and ``epsilon`` are for the arrays that are kept."""
        h = Optimizer.numbers(self, step)
        beta1, beta2 = h["beta1"], h["beta2"]
        root = math.sqrt(1.0 - beta2)
        correction = square_root(1.0 - power(beta2, step)) / (1.0 - power(beta1, step))
        step_size = h["learning_rate"] * correction * (1.0 - beta1) / root
        kept = self.kept_betas(h, step)
        return {**h, **kept, "step_size": step_size, "epsilon": h["epsilon"] / root}


@dataclass(frozen=True)
class ScikitLearnSGD(Optimizer):
    """Gradient descent whose velocity contains the learning rate.

    ``v = momentum * v - learning_rate * g`` and ``p += v``; Nesterov's form adds
    ``momentum * v - learning_rate * g`` in place of ``v``. :class:`~nnbackend.optimizers.SGD`
    multiplies by the rate last, which is the same only as long as the rate is constant.

    Args:
        momentum: the share of the last velocity that is kept; default 0.9.
        nesterov: whether to take Nesterov's form; default True.

    Source: scikit-learn's ``SGDOptimizer``.
    """

    slots = 1

    bounds = non_negative("learning_rate", "momentum")

    momentum: float = 0.9
    nesterov: bool = True

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Return the parameters and the velocity after a step."""
        (v,) = slots
        step = h.learning_rate * g
        v *= h.momentum
        v -= step
        if self.nesterov:
            p += h.momentum * v
            p -= step
        else:
            p += v
        return p, (v,)
