"""Partial dependence: what a model answers on average as one column takes each of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import (
    answer_names,
    answers_of,
    check_column,
    columns_of,
    encode_rows,
    read_rows,
    sample_rows,
)
from nnbackend.analysis.inputs import owners_of, put_column
from nnbackend.core.checks import check_size
from nnbackend.tables.categories import Categories, EmbeddedCategories, RobustCategories
from nnbackend.tables.encodings import Feature
from nnbackend.tables.model import TableModel
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import MissingIndicator
from nnbackend.tables.table import missing, row_count
from nnbackend.tables.words import Words

__all__ = ["PartialDependence", "has_dependence", "partial_dependence"]

_ENDS = (0.05, 0.95)  # quantiles: beyond them there are few rows, and a model says anything
_BAND = (0.1, 0.9)


@dataclass(frozen=True)
class PartialDependence:
    """What a model answers as one column takes each of its values in all rows.

    Attributes:
        column: the name of the column.
        kind: ``number``, ``date`` or ``category``.
        values: the numbers, or the texts of dates and categories; None stands for a missing value.
        answers: the names of the answers: the classes, or the target.
        mean: the mean over the rows, shape (values, answers).
        low: the answer that a tenth of the rows are below, of the same shape.
        high: the answer that a tenth of the rows are above.
        rows: how many rows it was measured on.
    """

    column: str
    kind: Literal["number", "date", "category"]
    values: tuple[float | str | None, ...]
    answers: tuple[str, ...]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in vars(self).items()}


def partial_dependence(
    model: TableModel,
    frame: Any,
    column: str,
    *,
    points: int = 20,
    max_rows: int = 1000,
    seed: int = 0,
) -> PartialDependence:
    """Return what a model answers as a column takes each of its values, the others as they are.

    For each value ``v`` it is the mean over the rows of ``f(row with column = v)``, and the quantiles
    .1 and .9 of the same, which is the spread of the curves of single rows (individual conditional
    expectation). They widen where the effect of the column depends on others. A column that goes
    along with others is set to values that may not occur beside theirs; read such a curve with care.

    Args:
        model: the model.
        frame: a frame with the columns, or rows of :func:`read_rows`.
        column: the name of a column that the model predicts from, which is no free text.
        points: for numbers and dates, how many quantiles from .05 to .95 are taken as values; fewer
            different values are all taken; default 20.
        max_rows: of more rows, so many are drawn at random; default 1000.
        seed: of the random numbers.

    Raises:
        UnknownNameError: the model does not predict from such a column.
        ValueError: the column holds free text, or no value; the model is one of classes without
            probabilities; see also :func:`read_rows`.

    Source: Friedman, Annals of Statistics 29 (2001); Goldstein et al., JCGS 24 (2015).
    """
    feature = _feature_of(model, column)
    table = read_rows(model, frame).table
    if not row_count(table):
        raise ValueError("partial dependence needs at least one row")
    if check_size("points", points) < 2:
        raise ValueError("points must be 2 or more")
    kind, values = _values_of(feature, table[column], points)
    table = sample_rows(table, check_size("max_rows", max_rows), seed, "dependence")
    rows = row_count(table)
    known = columns_of(model)
    owners, place = owners_of(model, known), known.index(column)
    inputs = encode_rows(model, table)
    each = {name: np.repeat(values_of[:1], len(values)) for name, values_of in table.items()}
    each[column] = np.array(values, dtype=table[column].dtype)
    grid = encode_rows(model, each)
    means: list[Any] = []
    lows: list[Any] = []
    highs: list[Any] = []
    for i in range(len(values)):
        put_column(inputs, grid, i, owners, place)
        answers = answers_of(model, inputs)
        means.append(answers.mean(axis=0))
        for found, level in ((lows, 0), (highs, 1)):
            found.append(np.quantile(answers, _BAND[level], axis=0))
    mean, low, high = map(np.array, (means, lows, highs))
    return PartialDependence(
        column, kind, tuple(values), answer_names(model), mean, low, high, rows
    )


def has_dependence(model: TableModel, column: str) -> bool:
    """Return whether a column has values to take one by one: free text has none."""
    return not any(isinstance(f, Words) and f.name == column for f in model.encoder.features)


def _feature_of(model: TableModel, column: str) -> Feature:
    check_column(model, column)
    if not has_dependence(model, column):
        raise ValueError(f"column {column!r} holds free text, which has no values to go through")
    named = [f for f in model.encoder.features if f.name == column]
    return next(feature for feature in named if not isinstance(feature, MissingIndicator))


def _values_of(
    feature: Feature, column: NDArray[Any], points: int
) -> tuple[Literal["number", "date", "category"], list[Any]]:
    """Return the kind of a column, and the values that it takes."""
    if isinstance(feature, Categories | RobustCategories | EmbeddedCategories):
        return "category", list(feature.categories)
    known = column[~missing(column)]
    if not len(known):
        raise ValueError(f"column {feature.name!r} has no value in these rows")
    if not isinstance(feature, Moment):
        return "number", _spread(np.sort(known), points).tolist()
    seconds = feature.seconds(known)
    dates = known[np.isfinite(seconds)][np.argsort(seconds[np.isfinite(seconds)], kind="stable")]
    if not len(dates):
        raise ValueError(f"column {feature.name!r} has no date in these rows")
    return "date", _spread(dates, points).tolist()


def _spread(ordered: NDArray[Any], points: int) -> NDArray[Any]:
    """Return so many of the ordered values, between two quantiles; all, if fewer differ."""
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    if first.sum() <= points:
        return ordered[first]
    places = np.linspace(*_ENDS, points) * (len(ordered) - 1)
    chosen = ordered[np.round(places).astype(np.int64)]
    return chosen[np.r_[True, chosen[1:] != chosen[:-1]]]
