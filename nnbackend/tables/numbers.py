"""Columns of numbers as inputs of a network: scaled, with missing ones filled in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.table import Kind, has_one_value, is_number, missing

__all__ = [
    "SCALES",
    "MissingIndicator",
    "Number",
    "RobustNumber",
    "Scale",
    "learn_number",
    "robust_scale",
    "smooth_clip",
]

Scale = Literal["standard", "max", "none", "robust"]

_LARGEST = 1e300  # a scaled number beyond it is clipped all the same
_CLIP = 3.0


def check_numbers(name: str, column: NDArray[Any]) -> NDArray[np.float64]:
    """Return a column as float64; refuse texts where training had numbers."""
    if not is_number(column):
        raise ValueError(f"column {name!r} held numbers in training and holds texts here")
    return column.astype(np.float64)


@dataclass(frozen=True)
class Number:
    """A column of numbers, encoded as ``(value - shift) / scale``.

    Attributes:
        name: the name of the column.
        fill: takes the place of a missing value: the median of the training rows.
        shift: is subtracted, in the units of the column.
        scale: divides, in the units of the column.
    """

    name: str
    fill: float
    shift: float
    scale: float

    kind: ClassVar[Kind] = "number"
    width: ClassVar[int] = 1

    @classmethod
    def learn(cls, name: str, column: NDArray[Any], scale: Scale) -> Number:
        """Return the encoding of a column, learned from its training rows."""
        column, absent = column.astype(np.float64), missing(column)  # no sums in float32
        with np.errstate(over="ignore", invalid="ignore"):
            fill = 0.0 if absent.all() else float(np.median(column[~absent]))
            shift, size = _STATISTICS[scale](np.where(absent, fill, column))
        if not (math.isfinite(fill) and math.isfinite(shift) and math.isfinite(size)):
            raise ValueError(f"the numbers of column {name!r} are too large to scale")
        return cls(name, fill, float(shift), float(size) or 1.0)

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled numbers, shape (rows, 1)."""
        numbers = check_numbers(self.name, column)
        filled = np.where(missing(numbers), self.fill, numbers)
        return ((filled - self.shift) / self.scale)[:, None]

    def decode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return scaled numbers of shape (rows, 1) in the column's units, float64, shape (rows,)."""
        decoded: NDArray[Any] = values[:, 0].astype(np.float64) * self.scale + self.shift
        return decoded


def _mean_and_deviation(column: NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the standard deviation; 0 for the latter of a column that does not vary.

    It may be constant in the training rows and not in the whole table: rounding is no scale for that.
    """
    if has_one_value(column):
        return float(column[0]), 0.0
    mean = float(np.mean(column))
    deviation = float(np.std(column))
    if deviation > 0.0 and math.isfinite(deviation):
        return mean, deviation
    furthest = float(np.max(np.abs(column - mean)))  # the squares are too small, or too large
    return mean, furthest * float(np.std((column - mean) / furthest))


_STATISTICS: dict[str, Callable[[NDArray[Any]], tuple[float, float]]] = {
    "standard": _mean_and_deviation,
    "max": lambda column: (0.0, np.max(np.abs(column))),
    "none": lambda column: (0.0, 1.0),
}
SCALES: tuple[Scale, ...] = ("standard", "max", "none", "robust")


@dataclass(frozen=True)
class RobustNumber:
    """A column of numbers scaled by its quartiles: ``z / sqrt(1 + (z / 3)**2)`` between -3 and 3.

    There ``z = (value - center) * factor``, and a missing value is 0. Outliers neither set the scale nor
    reach the network at full size (RealMLP, Holzmüller et al., NeurIPS 2024, arXiv:2407.04491).

    Attributes:
        name: the name of the column.
        center: the median of the training rows, in the units of the column.
        factor: see :func:`robust_scale`.
    """

    name: str
    center: float
    factor: float

    kind: ClassVar[Kind] = "number"
    width: ClassVar[int] = 1

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> RobustNumber:
        """Return the encoding of a column, learned from its training rows."""
        return cls(name, *robust_scale(name, column.astype(np.float64)))

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled numbers, shape (rows, 1)."""
        numbers = check_numbers(self.name, column)
        scaled = smooth_clip(numbers, self.center, self.factor)
        return np.where(missing(numbers), 0.0, scaled)[:, None]


def robust_scale(name: str, column: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median of a column and the factor that scales it.

    The factor is 1 / (q75 - q25); where these quartiles are equal 2 / (max - min); and 0 where the
    column does not vary. Missing values do not count.

    Raises:
        ValueError: numbers so large that their differences overflow.
    """
    known = column[~missing(column)]
    if not len(known):
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, center, high = (float(q) for q in np.quantile(known, (0.25, 0.5, 0.75)))
        spread = high - low
        if spread == 0.0:
            spread = float(known.max() - known.min()) / 2
    if not (math.isfinite(center) and math.isfinite(spread)):
        raise ValueError(f"the numbers of column {name!r} are too large to scale")
    if has_one_value(known) or spread == 0.0:  # rounding is no scale
        return center, 0.0
    return center, min(1.0 / max(spread, 1.0 / _LARGEST), _LARGEST)


def smooth_clip(values: NDArray[np.float64], center: Any, factor: Any) -> NDArray[np.float64]:
    """Return values scaled and clipped smoothly to between -3 and 3; see :class:`RobustNumber`."""
    with np.errstate(over="ignore"):
        z = np.clip((values - center) * factor, -_LARGEST, _LARGEST)
    clipped: NDArray[np.float64] = z / np.hypot(1.0, z / _CLIP)  # where a square would overflow
    return clipped


def learn_number(name: str, column: NDArray[Any], scale: Scale) -> Number | RobustNumber:
    """Return the encoding of a column of numbers in a scale."""
    if scale == "robust":
        return RobustNumber.learn(name, column)
    return Number.learn(name, column, scale)


@dataclass(frozen=True)
class MissingIndicator:
    """Whether a column of numbers or dates has no value in a row: 1, else 0.

    Attributes:
        name: the name of the column.
    """

    name: str

    kind: ClassVar[Kind] = "number"
    width: ClassVar[int] = 1

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return zeros and ones, shape (rows, 1)."""
        return missing(column).astype(np.float64)[:, None]
