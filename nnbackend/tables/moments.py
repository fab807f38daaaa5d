"""Columns of dates and times as inputs of a network: time that passed, year, and cycles."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import counted
from nnbackend.tables.numbers import Number, RobustNumber, Scale, learn_number
from nnbackend.tables.table import ColumnError, Kind, has_one_value, is_number, missing, warn

__all__ = [
    "PARTS",
    "Moment",
    "dates_vary",
    "is_moment",
    "looks_like_a_moment",
    "seconds_of",
    "varies",
]

_CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}(?:\.[0-9]+)?))?"
    r"(?: ?(?P<half>[AaPp])[Mm])?(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    "(?P<name>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_DAY_FIRST = (
    rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?: of |[-/ ]|\. ?){_MONTH}(?:[-/ ]|[.,] ?)"
    "(?P<year>[0-9]{4}|[0-9]{2})"
)
_MONTH_FIRST = (
    rf"{_WEEKDAY}{_MONTH}(?:[-/ ]|\. ?)(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?:[-/ ]|, ?)"
    "(?P<year>[0-9]{4})"
)
_YEAR_FIRST = r"(?P<year>[0-9]{4})(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})"
_YEAR_LAST = (
    r"(?P<a>[0-9]{1,2})(?P<mark>[-/.])(?P<b>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4}|[0-9]{2})"
)
_FORMS = [
    re.compile(f"{_YEAR_FIRST}(?:[T ]{_CLOCK})?"),
    re.compile(f"{_YEAR_LAST}(?:[T ]{_CLOCK})?"),
    re.compile(_CLOCK),
    *(re.compile(f"{form},?(?:[T ]{_CLOCK})?") for form in (_DAY_FIRST, _MONTH_FIRST)),
]
_MOST_STRAY = 0.1  # a larger share of texts that are no dates makes a column one of texts
_DAY = 86_400.0
_EPOCH = dt.datetime(1970, 1, 1)


_CYCLES = ("month", "day", "weekday", "hour")
PARTS = ("days", "year", *(f"{name} {wave}" for name in _CYCLES for wave in ("sine", "cosine")))
"""The numbers of a moment: days since 1970, year, and places in the cycles of year, month, week, day."""


@dataclass(frozen=True)
class Moment:
    """A column of dates, dates with times, or times of day, encoded as several scaled numbers.

    Of :data:`PARTS` it has those that vary in the training rows; each is scaled like any other number.

    Attributes:
        name: the name of the column.
        day_first: whether 1/2/2020 is the first of February rather than the second of January; None:
            no date of training had such a form, so that nothing tells.
        parts: the scaling of each part, whose name is the part.
    """

    name: str
    day_first: bool | None
    parts: tuple[Number | RobustNumber, ...]

    kind: ClassVar[Kind] = "text"

    @property
    def width(self) -> int:
        """The number of parts."""
        return len(self.parts)

    @classmethod
    def learn(
        cls, name: str, column: NDArray[Any], scale: Scale, day_first: bool | None = None
    ) -> Moment:
        """Return the encoding of a column, learned from its training rows.

        Args:
            name: the name of the column.
            column: its training rows.
            scale: of the parts.
            day_first: see :class:`Moment`; None (the default): the dates tell.

        Raises:
            ValueError: the column holds one moment only.
        """
        if day_first is None:
            day_first, open_date = _find_day_first(column)
            if open_date is not None:
                warn(
                    f"nothing tells day from month in dates of column {name!r}, for instance "
                    f"{open_date!r}: they are read with the month first (if that is wrong: "
                    "--day-first, in Python day_first=True)"
                )
        seconds = seconds_of(column, day_first)
        parts = {part: values for part, values in _parts_of(seconds).items() if varies(values)}
        if not parts:
            raise ValueError(f"the dates of column {name!r} do not vary")
        return cls(name, day_first, tuple(learn_number(p, v, scale) for p, v in parts.items()))

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled parts, shape (rows, width); texts that are no dates count as missing.

        Raises:
            ValueError: see :meth:`seconds`.
        """
        seconds = self.seconds(column)
        stray = np.isnan(seconds) & ~missing(column)
        turned = np.zeros_like(stray)
        if self.day_first is not None:
            turned = stray & ~np.isnan(seconds_of(column, not self.day_first))
        if turned.any():
            self._warn_turned(column, turned)
        elif self.day_first is False:
            self._warn_points(column)
        stray &= ~turned
        if stray.any():
            warn(
                f"column {self.name!r}: no date that can be read in {counted(int(stray.sum()), 'row')}, "
                f"for instance {column[stray][0]!r}; they count as missing"
            )
        values = _parts_of(seconds)
        return np.concatenate([part.encode(values[part.name]) for part in self.parts], axis=1)

    def _warn_turned(self, column: NDArray[Any], turned: NDArray[np.bool_]) -> None:
        """Warn of dates that can be read only with day and month the other way round.

        They tell that dates which can be read either way may mean something else than is read.
        """
        other = seconds_of(column, not self.day_first)
        doubtful = ~np.isnan(other) & ~turned & (other != self.seconds(column))
        also = ""
        if doubtful.any():
            also = (
                f", and others, such as {column[doubtful][0]!r}, may mean another day than is read"
            )
        example = _EPOCH + dt.timedelta(seconds=float(other[turned][0]))
        first = "day" if self.day_first else "month"
        warn(
            f"column {self.name!r}: dates are read with the {first} first, which "
            f"{counted(int(turned.sum()), 'row')} cannot be, for instance {column[turned][0]!r}: they "
            f"count as missing{also}; write {example:%Y-%m-%d}"
        )

    def _warn_points(self, column: NDArray[Any]) -> None:
        """Warn of dates with points, in which the day comes first almost everywhere."""
        found = [_FORMS[1].fullmatch(text) for text in sorted(set(column[~missing(column)]))]
        points = [m[0] for m in found if m and m["mark"] == "." and int(m["a"]) != int(m["b"])]
        meant = {
            text: _seconds(text, True) for text in points if not math.isnan(_seconds(text, False))
        }
        if meant and not any(map(math.isnan, meant.values())):
            text, seconds = next(iter(meant.items()))
            example = _EPOCH + dt.timedelta(seconds=seconds)
            warn(
                f"column {self.name!r}: dates are read with the month first, those with points too, "
                f"for instance {text!r}: write {example:%Y-%m-%d} if the day comes first"
            )

    def seconds(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the seconds since 1970 of each row, NaN where there is no date.

        Raises:
            ColumnError: dates such as 1/2/2020, of a form that training did not have.
            ValueError: the column holds numbers.
        """
        if is_number(column) and not missing(column).all():
            raise ValueError(f"column {self.name!r} held dates in training and holds numbers here")
        if self.day_first is None:
            self._check_order(column)
        return seconds_of(column, self.day_first)

    def _check_order(self, column: NDArray[Any]) -> None:
        """Refuse dates in which either number may be the day, where training had none of that form."""
        rows = [
            row
            for row, text in enumerate(() if is_number(column) else column)
            if text is not None and _is_open(text)
        ]
        if not rows:
            return
        text = column[rows[0]]
        meant = [_EPOCH + dt.timedelta(seconds=_seconds(text, first)) for first in (True, False)]
        days = " or ".join(f"{moment:%Y-%m-%d}" for moment in meant)
        raise ColumnError(
            f"column {self.name!r} holds {text!r} in row {rows[0] + 1}, which may mean {days}: the "
            "dates of training had no such form, which would tell",
            "write dates with the year first, or say which comes first: day_first= of estimators, or "
            "by the model's method with_dates(day_first=...)",
            "say --day-first or --month-first, or write dates with the year first",
        )


def varies(values: NDArray[Any]) -> bool:
    """Return whether a column of numbers has more than one value, beside missing ones."""
    return not (np.isnan(values).all() or has_one_value(values))


def looks_like_a_moment(text: str) -> bool:
    """Return whether a text has the form of a date, a date with a time, or a time of day.

    >>> [looks_like_a_moment(text) for text in ("2020-1-2", "01.02.20 3:04 pm", "12:30", "1-2", "soon")]
    [True, True, True, False, False]
    """
    return any(form.fullmatch(text) for form in _FORMS)


def is_moment(texts: Iterable[str]) -> bool:
    """Return whether texts are dates or times, but for a few: at most one in ten."""
    different = set(texts)
    allowed = int(_MOST_STRAY * len(different))
    for text in different:
        if not looks_like_a_moment(text) or math.isnan(_best_seconds(text)):
            allowed -= 1
            if allowed < 0:
                return False
    return bool(different)


def _best_seconds(text: str) -> float:
    """Return the seconds that a text means in one order of day and month or the other, or NaN."""
    first = _seconds(text, True)
    return _seconds(text, False) if math.isnan(first) else first


def dates_vary(column: NDArray[Any]) -> bool:
    """Return whether a column of dates has more than one, beside missing ones."""
    return varies(seconds_of(column, _find_day_first(column)[0]))


def _find_day_first(column: NDArray[Any]) -> tuple[bool | None, str | None]:
    """Return whether in dates such as 1/2/2020 the day comes first, and a date for which nothing tells.

    It does with points; with other marks where a first number is above 12 and no second one is. None:
    there are no such dates.
    """
    found = [_FORMS[1].fullmatch(text) for text in sorted(set(column[~missing(column)]))]
    dates = [match for match in found if match]
    if not dates:
        return None, None
    first = any(int(match["a"]) > 12 for match in dates)
    second = any(int(match["b"]) > 12 for match in dates)
    if first != second:
        return first, None
    other = [match[0] for match in dates if match["mark"] != "."]
    return not other, other[0] if other else None


def seconds_of(column: NDArray[Any], day_first: bool | None) -> NDArray[np.float64]:
    """Return the seconds since 1970 of texts that are dates, and since midnight of times of day.

    A moment with a time zone is one in UTC. NaN stands for missing values, for texts that are none, and
    where it is not known whether the day comes first (None) for dates that leave it open.
    """
    if is_number(column):
        return np.full(len(column), np.nan)
    meant = {text: math.nan if text is None else _seconds(text, day_first) for text in set(column)}
    return np.array([meant[text] for text in column], dtype=np.float64)


def _is_open(text: str) -> bool:
    """Return whether a text is a date in which either number may be the day.

    >>> [_is_open(text) for text in ("3/5/2024", "13/5/2024", "5/5/2024", "3.5.2024", "2024-03-05")]
    [True, False, False, False, False]
    """
    match = _FORMS[1].fullmatch(text)
    if match is None or _order_of(match) is not None:
        return False
    return not math.isnan(_seconds(text, True))


def _order_of(date: re.Match[str]) -> bool | None:
    """Return whether the day comes first in a date such as 13/1/2020 or 1.2.2020, or None."""
    a, b = int(date["a"]), int(date["b"])
    if b > 12:
        return False
    return True if a > 12 or a == b or date["mark"] == "." else None


def _seconds(text: str, day_first: bool | None) -> float:
    """Return the seconds since 1970 that a text means, or NaN."""
    match = next((m for form in _FORMS if (m := form.fullmatch(text))), None)
    if match is None:
        return math.nan
    field = match.groupdict()
    year, month, day = 1970, 1, 1
    if field.get("year"):
        a, b = field.get("a"), field.get("b")
        if a and b:
            day_first = _order_of(match) if day_first is None else day_first
            if day_first is None:
                return math.nan
            day, month = (int(a), int(b)) if day_first else (int(b), int(a))
            year = int(field["year"]) + _century(field["year"])
        elif field.get("name"):
            month, day = _MONTHS.index(field["name"][:3].lower()) + 1, int(field["day"])
            year = int(field["year"]) + _century(field["year"])
        else:
            year, month, day = (int(field[part]) for part in ("year", "month", "day"))
    hour, minute = int(field["hour"] or 0), int(field["minute"] or 0)
    if field["half"]:
        if not 1 <= hour <= 12:
            return math.nan
        hour = hour % 12 + (12 if field["half"] in "pP" else 0)
    try:
        whole = (dt.datetime(year, month, day, hour, minute) - _EPOCH).total_seconds()
    except ValueError:  # no such day
        return math.nan
    return whole + float(field["second"] or 0.0) - _offset(field["zone"])


def _century(year: str) -> int:
    """Return what is to add to a year of two digits, which lies between 1969 and 2068."""
    return 0 if len(year) > 2 else 1900 if int(year) > 68 else 2000


def _offset(zone: str | None) -> float:
    """Return the seconds by which the clocks of a time zone such as +01:30 are ahead of UTC."""
    if zone in (None, "Z", "UTC", "GMT"):
        return 0.0
    size = 3600 * int(zone[1:3]) + 60 * int(zone[3:].lstrip(":") or 0)
    return float(-size if zone[0] == "-" else size)


def _parts_of(seconds: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return each part of moments, NaN where there is none."""
    gone = np.isnan(seconds)
    whole = np.floor(np.where(gone, 0.0, seconds)).astype(np.int64).astype("datetime64[s]")
    day, month, year = (whole.astype(f"datetime64[{unit}]") for unit in "DMY")
    days = day.astype(np.int64)
    places: dict[str, tuple[NDArray[Any], float]] = {
        "month": (month.astype(np.int64) % 12, 12),
        "day": ((day - month).astype(np.int64), 31),
        "weekday": ((days + 3) % 7, 7),  # 1970 began on a Thursday
        "hour": (np.where(gone, 0.0, seconds) - days * _DAY, _DAY),
    }
    parts = {"days": seconds / _DAY, "year": year.astype(np.int64) + 1970.0}
    for name in _CYCLES:
        place, period = places[name]
        parts[f"{name} sine"] = np.sin(2 * math.pi * place / period)
        parts[f"{name} cosine"] = np.cos(2 * math.pi * place / period)
    return {name: np.where(gone, np.nan, values) for name, values in parts.items()}
