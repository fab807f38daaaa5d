"""The encodings that a column may have, and which of them a column of a kind gets."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.categories import Categories, Classes, EmbeddedCategories, RobustCategories
from nnbackend.tables.columns import plain_number
from nnbackend.tables.kinds import LEFT_OUT, ColumnKind
from nnbackend.tables.moments import Moment, dates_vary, is_moment
from nnbackend.tables.numbers import MissingIndicator, Number, RobustNumber, Scale, learn_number
from nnbackend.tables.table import is_number, missing
from nnbackend.tables.targets import LogNumber, QuantileNumber
from nnbackend.tables.words import Words

__all__ = ["Feature", "Target", "as_texts", "block_of", "learn_feature", "usual_kind"]

Feature: TypeAlias = (
    Number
    | RobustNumber
    | MissingIndicator
    | Moment
    | Words
    | Categories
    | RobustCategories
    | EmbeddedCategories
)
Target: TypeAlias = Number | LogNumber | QuantileNumber | Classes


def usual_kind(column: NDArray[Any]) -> ColumnKind:
    """Return what a column is taken for, of which nothing but its values is known."""
    if is_number(column):
        return "number"
    dates = is_moment(column[~missing(column)]) and dates_vary(column)
    return "date" if dates else "category"


def learn_feature(
    name: str,
    column: NDArray[Any],
    kind: ColumnKind,
    scale: Scale,
    max_one_hot: int | None,
    day_first: bool | None = None,
) -> Feature | None:
    """Return the encoding of a column, or None if it is no feature."""
    if kind in LEFT_OUT:
        return None
    if kind in ("number", "boolean"):
        return learn_number(name, column, scale)
    column = as_texts(column)
    if kind == "text":
        return Words(name)
    if kind == "date":
        return Moment.learn(name, column, scale, day_first) if dates_vary(column) else None
    count = len(set(column[~missing(column)]))
    if max_one_hot is not None and count + 1 > max_one_hot:
        return EmbeddedCategories.learn(name, column)
    if scale != "robust":
        return Categories.learn(name, column)
    return RobustCategories.learn(name, column) if count else None


def block_of(feature: Feature) -> int:
    """Return in which part of the input a feature is: numbers, then the others, then indices."""
    if isinstance(feature, EmbeddedCategories):
        return 2
    return 0 if isinstance(feature, Number | RobustNumber | Moment) else 1


def as_texts(column: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as texts, without the fraction of whole ones; texts are returned as they are."""
    if not is_number(column):
        return column
    texts = [None if x != x else plain_number(repr(x)) for x in column.tolist()]
    return np.array(texts, dtype=object)
