"""Columns of texts as inputs and targets of a network: categories and classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import counted, few
from nnbackend.tables.columns import plain_moment
from nnbackend.tables.numbers import robust_scale, smooth_clip
from nnbackend.tables.table import Kind, missing, warn

__all__ = ["Categories", "Classes", "EmbeddedCategories", "RobustCategories", "unseen_in"]

_DIGITS = r"((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)"
_DECIMAL_COMMA = re.compile("[+-]?(0|[1-9][0-9]*),([0-9]{1,2}|[0-9]{4,})")  # no thousands
_NUMBER = re.compile(rf"(?i)true|false|[+-]?{_DIGITS}(e[+-]?[0-9]+)?")


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
        _warn_unseen(self.name, column, codes < 0)
        one_hot: NDArray[Any] = codes[:, None] == np.arange(self.width)
        return one_hot.astype(np.float64)


@dataclass(frozen=True)
class RobustCategories:
    """A column of few categories, encoded by signs or one-hot, and scaled like the numbers.

    One category is -1 where it is missing and else 1; two are 1, -1, and 0 where missing; more are a
    column of zeros and ones each, all zeros where missing. A category that training has not seen counts
    as missing. Each column is scaled as :class:`~nnbackend.tables.numbers.RobustNumber` is.

    Attributes:
        name: the name of the column.
        categories: the texts.
        centers: of each column, its median in the training rows.
        factors: of each column, what scales it.
    """

    name: str
    categories: tuple[str, ...]
    centers: tuple[float, ...]
    factors: tuple[float, ...]

    kind: ClassVar[Kind] = "text"

    @property
    def width(self) -> int:
        """One column for one or two categories, else a column for each."""
        return len(self.centers)

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> RobustCategories:
        """Return the encoding of a column, learned from its training rows."""
        categories = tuple(_sort_texts(set(column[~missing(column)])))
        raw = cls._raw(_find_codes(column, categories), len(categories))
        scales = [robust_scale(name, values) for values in raw.T]
        return cls(name, categories, *(tuple(part) for part in zip(*scales, strict=True)))

    @staticmethod
    def _raw(codes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Return the columns before they are scaled; the code -1 stands for missing."""
        if count == 1:
            return np.where(codes < 0, -1.0, 1.0)[:, None]
        if count == 2:
            return np.array([1.0, -1.0, 0.0])[codes][:, None]  # -1 is the last
        one_hot: NDArray[Any] = codes[:, None] == np.arange(count)
        return one_hot.astype(np.float64)

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled columns, shape (rows, width)."""
        codes = _find_codes(column, self.categories)
        _warn_unseen(self.name, column, (codes < 0) & ~missing(column))
        raw = self._raw(codes, len(self.categories))
        # Whole numbers that no int64 holds would make an array of objects.
        centers, factors = np.array([self.centers, self.factors], dtype=np.float64)
        return smooth_clip(raw, centers, factors)


@dataclass(frozen=True)
class EmbeddedCategories:
    """A column of many categories, encoded as indices for a learned embedding.

    The index 0 stands for missing, and for categories that training has not seen.

    Attributes:
        name: the name of the column.
        categories: the texts, of the indices 1, 2 ...
    """

    name: str
    categories: tuple[str, ...]

    kind: ClassVar[Kind] = "text"
    width: ClassVar[int] = 0

    @property
    def cardinality(self) -> int:
        """How many different indices there are, that of missing included."""
        return len(self.categories) + 1

    @classmethod
    def learn(cls, name: str, column: NDArray[Any]) -> EmbeddedCategories:
        """Return the encoding of a column, learned from its training rows."""
        return cls(name, tuple(_sort_texts(set(column[~missing(column)]))))

    def encode(self, column: NDArray[Any]) -> NDArray[np.int64]:
        """Return the indices, shape (rows, 1)."""
        codes = _find_codes(column, self.categories)
        _warn_unseen(self.name, column, (codes < 0) & ~missing(column))
        return codes[:, None] + 1


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


def unseen_in(column: NDArray[Any], categories: Sequence[str | None]) -> NDArray[np.bool]:
    """Return in which rows a column has a text that is none of the categories."""
    unseen: NDArray[np.bool] = (_find_codes(column, categories) < 0) & ~missing(column)
    return unseen


def _warn_unseen(name: str, column: NDArray[Any], unseen: NDArray[np.bool]) -> None:
    """Warn of rows with categories that training has not seen."""
    if unseen.any():
        texts = sorted({_show(value) for value in column[unseen]})
        warn(
            f"column {name!r}: {counted(int(unseen.sum()), 'row')} with a category that training "
            f"has not seen: {few(texts)}"
        )


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
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return plain_moment(text)
    word = text.lower()
    return float(word == "true") if word in ("true", "false") else float(text)


def _show(text: str | None) -> str:
    return "a missing value" if text is None else repr(text)
