"""Averages of the parameters over the steps: exponential (EMA) and equal weights (SWA).

The average is one more array of state. ``fit`` evaluates validation data with it, and leaves it in
the network: ``network.params`` are the averages, ``network.raw_params`` what the optimizer last made.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from nnbackend.backends.base import namespace
from nnbackend.core.checks import check_flag, check_number, check_size, set_number
from nnbackend.core.tree import tree_map
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.optimizers.base import Optimizer, Slots
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper

__all__ = ["EMA", "SWA"]


@dataclass(frozen=True)
class _Averaged(Wrapper):
    """Keeps ``average += weight(t) * (p - average)`` after each step, in its last slot."""

    @abstractmethod
    def weight(self, step: int) -> float:
        """Return what the parameters after a step (from 1) count in the average."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.averages:
            raise ValueError(f"{self.inner!r} keeps an average already; keep one")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Those of the optimizer inside, and the average."""
        return self.inner.slots + 1

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Yes."""
        return True

    @property
    def _last(self) -> str:
        """The name of the average among the slots."""
        return str(self.inner.slots)

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return those of the optimizer inside, and the weight."""
        return (*self.inner.scalars(step), self.weight(step))

    def rule(
        self, p: Array, g: Array, slots: Slots, scalars: tuple[Any, ...], xp: Namespace
    ) -> tuple[Array, Slots]:
        """Apply the rule inside, then move the average."""
        p, own = self.inner.rule(p, g, slots[:-1], scalars[:-1], xp)
        return p, (*own, _moved(slots[-1], p, scalars[-1]))

    def init(self, params: Params) -> Params:
        """Return the state of the optimizer inside, with the parameters as their first average."""
        state = super().init(params)
        copy = tree_map(lambda p: namespace(p).asarray(p, copy=True), params)
        return state | {"slots": state["slots"] | {self._last: copy}}

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply the optimizer inside, then move the average."""
        own = {name: tree for name, tree in slots.items() if name != self._last}
        params, own = self.inner.apply(params, grads, own, scalars[:-1])
        average = tree_map(lambda a, p: _moved(a, p, scalars[-1]), slots[self._last], params)
        return params, own | {self._last: average}

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the average."""
        ready = self.prepared(params)
        if ready is not self:
            return ready.averaged(params, state)
        average: Params = state["slots"][self._last]
        return average


@WRAPPERS.register("ema")
@dataclass(frozen=True)
class EMA(_Averaged):
    """Keep an exponential moving average of the parameters.

    ``average = decay * average + (1 - decay) * p`` after each step. With ``bias_correction`` the
    average is that of the parameters after steps 1 to ``t`` with weights ``decay**(t - i)`` that are
    made to sum to 1, as Adam corrects its means: the first weights of the network, random as they are,
    do not count. Without it the parameters after the first step are the first average, as in
    PyTorch's ``AveragedModel``, and count ``decay**(t - 1)`` after ``t`` steps.

    Args:
        optimizer: what makes the update, an object or a name.
        decay: from 0 to below 1; about the last ``1 / (1 - decay)`` steps count.
        bias_correction: see above.

    Raises:
        ValueError: ``decay`` is out of range.

    Source: Polyak, Juditsky (1992); the correction as in Kingma, Ba (2015), arXiv:1412.6980, section 3.
    """

    decay: float = 0.999
    bias_correction: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "decay", 0.0, 1.0)
        check_flag("bias_correction", self.bias_correction)

    def weight(self, step: int) -> float:
        """Return ``1 - decay``, and more in the beginning."""
        if self.bias_correction:
            return (1.0 - self.decay) / (1.0 - self.decay**step)
        return 1.0 if step == 1 else 1.0 - self.decay


@WRAPPERS.register("swa")
@dataclass(frozen=True)
class SWA(_Averaged):
    """Stochastic weight averaging: the plain mean of the parameters at some of the later steps.

    ``average = (n * average + p) / (n + 1)`` after every ``every`` steps from ``start`` on; before
    the first of them the average is the parameters as they are. A learning rate that stays high or
    goes up and down is what makes the averaged parameters differ; see :mod:`nnbackend.schedules`.

    Args:
        optimizer: what makes the update, an object or a name.
        start: how many steps to do before; the first that counts is ``start + every``.
        every: how many steps from one that counts to the next.
        unit: ``"step"``, or ``"epoch"`` to give both in epochs: ``SWA(SGD(0.05), 75, unit="epoch")``
            averages the parameters at the ends of epochs 76, 77, ... Only ``fit`` knows epochs.

    Raises:
        ValueError: a number is out of range, or the unit is neither of the two.

    Source: Izmailov et al. (2018), arXiv:1803.05407, algorithm 1.
    """

    start: int = 0
    every: int = 1
    unit: str = "step"

    def __post_init__(self) -> None:
        super().__post_init__()
        start = check_number("start", self.start, 0.0)
        if start != int(start):
            raise ValueError(f"start must be a whole number, got {self.start!r}")
        object.__setattr__(self, "start", int(start))
        object.__setattr__(self, "every", check_size("every", self.every))
        if self.unit not in ("step", "epoch"):
            raise ValueError(f"unit must be 'step' or 'epoch', got {self.unit!r}")

    def weight(self, step: int) -> float:
        """Return 1 up to the first step that counts, then ``1 / n`` at the ``n``-th and 0 between."""
        if self.unit == "epoch":
            raise ValueError(
                "SWA in epochs needs fit with data of known length; give start and every in steps"
            )
        count, between = divmod(step - self.start, self.every)
        if count < 1:
            return 1.0
        return 0.0 if between else 1.0 / count

    def prepared(
        self, params: Params, steps_per_epoch: int | None = None, frozen: Collection[str] = ()
    ) -> Optimizer:
        """Return the same with epochs turned into steps."""
        ready = super().prepared(params, steps_per_epoch, frozen)
        if self.unit == "step" or steps_per_epoch is None:
            return ready
        start, every = self.start * steps_per_epoch, self.every * steps_per_epoch
        return dataclasses.replace(ready, start=start, every=every, unit="step")  # type: ignore[call-arg]


def _moved(average: Array, p: Array, weight: Any) -> Array:
    """Return the average moved toward the parameter; it is consumed."""
    average += weight * (p - average)
    return average
