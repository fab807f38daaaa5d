"""The encoding between the columns of a table and the arrays of a network.

:class:`TableEncoder` learns it from the training rows only, so that the validation rows stay
unseen, and is stored with the model, so that prediction repeats exactly what training did.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import ModelFileError, few, unknown_name
from nnbackend.saving import schema
from nnbackend.tables.columns import plain_moment
from nnbackend.tables.table import (
    Kind,
    Table,
    WantedKind,
    has_one_value,
    is_number,
    missing,
    row_count,
    warn,
)

__all__ = ["SCALES", "Categories", "Classes", "Number", "Scale", "TableEncoder"]

Scale = Literal["standard", "max", "none"]
_DIGITS = r"((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(rf"(?i)true|false|[+-]?{_DIGITS}(e[+-]?[0-9]+)?")


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
            shift, size = SCALES[scale](np.where(absent, fill, column))
        if not (math.isfinite(fill) and math.isfinite(shift) and math.isfinite(size)):
            raise ValueError(f"the numbers of column {name!r} are too large to scale")
        return cls(name, fill, float(shift), float(size) or 1.0)

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled numbers, shape (rows, 1)."""
        if not is_number(column):
            raise ValueError(f"column {self.name!r} held numbers in training and holds texts here")
        filled = np.where(missing(column), self.fill, column.astype(np.float64))
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


SCALES: dict[Scale, Callable[[NDArray[Any]], tuple[float, float]]] = {
    "standard": _mean_and_deviation,
    "max": lambda column: (0.0, np.max(np.abs(column))),
    "none": lambda column: (0.0, 1.0),
}


@dataclass(frozen=True)
class Categories:
    """A column of texts, encoded as a column of zeros and ones for each category.

    Attributes:
        name: the name of the column.
        categories: the texts; None stands for a missing text, and is a category like the others.
    """

    name: str
    categories: tuple[str | None, ...]

    kind: ClassVar[Kind] = "text"

    @property
    def width(self) -> int:
        """The number of categories."""
        return len(self.categories)

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> Categories:
        """Return the encoding of a column, learned from its training rows."""
        present = _sort_texts(set(column[~missing(column)]))
        return cls(name, (*present, *([None] if missing(column).any() else [])))

    def encode(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return one column per category; zeros where training saw no such category."""
        codes = _find_codes(column, self.categories)
        if (codes < 0).any():
            unseen = {_show(value) for value in column[codes < 0]}
            warn(
                f"column {self.name!r}: {np.sum(codes < 0)} row(s) with a category that training "
                f"has not seen: {few(sorted(unseen))}"
            )
        one_hot: NDArray[Any] = codes[:, None] == np.arange(self.width)
        return one_hot.astype(np.float64)


@dataclass(frozen=True)
class Classes:
    """A target of texts, encoded as class numbers.

    Attributes:
        name: the name of the column.
        classes: the texts, in the order of their numbers.
    """

    name: str
    classes: tuple[str, ...]

    kind: ClassVar[Kind] = "text"

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> Classes:
        """Return the classes that the training rows hold."""
        return cls(name, tuple(_sort_texts(set(column))))

    def encode(self, column: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of each row's class.

        Raises:
            ValueError: a row is of no known class.
        """
        codes = _find_codes(column, self.classes)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise ValueError(
                f"the target {self.name!r} holds {_show(column[row])}, which is none of the "
                f"classes of training: {few(self.classes)}"
            )
        return codes

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the names of classes."""
        names: NDArray[Any] = np.array(self.classes, dtype=object)[codes]
        return names


def _sort_texts(texts: Iterable[str]) -> list[str]:
    """Sort texts, as numbers where all of them are: 9 comes before 10."""
    texts = sorted(texts)
    try:
        return sorted(texts, key=float)
    except ValueError:
        return texts


def _find_codes(column: NDArray[Any], known: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the place of each text among the known ones, and -1 where it is not one of them.

    Where a text is none of them, it stands for the one that means the same boolean, number, or moment.
    """
    places = {text: place for place, text in enumerate(known)}
    meant: dict[float | str, int] = {}
    for text, place in places.items():
        meaning = _meaning(text)
        if meaning is not None:
            meant[meaning] = -1 if meaning in meant else place  # of two it stands for neither
    for text in set(column) - places.keys():
        meaning = _meaning(text)
        places[text] = -1 if meaning is None else meant.get(meaning, -1)
    return np.array([places[text] for text in column], dtype=np.int64)


def _meaning(text: str | None) -> float | str | None:
    """Return the number that a text means, 0 and 1 for booleans, else its plain form; codes mean none.

    The plain form is that of a date or a time, and of other texts they themselves.
    """
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        return plain_moment(text)
    word = text.lower()
    return float(word == "true") if word in ("true", "false") else float(text)


def _show(text: str | None) -> str:
    return "a missing value" if text is None else repr(text)


@dataclass(frozen=True)
class TableEncoder:
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

        def learn(name: str, texts: Any) -> Any:
            column = columns[name]
            numeric = is_number(column)
            return Number.learn(name, column, scale) if numeric else texts.learn(name, column)

        inputs = tuple(learn(name, Categories) for name in columns if name != target)
        return cls(inputs, learn(target, Classes))

    @property
    def width(self) -> int:
        """The number of inputs of the network."""
        return sum(feature.width for feature in self.features)

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
    def feature_kinds(self) -> dict[str, WantedKind]:
        """What each feature column is read as in another table."""
        return {feature.name: _read_as(feature) for feature in self.features}

    @property
    def kinds(self) -> dict[str, WantedKind]:
        """What each feature column and the target are read as."""
        return self.feature_kinds | {self.target.name: _read_as(self.target)}

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

    def encode_target(self, table: Table) -> NDArray[Any]:
        """Return scaled numbers of shape (rows, 1), or class numbers of shape (rows,)."""
        return self.target.encode(_get_column(table, self.target.name))

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
        return cls(features, _column_from(data["target"], Classes))


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


def _check_description(value: Any, name: str) -> None:
    """Check the description of an encoder; see :mod:`nnbackend.saving.schema`."""
    _PARTS(value, name)
    columns = [column["name"] for column in (*value["features"], value["target"])]
    if len(set(columns)) < len(columns):
        schema.refuse(columns, f"{name}.features", "columns that each have another name")


def _check_name(value: Any, name: str) -> None:
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
        schema.record({"name": _check_name, **more}, closed=True) for more in (numbers, texts)
    )

    def check(value: Any, name: str) -> None:
        (of_numbers if isinstance(value, dict) and "scale" in value else of_texts)(value, name)

    return check


_PARTS = schema.record(
    {
        "features": schema.items(_column(categories=_distinct(schema.optional(_check_name), 1)), 1),
        "target": _column(classes=_distinct(_check_name, 2)),
    },
    closed=True,
)
