"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import set_flag
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, Updated, decayed, non_negative
from nnbackend.optimizers.numbers import Numbers
from nnbackend.schedules import Scheduled

__all__ = ["SGD"]


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    ``g += weight_decay * p``, then without momentum ``p -= learning_rate * g``, with it
    ``v = momentum * v + g`` and ``p -= learning_rate * v``; Nesterov's form takes
    ``g + momentum * v`` in place of ``v``.

    Args:
        learning_rate: the factor of a step, default 0.001.
        momentum: the share of the velocity that a step keeps, default 0.
        nesterov: whether the step looks ahead along the velocity, default False.
        weight_decay: the strength of weight decay, default 0.

    Raises:
        ValueError: a hyperparameter is out of range, or ``nesterov`` is True without momentum.

    Source: Sutskever et al. (2013), On the importance of initialization and momentum, in PyTorch's
    parametrization.

    >>> import numpy as np
    >>> optimizer = SGD(0.1)
    >>> params, grads = {"weight": np.array([1.0, 1.0])}, {"weight": np.array([2.0, -1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params))
    >>> params["weight"].round(4)
    array([0.8, 1.1])
    """

    bounds = non_negative("learning_rate", "weight_decay", momentum=1.0)

    momentum: Scheduled = 0.0
    nesterov: bool = False
    weight_decay: Scheduled = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "nesterov")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for instance momentum=0.9")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One array of velocity, with momentum."""
        return 1 if self.momentum else 0

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        g = decayed(self, g, p, h)
        if self.momentum:
            (v,) = slots
            v *= h.momentum
            v += g
            slots = (v,)
            g = g + h.momentum * v if self.nesterov else v
        p -= h.learning_rate * g
        return p, slots
