"""Schedules around other schedules."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import check_number, set_number, set_size
from nnbackend.errors import given
from nnbackend.schedules.base import SCHEDULES, Schedule, Scheduled, between, is_schedule

__all__ = [
    "Scaled",
    "Warmup",
]


@SCHEDULES.register("warmup")
@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the first value of another schedule, which follows.

    ``initial + (schedule(0) - initial) * step / steps``, then ``schedule(step - steps)``.

    Args:
        schedule: a schedule, or a constant number.
        steps: the number of steps of the line.
        initial: value at step 0; default 0.

    >>> schedule = Warmup(nnb.schedules.Constant(1.0), steps=4)
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
        return between(self.initial, _value(self.schedule, 0), step / self.steps, "linear")

    @property
    def last_step(self) -> int | None:
        inside = _last_step(self.schedule)
        return None if inside is None else self.steps + inside


@SCHEDULES.register("scaled")
@dataclass(frozen=True)
class Scaled(Schedule):
    """Another schedule times a factor.

    Args:
        schedule: a schedule, or a number.
        factor: the number that its values are multiplied by.

    >>> Scaled(nnb.schedules.Step(1.0, every=10), factor=3.0)(0)
    3.0
    """

    schedule: Scheduled
    factor: float

    def __post_init__(self) -> None:
        _set_schedule(self)
        set_number(self, "factor")

    def __call__(self, step: int) -> float:
        return self.factor * _value(self.schedule, step)

    @property
    def last_step(self) -> int | None:
        return _last_step(self.schedule)


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


def _last_step(schedule: Scheduled) -> int | None:
    """Return the step from which a number or a schedule stays the same; None: it is not known."""
    if isinstance(schedule, Schedule):
        return schedule.last_step
    return None if callable(schedule) else 0
