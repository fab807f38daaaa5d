"""Schedules along cosines: down, up and down, again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.checks import check_choice, set_number, set_size
from nnbackend.schedules.base import SCHEDULES, Schedule, between

__all__ = [
    "Cosine",
    "CosineLog",
    "FlatCosine",
    "OneCycle",
]

SHAPES = ("cosine", "linear")
_MOST_CYCLES = 60  # of more, a float would not tell the first steps apart


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
        return between(self.initial, self.final, place / period, "cosine")

    @property
    def last_step(self) -> int | None:
        return self.steps if self.multiplier is None else None


@SCHEDULES.register("cosine_log")
@dataclass(frozen=True)
class CosineLog(Schedule):
    """Goes up and down several times, from 0 to ``value`` and back, each time twice as slowly.

    ``value * (1 - cos(2 pi log2(1 + (2**cycles - 1) t))) / 2`` with ``t = step / steps``; after that 0.
    With four cycles it is the schedule that RealMLP calls coslog4. The first step has the value 0.

    Args:
        value: the largest value, at the top of each cycle.
        steps: the number of steps of all cycles.
        cycles: how often it goes up and down, at most 60; default 4.

    >>> schedule = CosineLog(1.0, steps=150)
    >>> [round(schedule(step), 3) for step in (0, 4, 10, 30, 70, 150)]
    [0.0, 0.998, 0.0, 0.0, 0.0, 0.0]

    Source: Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491.
    """

    value: float
    steps: int
    cycles: int = 4

    def __post_init__(self) -> None:
        set_number(self, "value")
        set_size(self, "steps")
        set_size(self, "cycles")
        if self.cycles > _MOST_CYCLES:
            raise ValueError(f"cycles must be at most {_MOST_CYCLES}, got {self.cycles}")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return 0.0
        cycle = math.log2(1.0 + (2.0**self.cycles - 1.0) * (step / self.steps))
        return self.value * (1.0 - math.cos(2.0 * math.pi * cycle)) / 2.0

    @property
    def last_step(self) -> int | None:
        return self.steps


@SCHEDULES.register("flat_cosine")
@dataclass(frozen=True)
class FlatCosine(Schedule):
    """Stays for the first half of the steps, then falls to 0 along half a cosine.

    ``value`` while ``t = step / steps`` is at most 1/2, then ``value * (1 + cos(pi (2 t - 1))) / 2``;
    after that 0.

    Args:
        value: value at step 0.
        steps: the number of steps until it is 0.

    >>> schedule = FlatCosine(1.0, steps=100)
    >>> [round(schedule(step), 3) for step in (0, 50, 75, 100)]
    [1.0, 1.0, 0.5, 0.0]

    Source: Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491.
    """

    value: float
    steps: int

    def __post_init__(self) -> None:
        set_number(self, "value")
        set_size(self, "steps")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return 0.0
        return between(self.value, 0.0, max(2.0 * step / self.steps - 1.0, 0.0), "cosine")

    @property
    def last_step(self) -> int | None:
        return self.steps


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
            return between(initial, self.peak, step / top, self.shape)
        if step >= last:
            return final if last > top else self.peak
        down = (step - max(top, 0.0)) / (last - max(top, 0.0))
        return between(self.peak, final, down, self.shape)

    @property
    def last_step(self) -> int | None:
        return self.steps
