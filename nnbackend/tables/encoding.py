"""The encoding between the columns of a table and the arrays of a network.

:class:`TableEncoder` learns it from the training rows only, so that the validation rows stay
unseen, and is stored with the model, so that prediction repeats exactly what training did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import ModelFileError, few, unknown_name
from nnbackend.saving import schema
from nnbackend.tables.column_encoding import SCALES, Categories, Classes, Number, Scale
from nnbackend.tables.table import Table, WantedKind, is_number, missing, row_count, warn

__all__ = ["Encoder", "TableEncoder", "check_name", "check_target_entry", "target_from"]


class Encoder:
    """What encoders of tables and of arrays have in common: the target.

    Attributes:
        target: the encoding of the target column.
    """

    target: Number | Classes

    @staticmethod
    def learn_target(table: Table, name: str, scale: Scale) -> Number | Classes:
        """Return the encoding of a target, learned from the training rows."""
        column = _get_column(table, name)
        return (
            Number.learn(name, column, scale) if is_number(column) else Classes.learn(name, column)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the target; none if it holds numbers."""
        return self.target.classes if isinstance(self.target, Classes) else ()

    @property
    def task(self) -> str:
        """``classification`` for a target of texts, ``regression`` for one of numbers."""
        return "classification" if self.classes else "regression"

    @property
    def scales_target(self) -> bool:
        """Whether the target is a column of numbers that are scaled."""
        target = self.target
        return isinstance(target, Number) and (target.shift, target.scale) != (0.0, 1.0)

    @property
    def target_kinds(self) -> dict[str, WantedKind]:
        """What the target is read as in other data."""
        return {self.target.name: _read_as(self.target)}

    def encode_target(self, table: Table) -> NDArray[Any]:
        """Return scaled numbers of shape (rows, 1), or class numbers of shape (rows,)."""
        return self.target.encode(_get_column(table, self.target.name))


@dataclass(frozen=True)
class TableEncoder(Encoder):
    """How the columns of a table become the input of a network, and its output the target.

    Attributes:
        features: the encoding of each feature column, in the order of the network's inputs.
        target: the encoding of the target column.
    """

    features: tuple[Number | Categories, ...]
    target: Number | Classes

    @classmethod
    def learn(
        cls, table: Table, target: str, features: Iterable[str], scale: Scale = "standard"
    ) -> TableEncoder:
        """Return the encoding learned from a table of training rows.

        Numbers are scaled, and missing ones are replaced by the column's median; texts become
        one column of zeros and ones per category. A target of numbers is scaled as well, a target
        of texts becomes classes.

        Args:
            table: the training rows.
            target: the name of the target column, in which no value is missing.
            features: the names of the feature columns.
            scale: ``standard`` for mean 0 and standard deviation 1, ``max`` for division by the
                largest absolute value, or ``none``.

        Raises:
            UnknownNameError: no such column or scale.
            ValueError: numbers so large that their statistics overflow.
        """
        if scale not in SCALES:
            raise unknown_name("scale", scale, SCALES)
        columns = {name: _get_column(table, name) for name in (*features, target)}
        inputs = tuple(
            Number.learn(name, column, scale)
            if is_number(column)
            else Categories.learn(name, column)
            for name, column in columns.items()
            if name != target
        )
        return cls(inputs, cls.learn_target(table, target, scale))

    @property
    def width(self) -> int:
        """The number of inputs of the network."""
        return sum(feature.width for feature in self.features)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of a row of the network's input."""
        return (self.width,)

    @property
    def feature_names(self) -> list[str]:
        """The names of the feature columns."""
        return [feature.name for feature in self.features]

    @property
    def summary(self) -> str:
        """The features in a few words."""
        return f"{few(self.feature_names, 10)} ({self.width} inputs)"

    @property
    def feature_kinds(self) -> dict[str, WantedKind]:
        """What each feature column is read as in another table."""
        return {feature.name: _read_as(feature) for feature in self.features}

    @property
    def kinds(self) -> dict[str, WantedKind]:
        """What each feature column and the target are read as."""
        return self.feature_kinds | self.target_kinds

    def encode_features(self, table: Table) -> NDArray[np.float64]:
        """Return the network's input, shape (rows, width); warn of filled gaps and unseen categories."""
        columns = [(feature, _get_column(table, feature.name)) for feature in self.features]
        filled = {
            feature.name: int(missing(column).sum())
            for feature, column in columns
            if feature.kind == "number" and missing(column).any()
        }
        if filled:
            counts = ", ".join(f"{name} ({count})" for name, count in filled.items())
            warn(f"missing numbers filled with the median of the training rows: {counts}")
        blocks = [feature.encode(column) for feature, column in columns]
        return np.concatenate([np.empty((row_count(table), 0)), *blocks], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        return {
            "features": [asdict(feature) for feature in self.features],
            "target": asdict(self.target),
        }

    @classmethod
    def from_dict(cls, description: object) -> TableEncoder:
        """Return the encoder that :meth:`to_dict` described.

        Raises:
            ModelFileError: the description is not one; nothing in it is trusted.
        """
        try:
            _check_description(description, "it")
        except ModelFileError as error:
            message = f"the model's description of its table is damaged: {error}"
            raise ModelFileError(message) from error
        data: Any = description
        features = tuple(_column_from(item, Categories) for item in data["features"])
        return cls(features, target_from(data["target"]))


def _get_column(table: Table, name: str) -> NDArray[Any]:
    if name not in table:
        raise unknown_name("column", name, table)
    return table[name]


def _read_as(column: Number | Categories | Classes) -> WantedKind:
    return "number" if column.kind == "number" else "known"


def _column_from(description: Mapping[str, Any], texts: type) -> Any:
    """Return the encoding of a column of numbers, or of texts, that was described."""
    if "scale" in description:
        return Number(**description)
    name, values = description["name"], next(v for k, v in description.items() if k != "name")
    return texts(name, tuple(values))


def target_from(description: Mapping[str, Any]) -> Number | Classes:
    """Return the encoding of a target that was described, and checked."""
    target: Number | Classes = _column_from(description, Classes)
    return target


def _check_description(value: Any, name: str) -> None:
    """Check the description of an encoder; see :mod:`nnbackend.saving.schema`."""
    _PARTS(value, name)
    columns = [column["name"] for column in (*value["features"], value["target"])]
    if len(set(columns)) < len(columns):
        schema.refuse(columns, f"{name}.features", "columns that each have another name")


def check_name(value: Any, name: str) -> None:
    """Accept texts that are not empty, and that every file can hold."""
    if not isinstance(value, str) or not value or value != value.encode(errors="ignore").decode():
        schema.refuse(value, name, "a text")


def _distinct(inner: schema.Check, fewest: int) -> schema.Check:
    """Accept lists of which no item is there twice."""
    each = schema.items(inner, fewest)

    def check(value: Any, name: str) -> None:
        each(value, name)
        if len(set(value)) < len(value):
            schema.refuse(value, name, "a list of different values")

    return check


def _column(**texts: schema.Check) -> schema.Check:
    """Accept the description of a column of numbers, or of texts with these fields."""
    number, scale = schema.number(), schema.number(math.ulp(0.0))  # above 0
    numbers = {"fill": number, "shift": number, "scale": scale}
    of_numbers, of_texts = (
        schema.record({"name": check_name, **more}, closed=True) for more in (numbers, texts)
    )

    def check(value: Any, name: str) -> None:
        (of_numbers if isinstance(value, dict) and "scale" in value else of_texts)(value, name)

    return check


check_target_entry = _column(classes=_distinct(check_name, 2))
"""Accepts the description of a target."""

_PARTS = schema.record(
    {
        "features": schema.items(_column(categories=_distinct(schema.optional(check_name), 1)), 1),
        "target": check_target_entry,
    },
    closed=True,
)
