"""Learning rates over a whole run, by name: ``nnbackend train --schedule``."""

from __future__ import annotations

import math
from collections.abc import Callable

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

__all__ = ["PLATEAU", "SCHEDULES", "rates_over_run"]

PLATEAU = "plateau"  # lowered by a callback

# The learning rate after the warm-up, for a rate, the steps left and those of the warm-up.
SCHEDULES: dict[str, Callable[[float, int, int], Scheduled]] = {
    "constant": lambda rate, left, warm: rate,
    "cosine": lambda rate, left, warm: Cosine(rate, left),
    "exponential": lambda rate, left, warm: Exponential(rate, 0.01, every=left),
    "inverse-square-root": lambda rate, left, warm: InverseSquareRoot(
        rate, warm or math.ceil(left / 20)
    ),
    "linear": lambda rate, left, warm: Polynomial(rate, left),
    "one-cycle": lambda rate, left, warm: OneCycle(rate, left),
    PLATEAU: lambda rate, left, warm: rate,
    "step": lambda rate, left, warm: Step(rate, every=math.ceil(left / 3)),
}


def rates_over_run(name: str | None, warmup: float | None, rate: float, steps: int) -> Scheduled:
    """Return the learning rate over a run of so many steps, at most ``rate``; None: a constant one.

    In a share ``warmup`` of the steps it rises; None: 0.3 for one-cycle, otherwise no warm-up.
    """
    if name == "one-cycle" and warmup is not None:  # it has a warm-up of its own
        return OneCycle(rate, steps, warmup)
    warm = round((warmup or 0.0) * steps)
    schedule = SCHEDULES[name or "constant"](rate, max(steps - warm, 1), warm)
    return Warmup(schedule, warm, initial=rate / warm) if warm else schedule
