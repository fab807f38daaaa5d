"""The encodings of single columns: numbers, categories, and the classes of a target."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import few
from nnbackend.tables.columns import plain_moment
from nnbackend.tables.table import Kind, has_one_value, is_number, missing, warn

__all__ = ["SCALES", "Categories", "Classes", "Number", "Scale"]

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
