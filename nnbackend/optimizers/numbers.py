"""The numbers of an optimizer's rule: computed on the host in float64, given to the rule by name.

``numbers(step)`` of an optimizer returns all of them for a step. Those of the library's own also take
an array of steps, which saves training a loop in Python. The numbers are the same to the last bit either
way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "Number",
    "Numbers",
    "Rows",
    "are_many",
    "at_each_step",
    "number_rows",
    "power",
    "square_root",
]

Column: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

Rows: TypeAlias = Sequence[tuple[float, ...]] | np.ndarray[Any, np.dtype[np.float64]]
"""The numbers of successive steps, in a row for each."""

Number: TypeAlias = Any
"""A float; for an array of steps an array of floats, or a float that is the same at each."""

_POWERS_PER_TABLE = 1024
_FEW_STEPS = 16  # for fewer it is faster to compute numbers one by one


class Numbers(SimpleNamespace):
    """The numbers of a rule by name: ``h.learning_rate``. Floats, or arrays of no axes.

    Raises:
        AttributeError: the rule uses a number that ``numbers(step)`` does not give.
        TypeError: the rule takes its numbers by position.
    """

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the rule uses the number {name!r}; numbers(step) gives {', '.join(vars(self))}"
        )

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(
            f"the numbers of a rule have names: rule(p, g, slots, h, xp) with h.learning_rate; "
            f"here are {', '.join(vars(self))}"
        )

    def part(self, prefix: str) -> Numbers:
        """Return those whose names begin with a prefix, without it."""
        found = {k.removeprefix(prefix): v for k, v in vars(self).items() if k.startswith(prefix)}
        return Numbers(**found)


def number_rows(numbers: Callable[[Any], Sequence[Number]], steps: range, at_once: bool) -> Rows:
    """Return the numbers of successive steps.

    Args:
        numbers: returns those of a step, or of an array of steps.
        steps: the steps.
        at_once: whether ``numbers`` takes an array.
    """
    if not at_once or len(steps) < _FEW_STEPS:
        return [tuple(numbers(step)) for step in steps]
    columns = numbers(np.arange(steps.start, steps.stop))
    if not any(map(are_many, columns)):
        return [tuple(columns)] * len(steps)
    rows = np.empty((len(steps), len(columns)))
    for i, column in enumerate(columns):
        rows[:, i] = column
    return rows


def are_many(steps: Any) -> bool:
    """Return whether this is an array of steps, or of numbers, instead of a single one."""
    return isinstance(steps, np.ndarray)


def at_each_step(function: Callable[[int], float], step: Any) -> Number:
    """Return ``function(step)``, for an array of steps at each of them."""
    if not are_many(step):
        return function(step)
    return np.asarray([function(one) for one in step.tolist()], dtype=np.float64)


def power(base: float, step: Any) -> Number:
    """Return ``base**step``, by Python for an array of steps too: NumPy's differs in the last bit."""
    if not are_many(step):
        return base**step
    first, last = (int(step[i]) // _POWERS_PER_TABLE for i in (0, -1))
    found = np.concatenate([_powers(base, number) for number in range(first, last + 1)])
    start = int(step[0]) - first * _POWERS_PER_TABLE
    return found[start : start + len(step)]


def square_root(x: Number) -> Number:
    """Return the square root of a float as a float, of an array as an array."""
    return np.sqrt(x) if are_many(x) else math.sqrt(x)


@lru_cache(maxsize=256)
def _powers(base: float, number: int) -> Column:
    """Return the powers of one table."""
    start = number * _POWERS_PER_TABLE
    return np.asarray([base**step for step in range(start, start + _POWERS_PER_TABLE)])
