"""Targets of numbers with heavy tails: transformed, and exactly back; and what a target seems to be."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import unknown_name
from nnbackend.tables.numbers import Number, check_numbers
from nnbackend.tables.table import Kind, is_number, missing

__all__ = [
    "TARGET_SCALES",
    "LogNumber",
    "QuantileNumber",
    "TargetFacts",
    "TargetScale",
    "check_spread",
    "describe_target",
    "learn_target_number",
    "skewness",
]

TargetScale = Literal["standard", "max", "none", "robust", "log", "quantile"]
TARGET_SCALES: tuple[TargetScale, ...] = ("standard", "max", "none", "robust", "log", "quantile")

_LARGEST_LOG = float(np.log(sys.float_info.max))
_LARGEST_SPREAD = 1e150
_KNOTS = 1001
_FEW_VALUES = 20  # of so many whole numbers it is said that they may be classes
_SKEWED = 1.5  # an exponential distribution has 2; below, logarithms hardly ever predict better


@dataclass(frozen=True)
class LogNumber:
    """A target of numbers with heavy tails, encoded as their standardized logarithm.

    That is ``(sign(y) * log(1 + |y|) - shift) / scale``: log1p for what is not negative, and its mirror
    image below zero. The inverse is as exact as float64.

    Attributes:
        name: the name of the column.
        shift: the mean of the logarithms of the training rows.
        scale: their standard deviation.
    """

    name: str
    shift: float
    scale: float

    kind: ClassVar[Kind] = "number"

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> LogNumber:
        """Return the encoding of a target, learned from its training rows."""
        inner = Number.learn(name, _log(column.astype(np.float64)), "standard")
        return cls(name, inner.shift, inner.scale)

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled logarithms, shape (rows, 1)."""
        logs = _log(check_numbers(self.name, column))
        return ((logs - self.shift) / self.scale)[:, None]

    def decode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the numbers, float64, shape (rows,); none beyond the largest of float64."""
        logs = values[:, 0].astype(np.float64) * self.scale + self.shift
        size = np.minimum(np.abs(logs), _LARGEST_LOG)
        return np.copysign(np.expm1(size), logs)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.copysign(np.log1p(np.abs(values)), values)


@dataclass(frozen=True)
class QuantileNumber:
    """A target of numbers of any distribution, encoded so that its training rows are normal.

    A line goes from knot to knot, from quantiles of the training rows to those of the normal
    distribution, and on with the slope of the ends: it rises everywhere, so that it has an inverse.

    Attributes:
        name: the name of the column.
        values: quantiles of the training rows, rising.
        normal: the quantiles of the normal distribution that belong to them, rising.
    """

    name: str
    values: tuple[float, ...]
    normal: tuple[float, ...]

    kind: ClassVar[Kind] = "number"

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> QuantileNumber:
        """Return the encoding of a target, learned from its training rows.

        Raises:
            ValueError: all rows have the same value.
        """
        known = np.sort(column[~missing(column)].astype(np.float64))
        values, first, count = np.unique(known, return_index=True, return_counts=True)
        if len(values) < 2:
            raise ValueError(f"the target {name!r} has one value only")
        if values[0] < -sys.float_info.max / 2 or values[-1] > sys.float_info.max / 2:
            raise ValueError(f"the numbers of column {name!r} are too large to scale")
        if len(values) > _KNOTS:  # evenly among the rows, with both ends
            middle = first + (count - 1) / 2
            wanted = np.linspace(0, len(known) - 1, _KNOTS)
            picked = np.unique(np.clip(np.searchsorted(middle, wanted), 0, len(values) - 1))
            values, first, count = values[picked], first[picked], count[picked]
        shares = (first + count / 2) / len(known)  # the middle of the rows that have the value
        normal = [NormalDist().inv_cdf(float(share)) for share in shares]
        return cls(name, tuple(values.tolist()), tuple(normal))

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the normal numbers, shape (rows, 1)."""
        numbers = check_numbers(self.name, column)
        return _along(numbers, np.array(self.values), np.array(self.normal))[:, None]

    def decode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the numbers in the units of the target, float64, shape (rows,)."""
        return _along(values[:, 0].astype(np.float64), np.array(self.normal), np.array(self.values))


def _along(
    x: NDArray[np.float64], knots: NDArray[np.float64], heights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the heights at x of the line through the knots, and beyond them with the ends' slopes."""
    left = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    width, rise = np.diff(knots)[left], np.diff(heights)[left]
    # From the nearer end, so that knots are met exactly.
    share = (x - knots[left]) / width
    low, high = heights[left], heights[left + 1]
    along: NDArray[np.float64] = np.where(
        share <= 0.5, low + share * rise, high - (1 - share) * rise
    )
    return along


def learn_target_number(
    name: str, column: NDArray[Any], scale: TargetScale
) -> Number | LogNumber | QuantileNumber:
    """Return the encoding of a target of numbers.

    Args:
        name: the name of the target.
        column: the training rows.
        scale: ``standard``, ``max`` or ``none`` as for features; ``log`` or ``quantile``, for
            numbers with heavy tails. ``robust``, which cannot be undone, is ``standard`` for a target.

    Raises:
        UnknownNameError: there is no such scale.
        ValueError: the numbers are too large to scale.
    """
    if scale not in TARGET_SCALES:
        raise unknown_name("scale of a target", scale, TARGET_SCALES)
    if scale == "log":
        return LogNumber.learn(name, column)
    if scale == "quantile":
        return QuantileNumber.learn(name, column)
    return Number.learn(name, column, "standard" if scale == "robust" else scale)


def skewness(column: NDArray[Any]) -> float:
    """Return how far numbers lean to one side: the mean cube of what is standardized, 0 if constant."""
    known = column[~missing(column)].astype(np.float64)
    with np.errstate(over="ignore"):
        spread = float(np.max(np.abs(known - np.mean(known)))) if len(known) else 0.0
    if spread == 0.0 or not np.isfinite(spread):
        return 0.0
    z = (known - np.mean(known)) / spread  # their squares do not overflow
    return float(np.mean(z**3) / np.mean(z**2) ** 1.5)


def check_spread(name: str, column: NDArray[Any]) -> None:
    """Refuse a target whose errors, squared, float64 does not have: too large, or zero.

    Args:
        name: the name of the target.
        column: its values, texts or numbers, of which none is missing.

    Raises:
        ValueError: they are.
    """
    if not is_number(column):
        return
    spread = float(column.max()) - float(column.min())
    if not spread < _LARGEST_SPREAD:
        raise ValueError(
            f"the numbers of the target {name!r} are too large: divide them, by {_LARGEST_SPREAD:g} say"
        )
    if 0.0 < spread < 1.0 / _LARGEST_SPREAD:
        raise ValueError(
            f"the numbers of the target {name!r} lie too close together: multiply them, by "
            f"{_LARGEST_SPREAD:g} say"
        )


@dataclass(frozen=True)
class TargetFacts:
    """What a target seems to be.

    Attributes:
        task: ``classification`` for texts, and for numbers that are 0 and 1 only; else ``regression``.
        distinct: how many different values it has.
        may_be_classes: whether numbers may be meant as classes: whole ones that repeat, and are few or
            counted from 0.
        skewness: of numbers; 0 for texts.
        heavy_tailed: whether numbers lean so far to one side that ``log`` or ``quantile`` may help.
        missing: how many rows have no target.
    """

    task: Literal["classification", "regression"]
    distinct: int
    may_be_classes: bool
    skewness: float
    heavy_tailed: bool
    missing: int


def describe_target(column: NDArray[Any]) -> TargetFacts:
    """Return what a target, numbers or texts, seems to be."""
    absent = missing(column)
    known = column[~absent]
    count = int(absent.sum())
    if not is_number(column):
        return TargetFacts("classification", len(set(known)), True, 0.0, False, count)
    values = np.unique(known)
    if values.tolist() == [0.0, 1.0]:
        return TargetFacts("classification", 2, True, 0.0, False, count)
    lean = skewness(column)
    classes = may_be_classes(values, len(known))
    return TargetFacts("regression", len(values), classes, lean, abs(lean) > _SKEWED, count)


def may_be_classes(values: NDArray[Any], rows: int) -> bool:
    """Return whether different numbers are whole and repeat, and are few or counted from 0."""
    if len(values) < 2:
        return False
    whole, repeat = bool((values == np.floor(values)).all()), 2 * len(values) <= rows
    counted = bool(values[0] == 0 and values[-1] == len(values) - 1)
    return whole and repeat and (counted or len(values) <= _FEW_VALUES)
