"""The base of schedules: functions of the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from nnbackend.core.registry import Registry

__all__ = [
    "SCHEDULES",
    "Schedule",
    "Scheduled",
    "between",
    "is_schedule",
]

Scheduled: TypeAlias = float | Callable[[int], float]
"""A number, or a schedule."""

SCHEDULES = Registry("schedule")


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

    @property
    def last_step(self) -> int | None:
        """The step from which the value stays the same; None (unless overridden): it is not known."""
        return None


def between(start: float, stop: float, share: float, shape: str) -> float:
    """Return the value at a share of the way from ``start`` to ``stop``."""
    if shape == "cosine":
        return stop + (start - stop) * (1.0 + math.cos(math.pi * share)) / 2.0
    return start + (stop - start) * share
