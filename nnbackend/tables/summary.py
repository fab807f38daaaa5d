"""What the training rows held in a column: kept to describe a model, and to notice other data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.kinds import ColumnKind
from nnbackend.tables.moments import seconds_of
from nnbackend.tables.table import is_number, missing

__all__ = ["ColumnSummary"]


@dataclass(frozen=True)
class ColumnSummary:
    """What the training rows held in a column.

    Attributes:
        name: the name of the column.
        kind: what it was found, or said, to hold.
        rows: the number of training rows.
        missing: how many of them had no value.
        distinct: how many different values there were.
        low: the smallest number, or the first date in seconds since 1970; None for others.
        high: the largest, or the last.
    """

    name: str
    kind: ColumnKind
    rows: int
    missing: int
    distinct: int
    low: float | None = None
    high: float | None = None

    @classmethod
    def learn(
        cls, name: str, kind: ColumnKind, column: NDArray[Any], day_first: bool | None = None
    ) -> ColumnSummary:
        """Return the summary of a column's training rows."""
        known = column[~missing(column)]
        distinct = len(np.unique(known)) if is_number(column) else len(set(known))
        numbers = known if is_number(column) else np.empty(0)
        if kind == "date":
            numbers = seconds_of(known, day_first)
            numbers = numbers[~np.isnan(numbers)]
        ends = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return cls(name, kind, len(column), len(column) - len(known), distinct, *ends)
