"""Schedules: hyperparameters that change while a network is trained.

A schedule is a function of the step, which counts from 0: ``schedule(step) -> value``. It takes the
place of a number for any hyperparameter of any optimizer: ``Adam(Cosine(1e-3, steps=5000))`` or
``SGD(0.1, momentum=Warmup(0.95, steps=100, initial=0.5))``. Any other function of the step can be given,
too. It is called on the host, and its value is data of the training step: one that changes compiles
nothing.

These are descriptions, as layers are: they can be compared, named and written to a file. A step is an
update of the parameters: an epoch has ``ceil(rows / batch_size)`` of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from nnbackend.core.checks import check_choice, check_number, check_size, set_number, set_size
from nnbackend.core.registry import Registry
from nnbackend.errors import given

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSquareRoot",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Scaled",
    "Schedule",
    "Step",
    "Warmup",
    "is_schedule",
]

Scheduled: TypeAlias = float | Callable[[int], float]
"""A number, or a schedule."""

SCHEDULES = Registry("schedule")

SHAPES = ("cosine", "linear")


def is_schedule(value: object) -> bool:
    """Return whether a value is a function of the step (a class is not: it was not called)."""
    return callable(value) and not isinstance(value, type)


@dataclass(frozen=True)
class Schedule(ABC):
    """The base of schedules: functions of the step, counted from 0.

    Raises:
        ValueError: a number is out of range.
    """

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the value at a step, which counts from 0."""


@SCHEDULES.register("constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    Args:
        value: that value.

    >>> Constant(0.1)(1000)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        set_number(self, "value")

    def __call__(self, step: int) -> float:
        return self.value


@SCHEDULES.register("step")
@dataclass(frozen=True)
class Step(Schedule):
    """Falls at equal intervals: ``initial * factor**(step // every)``.

    Args:
        initial: value at step 0.
        every: the number of steps between two falls.
        factor: the ratio of a value to the one before; default 0.1.

    >>> schedule = Step(1.0, every=10, factor=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        set_number(self, "initial")
        set_size(self, "every")
        set_number(self, "factor", 0.0)

    def __call__(self, step: int) -> float:
        return self.initial * math.pow(self.factor, step // self.every)


@SCHEDULES.register("multi_step")
@dataclass(frozen=True)
class MultiStep(Schedule):
    """Falls at the steps given: ``initial * factor**n``, ``n`` the number of them reached.

    Args:
        initial: value at step 0.
        steps: where it falls, in ascending order.
        factor: the ratio of a value to the one before; default 0.1.

    >>> schedule = MultiStep(1.0, steps=(10, 15), factor=0.5)
    >>> [schedule(step) for step in (9, 10, 15)]
    [1.0, 0.5, 0.25]
    """

    initial: float
    steps: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        set_number(self, "initial")
        several = self.steps if isinstance(self.steps, list | tuple) else (self.steps,)
        steps = tuple(check_size("steps", step) for step in several)
        if list(steps) != sorted(set(steps)):
            raise ValueError(f"steps must be in ascending order, got {given(self.steps)}")
        object.__setattr__(self, "steps", steps)
        set_number(self, "factor", 0.0)

    def __call__(self, step: int) -> float:
        return self.initial * math.pow(self.factor, bisect_right(self.steps, step))


@SCHEDULES.register("exponential")
@dataclass(frozen=True)
class Exponential(Schedule):
    """Falls by the same factor again and again: ``initial * factor**(step / every)``.

    Args:
        initial: value at step 0.
        factor: the ratio of the values ``every`` steps apart.
        every: the number of steps in which the value is multiplied by ``factor``; default 1.
        minimum: the smallest value; default 0.

    >>> schedule = Exponential(1.0, factor=0.25, every=2, minimum=0.1)
    >>> [schedule(step) for step in (0, 1, 2, 4)]
    [1.0, 0.5, 0.25, 0.1]
    """

    initial: float
    factor: float
    every: int = 1
    minimum: float = 0.0

    def __post_init__(self) -> None:
        set_number(self, "initial")
        set_number(self, "factor", 0.0)
        set_size(self, "every")
        set_number(self, "minimum")

    def __call__(self, step: int) -> float:
        return max(self.initial * math.pow(self.factor, step / self.every), self.minimum)


@SCHEDULES.register("polynomial")
@dataclass(frozen=True)
class Polynomial(Schedule):
    """Along a power from one value to another.

    ``final + (initial - final) * (1 - step / steps)**power``.

    Args:
        initial: value at step 0.
        steps: the number of steps to ``final``, where it stays.
        power: the exponent; 1 (the default) is a straight line.
        final: value at the end; default 0.

    >>> schedule = Polynomial(1.0, steps=4)
    >>> [schedule(step) for step in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """

    initial: float
    steps: int
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        set_number(self, "initial")
        set_size(self, "steps")
        set_number(self, "power", 0.0)
        set_number(self, "final")

    def __call__(self, step: int) -> float:
        left = 1.0 - min(step, self.steps) / self.steps
        return self.final + (self.initial - self.final) * math.pow(left, self.power)


@SCHEDULES.register("cosine")
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine down: ``final + (initial - final) * (1 + cos(pi * step / steps)) / 2``.

    Args:
        initial: value at step 0.
        steps: the number of steps to ``final``.
        final: value at the end; default 0.
        multiplier: None (the default): it stays at ``final``. A number: it starts again from
            ``initial``, and each period is that many times as long as the one before.

    >>> schedule = Cosine(1.0, steps=4)
    >>> [round(schedule(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Source: Loshchilov, Hutter (2017), SGDR, arXiv:1608.03983, equation 5.
    """

    initial: float
    steps: int
    final: float = 0.0
    multiplier: float | None = None

    def __post_init__(self) -> None:
        set_number(self, "initial")
        set_size(self, "steps")
        set_number(self, "final")
        if self.multiplier is not None:
            set_number(self, "multiplier", 1.0)

    def __call__(self, step: int) -> float:
        place, period = float(step), float(self.steps)
        if self.multiplier is None:
            place = min(place, period)
        elif self.multiplier == 1.0:
            place %= period
        else:
            while place >= period:
                place -= period
                period *= self.multiplier
        return _between(self.initial, self.final, place / period, "cosine")


@SCHEDULES.register("one_cycle")
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to a peak and down again, far below the start, in one run.

    From ``initial`` to ``peak`` until step ``warmup * steps - 1``, then to ``final`` until step
    ``steps - 1``, where it stays. Momentum is cycled the other way, ``OneCycle(0.85, steps,
    initial=0.95, final=0.95)``.

    Args:
        peak: the largest value.
        steps: the number of steps of the whole run.
        warmup: the fraction of the steps that go up, from 0 to 1; default 0.3.
        initial: value at step 0; None (the default): a 25th of the peak.
        final: value at the end; None (the default): a 10,000th of ``initial``.
        shape: ``"cosine"`` (the default) or ``"linear"``.

    >>> schedule = OneCycle(1.0, steps=10, warmup=0.3)
    >>> [round(schedule(step), 3) for step in (0, 2, 9)]
    [0.04, 1.0, 0.0]

    Source: Smith, Topin (2019), Super-convergence, arXiv:1708.07120; PyTorch's form and defaults.
    """

    peak: float
    steps: int
    warmup: float = 0.3
    initial: float | None = None
    final: float | None = None
    shape: str = "cosine"

    def __post_init__(self) -> None:
        set_number(self, "peak")
        set_size(self, "steps")
        set_number(self, "warmup", 0.0)
        if self.warmup > 1.0:
            raise ValueError(f"warmup is a share of the steps, from 0 to 1; got {self.warmup!r}")
        for name in ("initial", "final"):
            if getattr(self, name) is not None:
                set_number(self, name)
        check_choice("shape", self.shape, SHAPES)

    def __call__(self, step: int) -> float:
        initial = self.peak / 25.0 if self.initial is None else self.initial
        final = initial / 1e4 if self.final is None else self.final
        top, last = self.warmup * self.steps - 1.0, self.steps - 1.0
        if step < top:
            return _between(initial, self.peak, step / top, self.shape)
        if step >= last:
            return final if last > top else self.peak
        down = (step - max(top, 0.0)) / (last - max(top, 0.0))
        return _between(self.peak, final, down, self.shape)


@SCHEDULES.register("inverse_square_root")
@dataclass(frozen=True)
class InverseSquareRoot(Schedule):
    """Falls as ``initial * sqrt(steps / (steps + step))``.

    After a warm-up of as many ``steps``, ``Warmup(InverseSquareRoot(peak, n), n)``, that is the
    schedule of the transformer: up in ``n`` steps, then ``peak * sqrt(n / step)``.

    Args:
        initial: value at step 0.
        steps: a third of the number of steps after which the value is half.

    >>> schedule = InverseSquareRoot(1.0, steps=100)
    >>> [round(schedule(step), 3) for step in (0, 100, 300)]
    [1.0, 0.707, 0.5]

    Source: Vaswani et al. (2017), arXiv:1706.03762, section 5.3.
    """

    initial: float
    steps: int

    def __post_init__(self) -> None:
        set_number(self, "initial")
        set_size(self, "steps")

    def __call__(self, step: int) -> float:
        return self.initial * math.sqrt(self.steps / (self.steps + step))


@SCHEDULES.register("warmup")
@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the first value of another schedule, which follows.

    ``initial + (schedule(0) - initial) * step / steps``, then ``schedule(step - steps)``.

    Args:
        schedule: a schedule, or a constant number.
        steps: the number of steps of the line.
        initial: value at step 0; default 0.

    >>> schedule = Warmup(Constant(1.0), steps=4)
    >>> [schedule(step) for step in (0, 2, 4, 5)]
    [0.0, 0.5, 1.0, 1.0]
    """

    schedule: Scheduled
    steps: int
    initial: float = 0.0

    def __post_init__(self) -> None:
        _set_schedule(self)
        set_size(self, "steps")
        set_number(self, "initial")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return _value(self.schedule, step - self.steps)
        return _between(self.initial, _value(self.schedule, 0), step / self.steps, "linear")


@SCHEDULES.register("scaled")
@dataclass(frozen=True)
class Scaled(Schedule):
    """Another schedule times a factor.

    Args:
        schedule: a schedule, or a number.
        factor: the number that its values are multiplied by.

    >>> Scaled(Step(1.0, every=10), factor=3.0)(0)
    3.0
    """

    schedule: Scheduled
    factor: float

    def __post_init__(self) -> None:
        _set_schedule(self)
        set_number(self, "factor")

    def __call__(self, step: int) -> float:
        return self.factor * _value(self.schedule, step)


def _set_schedule(owner: Warmup | Scaled) -> None:
    """Check the schedule inside a schedule; a number becomes a float."""
    if is_schedule(owner.schedule):
        return
    if isinstance(owner.schedule, type | str):
        raise ValueError(
            f"schedule must be a schedule, such as Cosine(...), or a number; got {given(owner.schedule)}"
        )
    object.__setattr__(owner, "schedule", check_number("schedule", owner.schedule))


def _value(schedule: Scheduled, step: int) -> float:
    return float(schedule(step) if callable(schedule) else schedule)


def _between(start: float, stop: float, share: float, shape: str) -> float:
    """Return the value at a share of the way from ``start`` to ``stop``."""
    if shape == "cosine":
        return stop + (start - stop) * (1.0 + math.cos(math.pi * share)) / 2.0
    return start + (stop - start) * share
