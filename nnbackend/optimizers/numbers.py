"""The numbers of an optimizer's rule: computed on the host in float64, given to the rule by name.

``numbers(step)`` of an optimizer returns all of them for a step. Training computes many steps at once
with :func:`number_columns`, which saves a loop in Python. The
numbers are the same to the last bit either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from nnbackend.optimizers.base import Optimizer

__all__ = [
    "FEW_STEPS",
    "Number",
    "Numbers",
    "Rows",
    "are_many",
    "at_each_step",
    "number_columns",
    "number_rows",
    "of_each_step",
    "power",
    "square_root",
]

Column: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

Rows: TypeAlias = Sequence[tuple[float, ...]] | np.ndarray[Any, np.dtype[np.float64]]
"""The numbers of successive steps, in a row for each."""

Number: TypeAlias = Any
"""A float; for an array of steps an array of floats, or a float that is the same at each."""

_POWERS_PER_TABLE = 1024
FEW_STEPS = 16
"""For fewer steps it is faster to compute numbers one by one."""


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


def number_columns(optimizer: Optimizer, steps: range) -> Mapping[str, Number]:
    """Return the numbers of successive steps, each as a float that stays or an array of one per step."""
    if _takes_arrays(optimizer):
        return optimizer.numbers(np.arange(steps.start, steps.stop))
    return of_each_step(optimizer.numbers, steps)


def number_rows(columns: Sequence[Number], count: int) -> Rows:
    """Return a row for each step of columns that are arrays, or floats where a number stays."""
    if not any(map(are_many, columns)):
        return [tuple(columns)] * count
    rows = np.empty((count, len(columns)))
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


def of_each_step(
    numbers: Callable[[Any], dict[str, float]], steps: range | Column
) -> dict[str, Number]:
    """Return the numbers of steps, computed one by one."""
    rows = [numbers(int(step)) for step in steps]
    names = {name for row in rows for name in row}
    if any(row.keys() != names for row in rows):
        raise ValueError(f"numbers(step) must give the same numbers at each step: {sorted(names)}")
    return {name: np.asarray([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


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


def _takes_arrays(optimizer: Optimizer) -> bool:
    """Return whether ``numbers`` takes an array of steps: this library's do, a schedule may not."""
    if optimizer.scheduled or not type(optimizer).__module__.startswith("nnbackend."):
        return False
    return all(map(_takes_arrays, optimizer.wrapped))
