"""Adam and its relatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar

from nnbackend.core.checks import set_flag, set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import (
    OPTIMIZERS,
    Bounds,
    Optimizer,
    Slots,
    Updated,
    decayed,
    non_negative,
    norm,
)
from nnbackend.optimizers.numbers import Number, Numbers, power, square_root
from nnbackend.schedules import Scheduled

__all__ = ["LAMB", "Adam", "AdamW", "Nadam", "RAdam"]


@dataclass(frozen=True)
class _AdamBase(Optimizer):
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


def _second_moment_correction(beta2: float, step: Any) -> Number:
    """Return the factor by which the root of the kept ``v`` is too large."""
    return square_root((1.0 - power(beta2, step)) / (1.0 - beta2))


def _update_moments(slots: Slots, g: Array, h: Numbers) -> tuple[Array, Array]:
    """Return the kept means of the gradient and of its square after a step."""
    m, v = slots
    m *= h.beta1
    m += g
    v *= h.beta2
    v += g * g
    return m, v


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(_AdamBase):
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
        c = _second_moment_correction(h["beta2"], step)
        step_size = h["learning_rate"] * c * (1.0 - beta1) / (1.0 - power(beta1, step))
        kept = self.kept_betas(h, step)
        return {**h, **kept, "step_size": step_size, "epsilon": h["epsilon"] * c}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        if not self.decoupled:
            g = decayed(self, g, p, h)
        elif self.weight_decay:
            p *= h.decay
        m, v = _update_moments(slots[:2], g, h)
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


@OPTIMIZERS.register("nadam")
@dataclass(frozen=True)
class Nadam(_AdamBase):
    """Adam with Nesterov's momentum.

    ``g += weight_decay * p``; ``m`` and ``v`` as in Adam;
    ``u(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2)``; ``U(t) = u(1) * ... * u(t)``;
    ``d = (1 - u(t)) / (1 - U(t)) * g + u(t + 1) / (1 - U(t + 1)) * m``;
    ``p -= learning_rate * d / (sqrt(v / (1 - beta2**t)) + epsilon)``.

    ``beta1`` and ``momentum_decay`` make a schedule together and must be numbers.

    Args:
        learning_rate: the factor of a step, default 0.002.
        beta1: the share of the mean of gradients that a step keeps, default 0.9.
        beta2: the share of the mean of their squares that a step keeps, default 0.999.
        epsilon: the number added to the root in the divisor, default 1e-8.
        weight_decay: the strength of weight decay, default 0.
        momentum_decay: the speed at which the momentum rises to ``beta1``, default 0.004.

    Source: Dozat (2016), Incorporating Nesterov momentum into Adam; defaults are PyTorch's.

    >>> import numpy as np
    >>> optimizer = Nadam(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.8944, 1.1056])
    """

    bounds: ClassVar[Bounds] = {
        name: bound for name, bound in _AdamBase.bounds.items() if name != "beta1"
    }

    numbers_at_once = False
    data = ("beta1", "momentum_decay")

    learning_rate: Scheduled = 2e-3
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "beta1", 0.0, 1.0)
        set_number(self, "momentum_decay", 0.0)

    def numbers(self, step: Any) -> dict[str, Number]:
        """Return the hyperparameters, and the factors of ``g`` and ``m`` in the step.

        The factor of ``m`` and ``epsilon`` are for the arrays that are kept.
        """
        h: dict[str, Number] = {**super().numbers(step), "beta1": self.beta1}
        beta1, momentum_decay = h["beta1"], self.momentum_decay
        correction = _second_moment_correction(h["beta2"], step)
        rate = h["learning_rate"] * correction
        u, total = _momentum(beta1, momentum_decay, step)
        u_next, total_next = _momentum(beta1, momentum_decay, step + 1)
        return {
            **h,
            **self.kept_betas(h, step),
            "gradient_factor": rate * (1.0 - u) / (1.0 - total),
            "mean_factor": rate * u_next * (1.0 - beta1) / (1.0 - total_next),
            "epsilon": h["epsilon"] * correction,
        }

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        m, v = _update_moments(slots, g, h)
        root = xp.sqrt(v)
        root += h.epsilon
        d = h.gradient_factor * g
        d += h.mean_factor * m
        d /= root
        p -= d
        return p, (m, v)


_growing = Lock()


@lru_cache(maxsize=64)
def _products(beta1: float, decay: float) -> list[float]:
    """Return the products of the momenta up to each step, as far as they were needed."""
    return [1.0]


def _momentum(beta1: float, decay: float, step: int) -> tuple[float, float]:
    """Return the momentum of a step, and the product of those up to it."""
    products = _products(beta1, decay)
    with _growing:
        # Below that, one minus the product is one.
        while len(products) <= step and products[-1] > 1e-20:
            products.append(products[-1] * _one_momentum(beta1, decay, len(products)))
    total = products[step] if step < len(products) else 0.0
    return _one_momentum(beta1, decay, step), total


def _one_momentum(beta1: float, decay: float, step: int) -> float:
    return beta1 * (1.0 - 0.5 * math.pow(0.96, step * decay))


@OPTIMIZERS.register("radam")
@dataclass(frozen=True)
class RAdam(_AdamBase):
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
        m, v = _update_moments(slots, g, h)
        d = xp.sqrt(v)
        d *= h.share
        d += h.rest
        d = m / d
        d *= h.factor
        p -= d
        return p, (m, v)


@OPTIMIZERS.register("lamb")
@dataclass(frozen=True)
class LAMB(_AdamBase):
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
        correction = _second_moment_correction(h["beta2"], step)
        factor = correction * (1.0 - h["beta1"]) / (1.0 - power(h["beta1"], step))
        kept = self.kept_betas(h, step)
        return {**h, **kept, "factor": factor, "epsilon": h["epsilon"] * correction}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        m, v = _update_moments(slots, g, h)
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
