"""Learning rates over a whole run, by name: ``nnbackend train --schedule``."""

from __future__ import annotations

import math

from nnbackend.core.checks import check_number
from nnbackend.errors import unknown_name
from nnbackend.schedules import (
    Cosine,
    Exponential,
    InverseSquareRoot,
    OneCycle,
    Polynomial,
    Scheduled,
    Step,
    Warmup,
)

__all__ = ["NAMES", "PLATEAU", "check", "over_run"]

PLATEAU = "plateau"
NAMES = ("constant", "cosine", "exponential", "inverse-square-root", "linear", "one-cycle", PLATEAU,
         "step")  # fmt: skip


def check(name: str | None, warmup: float | None) -> None:
    """Refuse a schedule that does not exist, or a warm-up that is no share of a run."""
    if name is not None and name not in NAMES:
        raise unknown_name("schedule", name, NAMES)
    if warmup is not None:
        check_number("warmup", warmup, 0.0, 1.0)


def over_run(name: str | None, warmup: float | None, rate: float, steps: int) -> Scheduled:
    """Return the learning rate over a run of so many steps, at most ``rate``; None: a constant one.

    In a share ``warmup`` of the steps it rises; None: 0.3 for one-cycle, otherwise no warm-up.
    """
    if name == "one-cycle":
        return OneCycle(rate, steps) if warmup is None else OneCycle(rate, steps, warmup)
    warm = round((warmup or 0.0) * steps)
    left = max(steps - warm, 1)
    schedule: Scheduled = rate
    match name:
        case "cosine":
            schedule = Cosine(rate, left)
        case "linear":
            schedule = Polynomial(rate, left)
        case "exponential":
            schedule = Exponential(rate, 0.01, every=left)
        case "step":
            schedule = Step(rate, every=math.ceil(left / 3))
        case "inverse-square-root":
            schedule = InverseSquareRoot(rate, warm or math.ceil(left / 20))
    return Warmup(schedule, warm, initial=rate / warm) if warm else schedule
