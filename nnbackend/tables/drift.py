"""How the rows of a table differ from those that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import counted, few
from nnbackend.tables.categories import (
    Categories,
    EmbeddedCategories,
    RobustCategories,
    unseen_in,
)
from nnbackend.tables.encodings import Feature, as_texts
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import MissingIndicator
from nnbackend.tables.summary import ColumnSummary
from nnbackend.tables.table import Table, is_number, missing, warn

__all__ = ["Change", "find_changes", "warn_changes"]

_MUCH_OUTSIDE = 0.05  # of the rows beyond the training range
_FAR_OUTSIDE = 1.0  # widths of the range
_FEW_ROWS = 10
_MORE_MISSING = 0.1  # of the rows, more than in training


@dataclass(frozen=True)
class Change:
    """What is different in a column.

    Attributes:
        column: its name.
        what: ``unseen`` categories, values ``outside`` the range of training, or more ``missing``.
        rows: in how many rows.
        share: in what share of the rows, from 0 to 1.
        training_share: for ``missing``, the share in training; else 0.
        furthest: for ``outside``, how far the furthest value is beyond the range, in widths of that.
        values: for ``unseen``, the categories, at most twenty.
    """

    column: str
    what: Literal["unseen", "outside", "missing"]
    rows: int
    share: float
    training_share: float = 0.0
    furthest: float = 0.0
    values: tuple[str, ...] = ()

    @property
    def is_large(self) -> bool:
        """Whether it is worth a warning.

        Unseen categories always are; a value further outside the range than that is wide. What may be
        chance in few rows is from ten on: values outside the range in 1 row of 20; missing ones in 10 %
        of the rows more than in training, and twice as many.
        """
        if self.what == "outside" and self.furthest > _FAR_OUTSIDE:
            return True
        if self.what == "unseen" or self.rows < _FEW_ROWS:
            return self.what == "unseen"
        if self.what == "outside":
            return self.share >= _MUCH_OUTSIDE
        more = self.share - self.training_share
        return more >= _MORE_MISSING and self.share >= 2 * self.training_share


def find_changes(
    features: Iterable[Feature], columns: Sequence[ColumnSummary], table: Table
) -> list[Change]:
    """Return what is different in the columns of a table from what training saw.

    Args:
        features: the encodings of the columns.
        columns: what the training rows held; without them only unseen categories are found.
        table: the rows; columns that it does not have are passed over.
    """
    summaries = {column.name: column for column in columns}
    changes: list[Change] = []
    for feature in features:
        if isinstance(feature, MissingIndicator) or feature.name not in table:
            continue
        column = table[feature.name]
        if not len(column):
            continue
        if isinstance(feature, Categories | RobustCategories | EmbeddedCategories):
            changes += _unseen(feature, as_texts(column))
        summary = summaries.get(feature.name)
        if summary is not None:
            changes += _outside(feature, summary, column)
            changes += _more_missing(summary, column)
    return changes


def warn_changes(changes: Iterable[Change]) -> None:
    """Warn of the changes that are large, but for unseen categories, which the encoding says itself."""
    large = [change for change in changes if change.is_large]
    outside = [f"{c.column} ({counted(c.rows, 'row')})" for c in large if c.what == "outside"]
    gone = [
        f"{c.column} ({c.share:.0%}, in training {c.training_share:.0%})"
        for c in large
        if c.what == "missing"
    ]
    if outside:
        warn(f"values far or often outside the range of the training rows: {few(outside, 10)}")
    if gone:
        warn(f"more values missing than in the training rows: {few(gone, 10)}")


def _unseen(
    feature: Categories | RobustCategories | EmbeddedCategories, column: NDArray[Any]
) -> list[Change]:
    unseen = unseen_in(column, feature.categories)
    rows = int(unseen.sum())
    if not rows:
        return []
    texts = tuple(sorted(set(column[unseen]))[:20])
    return [Change(feature.name, "unseen", rows, rows / len(column), values=texts)]


def _outside(feature: Feature, summary: ColumnSummary, column: NDArray[Any]) -> list[Change]:
    low, high = summary.low, summary.high
    if low is None or high is None:
        return []
    if isinstance(feature, Moment):
        column = feature.seconds(column)
    elif not is_number(column):
        return []
    known = column[~missing(column)]
    beyond = np.maximum(low - known, known - high)
    rows = int((beyond > 0).sum())
    if not rows:
        return []
    width = high - low
    furthest = float(np.nanmax(beyond)) / width if width > 0 else float("inf")
    return [Change(feature.name, "outside", rows, rows / len(column), furthest=furthest)]


def _more_missing(summary: ColumnSummary, column: NDArray[Any]) -> list[Change]:
    rows = int(missing(column).sum())
    share, before = rows / len(column), summary.missing / max(summary.rows, 1)
    return [Change(summary.name, "missing", rows, share, before)] if share > before else []
