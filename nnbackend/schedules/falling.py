"""Schedules that stay the same, or fall by steps or along a power."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from nnbackend.core.checks import check_size, set_number, set_size
from nnbackend.errors import given
from nnbackend.schedules.base import SCHEDULES, Schedule

__all__ = [
    "Constant",
    "Exponential",
    "InverseSquareRoot",
    "MultiStep",
    "Polynomial",
    "Step",
]


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

    @property
    def last_step(self) -> int | None:
        return 0


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

    @property
    def last_step(self) -> int | None:
        return self.steps[-1] if self.steps else 0


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

    @property
    def last_step(self) -> int | None:
        return self.steps


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
