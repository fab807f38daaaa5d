"""What an encoding does to each column, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nnbackend.errors import counted, few
from nnbackend.tables.categories import Categories, Classes, EmbeddedCategories, RobustCategories
from nnbackend.tables.encodings import Feature, Target
from nnbackend.tables.kinds import LEFT_OUT
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import MissingIndicator, Number, RobustNumber
from nnbackend.tables.summary import ColumnSummary
from nnbackend.tables.table import in_digits
from nnbackend.tables.targets import LogNumber, QuantileNumber
from nnbackend.tables.words import Words

__all__ = ["ColumnDescription", "describe_columns"]

_LEFT_OUT = {
    "identifier": "identifier or too many values",
    "constant": "one value only",
    "empty": "no values",
    "drop": "as told",
}


@dataclass(frozen=True)
class ColumnDescription:
    """What an encoding does to a column.

    Attributes:
        column: its name.
        kind: what it holds, such as ``number``, ``category`` or ``date``.
        done: what is done to it, in words.
        width: how many inputs of the network it gives; an embedding's index counts as one.
        missing: how many training rows had no value; None: not known, of a model of an earlier version.
        distinct: how many different values the training rows had; None: not known.
    """

    column: str
    kind: str
    done: str
    width: int
    missing: int | None = None
    distinct: int | None = None

    def __str__(self) -> str:
        """Return all but the name in one line."""
        known = "" if self.missing is None else f"; {self.missing} missing"
        if self.distinct is not None:
            known += f", {self.distinct} different"
        return f"{self.kind}: {self.done}{known}"


def describe_columns(
    features: Iterable[Feature],
    columns: Sequence[ColumnSummary] = (),
    target: Target | None = None,
) -> list[ColumnDescription]:
    """Return what is done to each column: features, those that are left out, and the target."""
    summaries = {column.name: column for column in columns}
    rows = []
    for feature in features:
        kind, done = _in_words(feature)
        width = 1 if isinstance(feature, EmbeddedCategories) else feature.width
        summary = summaries.get(feature.name)
        counts = (summary.missing, summary.distinct) if summary else (None, None)
        rows.append(ColumnDescription(feature.name, kind, done, width, *counts))
    for name, left in summaries.items():
        if left.kind in LEFT_OUT:
            done = _LEFT_OUT[left.kind]
            row = ColumnDescription(name, "left out", done, 0, left.missing, left.distinct)
            rows.append(row)
    if target is not None:
        kind, done = _in_words(target)
        if isinstance(target, Number):
            done = _scaling(target)  # rows without a target do not train, and nothing fills it
        rows.append(ColumnDescription(target.name, kind, done, 0))
    return rows


def _scaling(number: Number) -> str:
    """Return how a number is scaled, in words."""
    return f"({_less(in_digits(number.shift, number.scale))}) / {number.scale:.6g}"


def _in_words(column: Feature | Target) -> tuple[str, str]:
    """Return what a column holds, and what is done to it."""
    match column:
        case Number():
            fill = in_digits(column.fill, column.scale)
            return "number", f"{_scaling(column)}, {fill} where missing"
        case RobustNumber():
            center = in_digits(column.center, 1 / column.factor if column.factor else 0.0)
            done = (
                f"({_less(center)}) * {column.factor:.6g}, clipped smoothly to 3, 0 where missing"
            )
            return "number", done
        case MissingIndicator():
            return "missing", "1 where missing, else 0"
        case Moment():
            order = ", day before month" if column.day_first else ""
            return "date", f"{', '.join(part.name for part in column.parts)}{order}"
        case Words():
            return "text", f"words hashed to {counted(column.width, 'column')}"
        case Categories():
            return "category", _join(column.categories)
        case RobustCategories():
            how = "signs" if column.width == 1 else "one-hot"
            return "category", f"{_join(column.categories)} ({how}, scaled)"
        case EmbeddedCategories():
            return "category", f"{few(column.categories, 20)} (index for an embedding)"
        case Classes():
            return "classes", _join(column.classes)
        case LogNumber():
            logs = _less(f"{column.shift:.6g}", "sign(value) log(1 + |value|)")
            return "number", f"({logs}) / {column.scale:.6g}"
        case QuantileNumber():
            return (
                "number",
                f"quantiles to those of a normal distribution, {len(column.values)} knots",
            )


def _less(number: str, of: str = "value") -> str:
    """Return the words for what is left when a number is subtracted.

    >>> _less("2.5"), _less("-2.5")
    ('value - 2.5', 'value + 2.5')
    """
    return f"{of} + {number[1:]}" if number.startswith("-") else f"{of} - {number}"


def _join(values: Iterable[str | None]) -> str:
    return ", ".join("(missing)" if value is None else value for value in values)
