"""The features of a table as inputs of a network: each column by its kind, learned from rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import ModelFileError, unknown_name
from nnbackend.tables.categories import EmbeddedCategories
from nnbackend.tables.describe import ColumnDescription, describe_columns
from nnbackend.tables.description import (
    check_features,
    column_from_dict,
    column_to_dict,
    summary_from_dict,
)
from nnbackend.tables.drift import Change, find_changes
from nnbackend.tables.encodings import Feature, as_texts, block_of, learn_feature, usual_kind
from nnbackend.tables.kinds import LEFT_OUT, ColumnKind
from nnbackend.tables.moments import Moment
from nnbackend.tables.numbers import SCALES, MissingIndicator, Number, RobustNumber, Scale
from nnbackend.tables.summary import ColumnSummary
from nnbackend.tables.table import Table, WantedKind, missing, row_count, warn
from nnbackend.tabular import Columns, offset_indices

__all__ = ["MAX_ONE_HOT", "Encoded", "FeatureEncoder", "column_of"]

MAX_ONE_HOT = 9
"""RealMLP's limit: a column of more categories, missing counted as one, has an embedding."""


@dataclass(frozen=True)
class Encoded:
    """The rows of a table as the inputs of a network.

    Attributes:
        numbers: float64, shape (rows, width).
        indices: of the columns that have an embedding, int64, shape (rows, embedded).
        cardinalities: for each of these columns how many different indices there are; 0 is missing.
        numeric_count: how many of the first columns of ``numbers`` are numbers and parts of dates; the
            others are categories, signs of missing values, and words.
    """

    numbers: NDArray[np.float64]
    indices: NDArray[np.int64]
    cardinalities: tuple[int, ...]
    numeric_count: int

    @property
    def inputs(self) -> Any:
        """What a network takes: the numbers, or with indices a dictionary of both."""
        if not self.cardinalities:
            return self.numbers
        return {
            "numbers": self.numbers,
            "indices": offset_indices(self.indices, self.cardinalities),
        }


@dataclass(frozen=True)
class FeatureEncoder:
    """How the columns of a table become the inputs of a network.

    Attributes:
        features: the encoding of each column, in the order of the network's inputs.
        columns: what the training rows held in each column, those included that are no features; empty
            for a model of an earlier version.
    """

    features: tuple[Feature, ...]
    columns: tuple[ColumnSummary, ...] = ()

    @classmethod
    def learn(
        cls,
        table: Table,
        kinds: Mapping[str, ColumnKind] | Iterable[str],
        scale: Scale = "standard",
        *,
        max_one_hot: int | None = None,
        indicators: bool = False,
        day_first: bool | None = None,
    ) -> FeatureEncoder:
        """Return the encoding learned from a table of training rows.

        Args:
            table: the training rows.
            kinds: what each column holds, see :func:`nnbackend.tables.choose_kinds`; of names
                alone, numbers are numbers and texts are dates if they look like it, else categories.
            scale: ``standard`` for mean 0 and standard deviation 1, ``max`` for division by the largest
                absolute value, ``none``, or ``robust``, with which numbers come first in the network's
                input: :class:`~nnbackend.tables.numbers.RobustNumber`, and categories likewise.
            max_one_hot: a column of more categories, missing counted as one, becomes indices for an
                embedding; None: all categories are one-hot. RealMLP has ``MAX_ONE_HOT``.
            indicators: whether a column of numbers or dates with missing values has a further input
                that says which are missing.
            day_first: whether in dates such as 1/2/2020 the day comes first; None: each column tells.

        Raises:
            UnknownNameError: no such column or scale.
            ValueError: numbers so large that their statistics overflow, or no column is left.
        """
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        if not isinstance(kinds, Mapping):
            kinds = {name: usual_kind(column_of(table, name)) for name in kinds}
        features: list[Feature] = []
        columns = []
        for name, kind in kinds.items():
            column = column_of(table, name)
            found = learn_feature(name, column, kind, scale, max_one_hot, day_first)
            if found is None and kind not in LEFT_OUT:
                warn(f"column {name!r} does not vary in the training rows, and is left out")
                kind = "constant"
            order = found.day_first if isinstance(found, Moment) else None
            columns.append(ColumnSummary.learn(name, kind, column, order))
            if found is None:
                continue
            features.append(found)
            gaps = indicators and kind in ("number", "boolean", "date")
            if gaps and 0 < columns[-1].missing < len(column):
                features.append(MissingIndicator(name))
        if scale == "robust":
            features.sort(key=block_of)  # stable
        if not features:
            raise ValueError("no column is left from which something can be learned")
        return cls(tuple(features), tuple(columns))

    @property
    def width(self) -> int:
        """The number of columns of the encoded numbers."""
        return sum(feature.width for feature in self.features)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The cardinality of each column that becomes indices."""
        return tuple(f.cardinality for f in self.features if isinstance(f, EmbeddedCategories))

    @property
    def numeric_count(self) -> int:
        """How many of the first columns of the encoded numbers are numbers and parts of dates."""
        count = 0
        for feature in self.features:
            if block_of(feature):
                break
            count += feature.width
        return count

    @property
    def network_columns(self) -> Columns:
        """What a network takes."""
        count = self.numeric_count
        return Columns(count, self.width - count, self.cardinalities)

    @property
    def kinds(self) -> dict[str, WantedKind]:
        """What each column is read as in another table."""
        return {
            feature.name: "number" if feature.kind == "number" else "known"
            for feature in self.features
            if not isinstance(feature, MissingIndicator)
        }

    def encode(self, table: Table) -> Encoded:
        """Return the network's inputs; warn of filled gaps and unseen categories.

        Raises:
            UnknownNameError: the table lacks a column.
            ValueError: a column of numbers holds texts.
        """
        columns = [(feature, column_of(table, feature.name)) for feature in self.features]
        _warn_filled(columns)
        blocks = [(feature, feature.encode(_as_wanted(feature, c))) for feature, c in columns]
        rows = row_count(table)
        numbers = [b for feature, b in blocks if not isinstance(feature, EmbeddedCategories)]
        indices = [b for feature, b in blocks if isinstance(feature, EmbeddedCategories)]
        return Encoded(
            np.concatenate([np.empty((rows, 0)), *numbers], axis=1),
            np.concatenate([np.empty((rows, 0), np.int64), *indices], axis=1),
            self.cardinalities,
            self.numeric_count,
        )

    def describe(self) -> list[ColumnDescription]:
        """Return what is done to each column, and which are left out."""
        return describe_columns(self.features, self.columns)

    def find_changes(self, table: Table) -> list[Change]:
        """Return how the rows of a table differ from those of training."""
        return find_changes(self.features, self.columns, table)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        described: dict[str, Any] = {"features": [column_to_dict(f) for f in self.features]}
        if self.columns:
            described["columns"] = [asdict(column) for column in self.columns]
        return described

    @classmethod
    def from_dict(cls, description: object) -> FeatureEncoder:
        """Return the encoder that :meth:`to_dict` described.

        Raises:
            ModelFileError: the description is not one; nothing in it is trusted.
        """
        data: Any = description
        try:
            check_features(data, "it")
        except ModelFileError as error:
            message = f"the model's description of its features is damaged: {error}"
            raise ModelFileError(message) from error
        features = tuple(map(column_from_dict, data["features"]))
        return cls(features, tuple(map(summary_from_dict, data.get("columns", []))))


def column_of(table: Table, name: str) -> NDArray[Any]:
    """Return a column of a table.

    Raises:
        UnknownNameError: it has none of that name.
    """
    if name not in table:
        raise unknown_name("column", name, table)
    return table[name]


def _as_wanted(feature: Feature, column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as texts where a feature is one of texts; dates stay as they are."""
    texts = feature.kind == "text" and not isinstance(feature, Moment)
    return as_texts(column) if texts else column


def _warn_filled(columns: Iterable[tuple[Feature, NDArray[Any]]]) -> None:
    """Warn of missing numbers, which are filled in."""
    filled = [
        f"{feature.name} ({int(missing(column).sum())})"
        for feature, column in columns
        if isinstance(feature, Number | RobustNumber) and missing(column).any()
    ]
    if filled:
        warn(f"missing numbers filled with the median of the training rows: {', '.join(filled)}")
