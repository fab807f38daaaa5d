"""Adam and AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.checks import set_flag
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, decayed, non_negative
from nnbackend.optimizers.numbers import Number, Numbers, power, square_root
from nnbackend.schedules import Scheduled

__all__ = ["Adam", "AdamW"]


@dataclass(frozen=True)
class AdamBase(Optimizer):
    """What Adam and its relatives share: running means of the gradient and of its square.

    ``m = beta1 * m + (1 - beta1) * g`` and ``v = beta2 * v + (1 - beta2) * g**2``. The arrays that are
    kept are ``m / (1 - beta1)`` and ``v / (1 - beta2)``, so that a step is ``m = beta1 * m + g`` and
    ``v = beta2 * v + g**2``; ``numbers`` makes up for it. That saves two passes over all parameters.
    """

    slots = 2

    bounds = non_negative("learning_rate", "epsilon", "weight_decay", beta1=1.0, beta2=1.0)

    beta1: Scheduled = 0.9
    beta2: Scheduled = 0.999
    epsilon: Scheduled = 1e-8
    weight_decay: Scheduled = 0.0

    def kept_betas(self, h: dict[str, Number], step: Any) -> dict[str, Number]:
        """Return the factors of the kept arrays, given the hyperparameters at a step.

        Where betas change, the arrays were divided by another ``1 - beta`` at the step before.
        """
        beta1, beta2 = h["beta1"], h["beta2"]
        if (callable(self.beta1) or callable(self.beta2)) and step > 1:
            before1, before2 = self._value("beta1", step - 1), self._value("beta2", step - 1)
            beta1 = beta1 * (1.0 - before1) / (1.0 - beta1)
            beta2 = beta2 * (1.0 - before2) / (1.0 - beta2)
        return {"beta1": beta1, "beta2": beta2}


def second_moment_correction(beta2: float, step: Any) -> Number:
    """Return the factor by which the root of the kept ``v`` is too large."""
    return square_root((1.0 - power(beta2, step)) / (1.0 - beta2))


def update_moments(slots: Slots, g: Array, h: Numbers) -> tuple[Array, Array]:
    """Return the kept means of the gradient and of its square after a step."""
    m, v = slots
    m *= h.beta1
    m += g
    v *= h.beta2
    v += g * g
    return m, v


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(AdamBase):
    """Running means of the gradient and of its square, both corrected for their start at zero.

    ``g += weight_decay * p``; ``m = beta1 * m + (1 - beta1) * g``;
    ``v = beta2 * v + (1 - beta2) * g**2``;
    ``p -= learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)``.
    With ``amsgrad`` the largest ``v`` so far takes the place of ``v`` in the last line.

    Args:
        learning_rate: the factor of a step, default 0.001.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-8.
        weight_decay: the strength of weight decay, default 0.
        amsgrad: whether to divide by the largest ``v`` so far, False.

    Raises:
        ValueError: a hyperparameter is out of range, or ``beta2`` is a schedule with ``amsgrad``.

    Source: Kingma, Ba (2015), arXiv:1412.6980, algorithm 1; AMSGrad: Reddi, Kale, Kumar (2018),
    arXiv:1904.09237, with the means corrected as in PyTorch.

    >>> import numpy as np
    >>> optimizer = Adam(0.1)
    >>> params, grads = {"weight": np.zeros(2)}, {"weight": np.array([3.0, -0.01])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(6)  # the first step is the learning rate
    array([-0.1,  0.1])
    """

    decoupled = False
    """Whether weight decay is apart from the gradient."""

    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "amsgrad")
        if self.amsgrad and callable(self.beta2):
            raise ValueError("amsgrad compares running means, for which beta2 must be a number")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The two running means and, with amsgrad, the largest second one."""
        return 3 if self.amsgrad else 2

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters; ``step_size`` and ``epsilon`` are for the arrays that are kept.

        With ``c = sqrt((1 - beta2**t) / (1 - beta2))`` the formula of the class is
        ``p -= step_size * m / (sqrt(v) + epsilon * c)``, ``m`` and ``v`` as kept and
        ``step_size = learning_rate * c * (1 - beta1) / (1 - beta1**t)``.
        """
        h = super().numbers(step)
        beta1 = h["beta1"]
        c = second_moment_correction(h["beta2"], step)
        step_size = h["learning_rate"] * c * (1.0 - beta1) / (1.0 - power(beta1, step))
        kept = self.kept_betas(h, step)
        return {**h, **kept, "step_size": step_size, "epsilon": h["epsilon"] * c}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        if not self.decoupled:
            g = decayed(self, g, p, h)
        elif self.weight_decay:
            p *= h.decay
        m, v = update_moments(slots[:2], g, h)
        slots = (m, v, xp.maximum(slots[2], v)) if self.amsgrad else (m, v)
        d = xp.sqrt(slots[-1])
        d += h.epsilon
        d = m / d
        d *= h.step_size
        p -= d
        return p, slots


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``p *= 1 - learning_rate * weight_decay`` first.

    Args:
        learning_rate: the factor of a step, default 0.001.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-8.
        weight_decay: the strength of weight decay, default 0.01.
        amsgrad: whether to divide by the largest ``v`` so far, False.

    Source: Loshchilov, Hutter (2019), arXiv:1711.05101.

    >>> import numpy as np
    >>> optimizer = AdamW(0.1, weight_decay=0.5)
    >>> params, grads = {"weight": np.ones(2)}, {"weight": np.zeros(2)}
    >>> optimizer.update(params, grads, optimizer.init(params))[0]["weight"]
    array([0.95, 0.95])
    """

    decoupled = True
    weight_decay: Scheduled = 1e-2

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return those of Adam, and ``decay = 1 - learning_rate * weight_decay``."""
        h = super().numbers(step)
        return {**h, "decay": 1.0 - h["learning_rate"] * h["weight_decay"]}
