"""Adam, and Adam with weight decay apart from the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.checks import check_flag
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import OPTIMIZERS, Bounds, Optimizer, Slots, decayed
from nnbackend.optimizers.tables import powers, sqrt, table
from nnbackend.schedules import Scheduled

__all__ = ["Adam", "AdamBase", "AdamW", "advance"]

_FEW = 16  # steps whose numbers are computed sooner one by one


@dataclass(frozen=True)
class AdamBase(Optimizer):
    """What Adam and its relatives share: running means of the gradient and of its square.

    ``m = beta1 * m + (1 - beta1) * g`` and ``v = beta2 * v + (1 - beta2) * g**2``. The arrays kept
    are ``m / (1 - beta1)`` and ``v / (1 - beta2)``: with the constants gathered in ``scalars`` that
    saves two passes over all parameters.
    """

    slots: ClassVar[int] = 2

    bounds: ClassVar[Bounds] = {
        "learning_rate": (0.0, math.inf),
        "beta1": (0.0, 1.0),
        "beta2": (0.0, 1.0),
        "epsilon": (0.0, math.inf),
        "weight_decay": (0.0, math.inf),
    }

    beta1: Scheduled = 0.9
    beta2: Scheduled = 0.999
    epsilon: Scheduled = 1e-8
    weight_decay: Scheduled = 0.0

    def fixed(self) -> tuple[Any, ...]:
        """Return the betas, by which the kept arrays are multiplied, and weight decay."""
        return self.beta1, self.beta2, self.weight_decay

    def moved(self, step: int, now: Any) -> tuple[Any, ...]:
        """Return the same where betas change: the kept arrays were divided by ``1 - beta`` before."""
        if step == 1 or not (callable(self.beta1) or callable(self.beta2)):
            return now.fixed()  # type: ignore[no-any-return]
        before = self.at(step - 1)
        beta1 = now.beta1 * (1.0 - before.beta1) / (1.0 - now.beta1)
        beta2 = now.beta2 * (1.0 - before.beta2) / (1.0 - now.beta2)
        return beta1, beta2, now.weight_decay

    def correction(self, step: int) -> float:
        """Return by what the root of the kept ``v`` is too large."""
        now: Any = self
        return math.sqrt((1.0 - now.beta2**step) / (1.0 - now.beta2))


def advance(slots: Slots, g: Array, beta1: Any, beta2: Any) -> tuple[Array, Array]:
    """Return the kept running means with a gradient taken in."""
    m, v = slots
    m *= beta1
    m += g
    v *= beta2
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

    Source: Kingma, Ba (2015), arXiv:1412.6980, algorithm 1; AMSGrad: Reddi, Kale, Kumar (2018),
    arXiv:1904.09237, with the means corrected as in PyTorch.
    """

    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("amsgrad", self.amsgrad)
        if self.amsgrad and callable(self.beta2):
            raise ValueError("amsgrad compares running means, for which beta2 must be a number")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """The two running means and, with amsgrad, the largest second one."""
        return 3 if self.amsgrad else 2

    def varying(self, step: int) -> tuple[Any, ...]:
        """Return the factor and the epsilon for the arrays as they are kept."""
        now: Any = self
        return self._numbers(now.beta1**step, now.beta2**step, math.sqrt)

    def scalars_of(self, steps: range) -> Any:
        """Return the scalars of successive steps, a row for each."""
        kind = type(self)
        as_here = kind.varying is Adam.varying and kind.scalars is Optimizer.scalars
        if self._scheduled or not as_here or len(steps) < _FEW:
            return super().scalars_of(steps)
        beta1, beta2 = (powers(beta, steps) for beta in (self.beta1, self.beta2))  # type: ignore[arg-type]
        return table(self._numbers(beta1, beta2, sqrt), steps)

    def _numbers(self, beta1_t: Any, beta2_t: Any, sqrt: Callable[[Any], Any]) -> tuple[Any, ...]:
        """Return what varies, given the powers of the betas at a step, or at many."""
        now: Any = self
        correction = sqrt((1.0 - beta2_t) / (1.0 - now.beta2))
        factor = now.learning_rate * correction * (1.0 - now.beta1) / (1.0 - beta1_t)
        return factor, now.epsilon * correction

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, beta2, weight_decay = self.constants(scalars, 2)
        if self.weight_decay:
            g = decayed(g, p, weight_decay)
        return self._step(p, g, slots, scalars, beta1, beta2, xp)

    def _step(
        self,
        p: Array,
        g: Array,
        slots: Slots,
        scalars: tuple[Any, ...],
        beta1: Any,
        beta2: Any,
        xp: Namespace,
    ) -> tuple[Array, Slots]:
        """Return the parameter and its running means after a step, without weight decay."""
        m, v = advance(slots[:2], g, beta1, beta2)
        slots = (m, v, xp.maximum(slots[2], v)) if self.amsgrad else (m, v)
        d = xp.sqrt(slots[-1])
        d += scalars[1]
        d = m / d
        d *= scalars[0]
        p -= d
        return p, slots


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``p *= 1 - learning_rate * weight_decay`` first.

    Source: Loshchilov, Hutter (2019), arXiv:1711.05101.
    """

    weight_decay: Scheduled = 1e-2

    def _numbers(self, beta1_t: Any, beta2_t: Any, sqrt: Callable[[Any], Any]) -> tuple[Any, ...]:
        """Return those of Adam, and what is left of a parameter after its decay."""
        now: Any = self
        left = 1.0 - now.learning_rate * now.weight_decay
        return *super()._numbers(beta1_t, beta2_t, sqrt), left

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """See the class."""
        beta1, beta2, _ = self.constants(scalars, 3)
        if self.weight_decay:
            p *= scalars[2]
        return self._step(p, g, slots, scalars, beta1, beta2, xp)
