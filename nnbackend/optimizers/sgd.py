"""Gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.checks import check_flag, set_number
from nnbackend.optimizers.base import OPTIMIZERS, Optimizer, Slots, decayed
from nnbackend.types import Array, Namespace

__all__ = ["SGD"]


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    ``g += weight_decay * p``, then without momentum ``p -= learning_rate * g``, with it
    ``v = momentum * v + g`` and ``p -= learning_rate * v``; Nesterov's form takes
    ``g + momentum * v`` in place of ``v``.

    Source: Sutskever et al. (2013), On the importance of initialization and momentum, in PyTorch's
    parametrisation.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "momentum", 0.0, 1.0)
        set_number(self, "weight_decay", 0.0)
        check_flag("nesterov", self.nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, for instance momentum=0.9")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One array of velocity, with momentum."""
        return 1 if self.momentum else 0

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        g = decayed(g, p, self.weight_decay)
        if self.momentum:
            (v,) = slots
            v *= self.momentum
            v += g
            slots = (v,)
            g = g + self.momentum * v if self.nesterov else v
        p -= scalars[0] * g
        return p, slots
