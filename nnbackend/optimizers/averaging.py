"""Averages of the parameters over the steps: exponential (EMA) and equal weights (SWA).

The average is one more array of state. ``fit`` evaluates validation data with it, and leaves it in the
network: ``network.params`` are the averages, ``network.raw_params`` the optimizer's last parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.checks import check_choice, check_size, set_flag, set_number
from nnbackend.core.types import Array, Namespace
from nnbackend.optimizers.base import Slots, Updated
from nnbackend.optimizers.numbers import Number, Numbers, at_each_step
from nnbackend.optimizers.prepared import Group, Known
from nnbackend.optimizers.wrapper import WRAPPERS, Wrapper

__all__ = ["EMA", "SWA"]


@dataclass(frozen=True)
class _Averaged(Wrapper):
    """Keeps ``average += weight(t) * (p - average)`` after each step, in its last slot."""

    @abstractmethod
    def weight(self, step: int) -> float:
        """Return the weight in the average of the parameters after a step (from 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.averages:
            raise ValueError(f"{self.inner!r} keeps an average already; keep one")

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.inner.slots + 1

    @property
    def averages(self) -> bool:  # type: ignore[override]
        return True

    def numbers(self, step: Any) -> dict[str, Number]:
        weight = at_each_step(self.weight, step)
        return {**self.inner.numbers(step), "average_weight": weight}

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Apply the rule inside, then move the average."""
        p, own = self.inner.rule(p, g, slots[:-1], h, xp)
        average = slots[-1]
        average += h.average_weight * (p - average)
        return p, (*own, average)

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups of the optimizer inside, with the average after its other arrays."""
        groups = super().partition(params, known)
        lazy = [name for group in groups if group.rule.by_rows for name in group.names]
        if lazy:
            raise ValueError(
                f"an average walks over all rows, and Lazy leaves most of {', '.join(lazy)} alone: take "
                f"one of {type(self).__name__} and Lazy"
            )
        return tuple(
            replace(group, state=(*group.state, str(group.entries)), entries=group.entries + 1)
            for group in groups
        )


@WRAPPERS.register("ema")
@dataclass(frozen=True)
class EMA(_Averaged):
    """Keep an exponential moving average of the parameters.

    ``average = decay * average + (1 - decay) * p`` after each step. With ``bias_correction`` the
    average is that of the parameters after steps 1 to ``t`` with weights ``decay**(t - i)`` that are
    made to sum to 1, as Adam corrects its means: the random first weights of the network
    do not count. Without it the parameters after the first step are the first average, as in
    PyTorch's ``AveragedModel``, and count ``decay**(t - 1)`` after ``t`` steps.

    Args:
        optimizer: the optimizer that makes the update, an object or a name.
        decay: the share of the average that a step keeps, from 0 to below 1, default 0.999; about the
            last ``1 / (1 - decay)`` steps count.
        bias_correction: whether the weights are made to sum to 1, default True; see above.

    Raises:
        ValueError: ``decay`` is out of range.

    Source: Polyak, Juditsky (1992); the correction as in Kingma, Ba (2015), arXiv:1412.6980, section 3.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = EMA(SGD(1.0), decay=0.5)
    >>> params = {"weight": np.zeros(1)}
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     params, state = optimizer.update(params, {"weight": -np.ones(1)}, state)
    >>> optimizer.averaged(params, state)["weight"]  # (0.5 * 1 + 2) / 1.5
    array([1.66666667])
    """

    data = ("decay",)

    decay: float = 0.999
    bias_correction: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        set_number(self, "decay", 0.0, 1.0)
        set_flag(self, "bias_correction")

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
    the first of them the average is the current parameters. A learning rate that stays high or
    goes up and down is what makes the averaged parameters differ; see :mod:`nnbackend.schedules`.

    Args:
        optimizer: the optimizer that makes the update, an object or a name.
        start: the number of steps before, default 0; the first that counts is ``start + every``.
        every: the number of steps from one that counts to the next, default 1.
        unit: ``"step"`` (the default), or ``"epoch"`` to give both in epochs:
            ``SWA(SGD(0.05), 75, unit="epoch")`` averages the parameters at the ends of epochs 76, 77,
            ... Only ``fit`` knows epochs.

    Raises:
        ValueError: a number is out of range, or the unit is neither of the two.

    Source: Izmailov et al. (2018), arXiv:1803.05407, algorithm 1.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = SWA(SGD(1.0))
    >>> params = {"weight": np.zeros(1)}
    >>> state = optimizer.init(params)
    >>> for _ in range(3):
    ...     params, state = optimizer.update(params, {"weight": -np.ones(1)}, state)
    >>> params["weight"], optimizer.averaged(params, state)["weight"]
    (array([3.]), array([2.]))
    """

    data = ("start", "every")

    start: int = 0
    every: int = 1
    unit: str = "step"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "start", check_size("start", self.start, least=0))
        object.__setattr__(self, "every", check_size("every", self.every))
        check_choice("unit", self.unit, ("step", "epoch"))

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

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups with epochs turned into steps."""
        steps = known.steps_per_epoch
        if self.unit == "step" or steps is None:
            return super().partition(params, known)
        return replace(
            self, start=self.start * steps, every=self.every * steps, unit="step"
        ).partition(params, known)
