"""Values of a column in memory as numbers or texts, whatever their types."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import given
from nnbackend.tables.columns import TEXT_FORMS, boolean_writings, plain_moment, plain_number
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.digits import are_codes
from nnbackend.tables.durations import are_durations, seconds_of_duration
from nnbackend.tables.moments import looks_like_a_moment
from nnbackend.tables.numerals import AFTER, BEFORE, MISSING_WORDS, NUMBER, missing_numbers
from nnbackend.tables.table import WantedKind, warn
from nnbackend.tables.units import are_suffixed

__all__ = ["NumberLike", "UnreadableError", "numbers_or_texts"]

_NUMBER_LIKE = re.compile(
    rf"[+-]?{BEFORE}?\s*[+-]?[.,]?[0-9][0-9.,'_\s]*(?:[eE][+-]?[0-9]+)?(?:\s*%|{AFTER})?"
)
_PLAIN = re.compile(NUMBER)
_CODE = re.compile("0[0-9]+")
_SCALARS = (bool, np.bool_, int, float, np.number, Decimal, Fraction, str, bytes, np.bytes_)
_MOMENTS = (dt.date, dt.time, np.datetime64)


class UnreadableError(ValueError):
    """A column holds something that is neither number, text nor date."""


@dataclass(frozen=True)
class NumberLike:
    """Texts that look like numbers, still to be read as such.

    Attributes:
        texts: the texts, None where missing.
    """

    texts: list[str | None]

    @property
    def is_plain(self) -> bool:
        """Whether all are numbers as programs write them."""
        return all(text is None or _PLAIN.fullmatch(text) for text in self.texts)

    def read_plain(self, name: str, wanted: WantedKind | None) -> NDArray[Any]:
        """Return plain numbers, or texts of codes; refuse infinity and what is beyond float64."""
        values = [math.nan if text is None else float(text) for text in self.texts]
        numbers = _as_numbers(name, np.array(values, dtype=np.float64), ())
        if wanted is None and are_codes(name, numbers, lambda: self.texts):
            return _in_one_form(_objects(self.texts))
        return numbers


def numbers_or_texts(
    name: str, column: Any, wanted: WantedKind | None, dialect: Dialect | None
) -> NDArray[Any] | NumberLike:
    """Return a column as float64 with NaN, as texts with None, or as texts that look like numbers.

    Args:
        name: the name of the column.
        column: an array of one dimension, or a list.
        wanted: what it is read as; None: that is found out.
        dialect: further texts and numbers that stand for a missing value.

    Raises:
        UnreadableError: it holds something else.
        ValueError: a number is infinite.
    """
    extra = dialect.missing if dialect else ()
    if isinstance(column, np.ma.MaskedArray):
        gone = np.ma.getmaskarray(column)
        values = np.ma.getdata(column).tolist()
        column = [None if g else value for value, g in zip(values, gone, strict=True)]
    if isinstance(column, np.ndarray) and column.ndim != 1:
        raise UnreadableError(f"{name!r} is an array of shape {column.shape}")
    values = _typed(name, column) if isinstance(column, np.ndarray) else _untyped(name, column)
    if wanted in ("text", "known"):
        times = isinstance(column, np.ndarray) and column.dtype.kind in "mM"
        texts = _texts(values if times else column, extra)  # whole numbers with all their digits
        return texts if wanted == "known" else _in_one_form(texts)
    if isinstance(values, np.ndarray):
        numbers = _as_numbers(name, values, extra)
        if wanted is None and are_codes(name, numbers, lambda: column):
            return _in_one_form(_texts(column, extra))
        return numbers
    return _read_texts(name, _texts(values, extra), wanted)


def _typed(name: str, column: NDArray[Any]) -> NDArray[Any] | list[Any]:
    """Return an array as one of numbers or booleans, or as values that have texts."""
    kind = column.dtype.kind
    if kind in "biuf":
        return column
    if kind == "m":
        seconds = column.astype("timedelta64[ns]").astype(np.int64) / 1e9
        gone = np.isnat(column)
        return np.asarray(np.where(gone, np.nan, seconds))
    if kind == "M":
        return _moments(column)
    if kind in "US":
        return list(column.tolist())
    if kind != "O":
        raise UnreadableError(f"{name!r} holds {column.dtype}")
    return _untyped(name, column.tolist())


def _moments(column: NDArray[Any]) -> list[str | None]:
    """Return dates and times as ISO 8601 texts, None for NaT."""
    if np.datetime_data(column.dtype)[0] in ("Y", "M", "W", "generic"):
        column = column.astype("datetime64[D]")
    different, places = np.unique(column, return_inverse=True)
    texts = [None if t == "NaT" else plain_moment(t) for t in np.datetime_as_string(different)]
    return [texts[place] for place in places]


def _untyped(name: str, values: Iterable[Any]) -> NDArray[Any] | list[Any]:
    """Return values of any types as an array of numbers or booleans, or as values that have texts."""
    found = [None if _is_missing(value) else value for value in values]
    known = [value for value in found if value is not None]
    for row, value in enumerate(found, 1):
        if value is not None and not isinstance(value, (*_SCALARS, *_MOMENTS, dt.timedelta)):
            raise UnreadableError(f"{name!r} holds {given(value)} in row {row}")
    if known and all(isinstance(value, bool | np.bool_) for value in known):
        whole = len(known) == len(found)
        return (
            np.array(found, dtype=bool) if whole else [v if v is None else bool(v) for v in found]
        )
    if known and all(isinstance(value, dt.timedelta) for value in known):
        return np.array([math.nan if v is None else v.total_seconds() for v in found])
    if all(_is_number(value) for value in known):
        if all(isinstance(value, int) for value in known) and len(known) == len(found):
            try:
                return np.array(found, dtype=np.int64)
            except OverflowError:
                pass
        try:
            return np.array([math.nan if v is None else float(v) for v in found], dtype=np.float64)
        except OverflowError:
            raise ValueError(f"column {name!r} holds numbers that are too large") from None
    return found


def _is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, and the NaT and NA of NumPy and pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating | Decimal) and value != value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | Decimal | Fraction) and not isinstance(
        value, np.timedelta64
    )


def _as_numbers(
    name: str, values: NDArray[Any], missing_texts: Sequence[str]
) -> NDArray[np.float64]:
    """Return an array of numbers or booleans as float64."""
    numbers = values.astype(np.float64)
    words = missing_numbers(missing_texts)
    if words:
        numbers = np.where(np.isin(numbers, words), np.nan, numbers)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise ValueError(f"column {name!r} is infinite in row {int(infinite.argmax()) + 1}")
    return numbers


def _texts(values: Iterable[Any], missing_texts: Sequence[str]) -> NDArray[Any]:
    """Return values as texts, None where missing."""
    gone = {*MISSING_WORDS, *missing_texts}
    texts = [None if _is_missing(value) else _text(value) for value in values]
    return _objects([None if text is None or text in gone else text for text in texts])


def _objects(texts: list[Any]) -> NDArray[Any]:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def _text(value: Any) -> str:
    """Return the one text of a value.

    >>> [_text(value) for value in (True, 2.0, 0.5, 10**20, " a ", b"b", dt.date(2020, 1, 2))]
    ['true', '2', '0.5', '100000000000000000000', 'a', 'b', '2020-01-02']
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return plain_number(str(value))  # float32 in its own digits
    if isinstance(value, np.datetime64):
        return plain_moment(str(value))
    if isinstance(value, dt.datetime):
        utc = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return plain_moment(utc.isoformat())
    if isinstance(value, dt.date | dt.time):
        return plain_moment(value.isoformat())
    if isinstance(value, dt.timedelta):
        return _text(value.total_seconds())
    return str(value)


def _read_texts(
    name: str, texts: NDArray[Any], wanted: WantedKind | None
) -> NDArray[Any] | NumberLike:
    """Return texts as numbers where they are booleans, as number-like ones, or as they are."""
    known = [text for text in texts if text is not None]
    different = set(known)
    if different and all(text.casefold() in ("true", "false") for text in different):
        return np.array([math.nan if t is None else float(t.casefold() == "true") for t in texts])
    if not known:
        return np.full(len(texts), np.nan)
    if are_durations(different, as_told=wanted == "number"):
        warn(f"durations in {name}: they are seconds, 1:30:00 is 5400")
        return np.array([math.nan if t is None else seconds_of_duration(t) for t in texts])
    if wanted == "number":
        return NumberLike(texts.tolist())
    if are_suffixed(different):
        return NumberLike(texts.tolist())
    if not any(_looks_like_a_number(text) for text in different):
        return _in_one_form(texts)
    if any(_CODE.fullmatch(text) for text in different):
        if all(_PLAIN.fullmatch(text) for text in different):
            warn(f"numbers with leading zeros are codes, and are read as texts: {name}")
        return _in_one_form(texts)
    numbers = {text for text in different if _looks_like_a_number(text)}
    mostly = 2 * sum(text in numbers for text in known) >= len(known)
    return NumberLike(texts.tolist()) if mostly else _in_one_form(texts)


def _in_one_form(texts: NDArray[Any]) -> NDArray[Any]:
    """Return texts in the one form that their values have; see :func:`columns.plain_text`."""
    different = {text for text in texts if text is not None}
    if not different or any(_CODE.fullmatch(text) for text in different):
        return texts
    writings = boolean_writings(text for text in texts if text is not None)
    plainly = (plain_number, writings.__getitem__, plain_moment)
    for form, plain in zip(TEXT_FORMS, plainly, strict=True):
        if all(re.search(form, text) for text in different):
            forms = {text: plain(text) for text in different}
            return _objects([None if text is None else forms[text] for text in texts])
    return texts


def _looks_like_a_number(text: str) -> bool:
    return _NUMBER_LIKE.fullmatch(text) is not None and not looks_like_a_moment(text)
