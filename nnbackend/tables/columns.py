"""Columns of frames as numbers or texts, in one form whatever the file's format.

A value has one text: for booleans the commonest word in the column, for whole numbers no fraction, for
dates and times ISO 8601, without a midnight after a date. Booleans are the numbers 0 and 1; in a target
texts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import few
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.digits import LARGEST_EXACT, are_codes
from nnbackend.tables.durations import are_durations, seconds_of_duration
from nnbackend.tables.limits import check_memory
from nnbackend.tables.numerals import (
    NUMBER,
    find_decimal,
    missing_numbers,
    parse_numbers,
    texts_of,
    which_contain,
)
from nnbackend.tables.table import ColumnError, Table, WantedKind, is_number, polars_module, warn
from nnbackend.tables.units import (
    check_units,
    find_units,
    has_suffixes,
    split_suffixes,
    warn_of_currencies,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "TEXT_FORMS",
    "StrayTextError",
    "boolean_writings",
    "bytes_of",
    "frame_of",
    "pick_columns",
    "plain_moment",
    "plain_number",
    "plain_text",
    "readable_columns",
    "table_of",
]

_FEW = 5  # texts that a message shows
_FEW_CODES = 20  # so few different texts in a target, such as 5k and 10k, are classes

_CODE = r"^0[0-9]+$"
_BOOLEAN = r"^(?i:true|false)$"
_TRUTH = r"^(?i:true|false|[01](?:\.0*)?)$"
_COMMA_NUMBER = r"^[+-]?[0-9]+(?:,[0-9]+)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_TIME = rf"[T ]({_CLOCK})(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?"
_MOMENT = rf"(?:{_DATE}(?:{_TIME})?|^{_CLOCK})$"
TEXT_FORMS = (NUMBER, _BOOLEAN, _MOMENT)


class StrayTextError(ColumnError):
    """Some texts in a column of numbers.

    Attributes:
        column: the name of the column.
        texts: the texts by row, counted from 0.
        kind: what the column was to be read as.
    """

    def __init__(
        self,
        column: str,
        texts: dict[int, str],
        kind: WantedKind | None,
        lines: Mapping[int, int] | None = None,
    ) -> None:
        self.column, self.texts, self.kind = column, texts, kind
        shown = [
            f"row {row + 1}{f' (line {lines[row]})' if lines and row in lines else ''} holds {text!r}"
            for row, text in islice(texts.items(), _FEW)
        ]
        more = f" and {len(texts) - _FEW} more hold texts" if len(texts) > _FEW else ""
        words = ",".join(dict.fromkeys(islice(texts.values(), _FEW)))
        options = {
            "number": "",
            "target": f", or take them for classes: --text {column!r}",
        }.get(
            kind or "",
            f", or leave the column out or take it for texts: --exclude or --text {column!r}",
        )
        told = f"columns={{{column!r}: 'category'}} of estimators, kinds= of read_columns"
        arguments = f", or say that the column holds categories ({told})"
        arguments = "" if kind == "number" else arguments
        super().__init__(
            f"column {column!r} holds numbers, but {', '.join(shown)}{more}",
            f"correct it, or if it stands for a missing value make it None{arguments}",
            f"correct it, or if it stands for a missing value give --missing {words!r}{options}",
        )


def bytes_of(batch: Any) -> int:
    """Return the bytes that a record batch of Arrow takes as a frame, which stores nothing only once."""
    from pyarrow import compute, types  # the batch is pyarrow's

    size = max(batch.nbytes, 8 * batch.num_rows * batch.num_columns)  # null takes nothing in a file
    for column in batch.columns:
        if types.is_dictionary(column.type) and _is_text(column.type.value_type):
            lengths = compute.binary_length(column.dictionary.cast("large_binary")).cast("int64")
            size += compute.sum(lengths.take(column.indices)).as_py() or 0
    return int(size)


def _is_text(kind: Any) -> bool:
    """Return whether a type of Arrow is one of texts."""
    return str(kind) in ("string", "large_string", "string_view", "binary", "large_binary")


def frame_of(batch: Any) -> pl.DataFrame:
    """Return a record batch of Arrow as a frame; categories, which differ by batch, are texts."""
    polars = polars_module()
    check_memory(bytes_of(batch))
    # Its metadata, which may be damaged, are not needed.
    plain = type(batch).from_arrays(batch.columns, names=batch.schema.names)
    frame: pl.DataFrame = polars.from_arrow(plain)
    return frame.with_columns(polars.col(polars.Categorical).cast(polars.String))


def pick_columns(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return columns by name, bytes as texts in UTF-8, as old writers of Parquet store them.

    A name like ``*`` or ``^a$``, elsewhere a pattern, is just a name.
    """
    columns = map(_without_bytes, map(frame.get_column, names))
    return polars_module().DataFrame(list(columns))  # type: ignore[no-any-return]


def _without_bytes(column: pl.Series) -> pl.Series:
    """Return a column of bytes as texts, any other as it is."""
    polars = polars_module()
    if column.dtype != polars.Binary:
        return column
    texts = [None if value is None else value.decode(errors="replace") for value in column]
    return polars.Series(column.name, texts, dtype=polars.String)  # type: ignore[no-any-return]


def table_of(
    frame: pl.DataFrame,
    names: Iterable[str],
    kinds: Mapping[str, WantedKind | None],
    dialect: Dialect | None = None,
) -> Table:
    """Return columns of a frame as a table.

    Args:
        frame: the frame.
        names: the names of the columns.
        kinds: what a column holds, numbers, texts (``"known"``: as they are, for an encoder that finds
            what they mean), or a target (booleans are texts there). For None, and for any other column,
            that is found out: numbers where every value is one.
        dialect: how texts stand for numbers; None: that is found out.

    Raises:
        ValueError: a column holds neither numbers nor texts, or numbers that are infinite.
        StrayTextError: a few texts among numbers.
    """
    frame = pick_columns(frame, names)
    dialect = dialect or Dialect()
    if dialect.decimal is None:  # else the parts of a table might differ in it
        dialect = find_decimal(frame, dialect)
    dialect = find_units(frame, dialect)
    usual = (dialect.decimal, dialect.thousands, dialect.missing) == (".", None, ())
    plain = _plain_numbers(frame, kinds) if usual else {}
    columns = {
        column.name: _Column(plain.get(column.name, column), kinds.get(column.name), dialect)
        for column in frame.get_columns()
    }
    table = {name: column.read() for name, column in columns.items()}
    for what in _NOTES:
        noted = [name for name, column in columns.items() if getattr(column, what)]
        if noted:
            warn(_NOTES[what].format(few(noted, 10)))
    found = (
        n for n, column in table.items() if kinds.get(n) in (None, "target") and is_number(column)
    )
    warn_of_currencies(found, dialect)
    return table


def _plain_numbers(
    frame: pl.DataFrame, kinds: Mapping[str, WantedKind | None]
) -> dict[str, pl.Series]:
    """Return the columns of texts that are nothing but numbers, all of them in two steps, as numbers."""
    polars = polars_module()
    texts = [
        c
        for c in frame.get_columns()
        if c.dtype == polars.String and kinds.get(c.name) not in ("text", "known")
    ]
    numbers = [text.cast(polars.Float64, strict=False) for text in texts]
    return {
        number.name: number
        for text, number, code in zip(texts, numbers, which_contain(texts, _CODE), strict=True)
        if number.null_count() == text.null_count()
        and not code
        and not (number.alias("").abs() > LARGEST_EXACT).any()  # whose digits are still needed
    }


_NOTES = {
    "suffixes": "numbers with suffixes in {}: 1.5k is 1500, 2M is 2000000, 3bn is 3000000000 (--text if "
    "they are codes)",
    "marks": "numbers with marks in {}: what parts thousands is left out, and $7 is 7, 5% is 5",
    "percents": "some numbers have percents and others none in {}: 5% is 5, 0.05 is 0.05",
    "durations": "durations in {}: they are seconds, 1:30:00 is 5400",
    "codes": "numbers with leading zeros are codes, and are read as texts: {}",
}


def readable_columns(frame: pl.DataFrame, asked: Iterable[str] = ()) -> list[str]:
    """Return the names of the columns that can be read, and those asked for; warn of the others."""
    asked = set(asked)
    names: list[str] = []
    left_out: list[str] = []
    for name, dtype in frame.schema.items():
        (names if name in asked or _is_readable(dtype) else left_out).append(name)
    if left_out:
        held = f"{left_out[0]!r} holds {frame.schema[left_out[0]]}"
        warn(f"columns of neither numbers nor texts left out: {few(left_out, 10)} ({held})")
    return names


def _is_readable(dtype: Any) -> bool:
    polars = polars_module()
    if dtype.is_temporal():
        return True
    plain = (polars.String, polars.Categorical, polars.Enum, polars.Boolean, polars.Null)
    return bool(dtype.is_numeric()) or dtype in plain


class _Column:
    """A column of a frame, on its way to a table.

    Attributes:
        suffixes: whether numbers had suffixes such as k and M.
        marks: whether numbers had thousands separators, signs of currencies or percents.
        percents: whether some had percents and others had none.
        durations: whether it holds durations.
        codes: whether it holds numbers with leading zeros, which are texts.
    """

    def __init__(self, series: pl.Series, kind: WantedKind | None, dialect: Dialect) -> None:
        self._series, self._kind, self._dialect = series, kind, dialect
        self.suffixes = self.marks = self.percents = self.durations = self.codes = False

    def read(self) -> NDArray[Any]:
        """Return the column as float64 with NaN, or as texts with None."""
        series, polars = self._series, polars_module()
        if not _is_readable(series.dtype):
            # A column of which the kind is known is needed.
            advice = "; leave it out with --exclude" if self._kind is None else ""
            raise ValueError(
                f"column {series.name!r} holds {series.dtype}, neither numbers nor texts{advice}"
            )
        if series.dtype == polars.Duration:  # in seconds
            series = series.dt.total_nanoseconds() / 1e9
        boolean = series.dtype == polars.Boolean
        if self._kind in ("known", "text") or (boolean and self._kind == "target"):
            texts = texts_of(series, self._dialect)
            if self._dialect.decimal == ",":
                commas = texts.str.contains(_COMMA_NUMBER).fill_null(False)
                texts = texts.zip_with(~commas, texts.str.replace(",", ".", literal=True))
            return _objects(texts if self._kind == "known" else plain_text(texts))
        if boolean or series.dtype.is_numeric() or series.dtype == polars.Null:
            numbers = self._numbers(series, self._dialect.missing)
            if self._kind == "number" and not np.isnan(numbers).all():
                check_units(series.name, None, self._dialect)
            exact = boolean or series.dtype.is_float()
            return numbers if exact else self._numbers_or_codes(numbers, series)
        return self._numbers_or_texts(texts_of(series, self._dialect))

    def _numbers_or_texts(self, texts: pl.Series) -> NDArray[Any]:
        """Read texts as numbers where all are; a few texts among numbers are a mistake in the file."""
        if self._kind != "number":
            if texts.str.contains(_BOOLEAN).any() and texts.str.contains(_TRUTH).all():
                if self._kind == "target":
                    return _objects(_in_one_writing(texts))
                return self._numbers(texts.str.contains("^(?i:true|1)"))
            if texts.count() and not texts.str.contains("[0-9]").any():
                return _objects(texts)
            if texts.str.contains(_CODE).any():
                self.codes = bool(texts.str.contains(NUMBER).all())
                return _objects(plain_text(texts))
        durations = self._durations(texts)
        if durations is not None:
            return durations
        numbers = self._parse(texts)
        percents = texts.str.ends_with("%")
        self.percents = bool(self.marks and percents.any() and not percents.all())
        wrong = texts.is_not_null() & numbers.is_null()
        if not wrong.any():
            if self._kind == "number":
                check_units(self._series.name, texts, self._dialect)
            return self._numbers_or_codes(self._numbers(numbers, self._dialect.missing), texts)
        if self._kind == "number":
            words = texts.str.to_lowercase()
            if texts.filter(wrong).str.contains(_BOOLEAN).all():
                return self._numbers(
                    numbers.zip_with(~wrong, (words == "true").cast(numbers.dtype))
                )
        if self._kind == "number" or wrong.sum() <= texts.count() / 2:
            rows = wrong.arg_true().to_list()
            raise StrayTextError(
                self._series.name, dict(zip(rows, texts.filter(wrong), strict=True)), self._kind
            )
        return _objects(plain_text(texts))

    def _durations(self, texts: pl.Series) -> NDArray[Any] | None:
        """Return the seconds of texts that are durations; None if they are none, or classes."""
        known = texts.drop_nulls()
        if not are_durations(known.head(1), as_told=True):
            return None
        known = known.unique()
        classes = self._kind == "target" and len(known) <= _FEW_CODES
        if classes or not are_durations(known, as_told=self._kind == "number"):
            return None
        self.durations = True
        seconds = {text: seconds_of_duration(text) for text in known}
        return self._numbers(texts.replace_strict(seconds, default=None))

    def _numbers_or_codes(self, numbers: NDArray[Any], values: pl.Series) -> NDArray[Any]:
        """Return numbers, or as texts those that differ only in digits that float64 does not have."""
        if self._kind == "number" or not are_codes(self._series.name, numbers, values.to_list):
            return numbers
        return _objects(plain_text(texts_of(values, self._dialect)))

    def _parse(self, texts: pl.Series) -> pl.Series:
        """Return the numbers that texts stand for, else null."""
        name, factors = self._series.name, None
        classes = self._kind == "target" and texts.n_unique() <= _FEW_CODES
        if has_suffixes(name, self._dialect) and not classes:
            self.suffixes = True
            texts, factors = split_suffixes(texts)
        numbers, self.marks = parse_numbers(texts, self._dialect, name in self._dialect.points)
        return numbers if factors is None else numbers * factors

    def _numbers(self, series: pl.Series, missing: Iterable[str] = ()) -> NDArray[Any]:
        numbers: NDArray[Any] = series.cast(polars_module().Float64).to_numpy()  # null becomes NaN
        words = missing_numbers(missing)
        if words:
            numbers = np.where(np.isin(numbers, words), math.nan, numbers)
        infinite = np.isinf(numbers)
        if infinite.any():
            row = int(infinite.argmax())
            raise ValueError(f"column {self._series.name!r} is infinite in row {row + 1}")
        return numbers


def plain_text(texts: pl.Series) -> pl.Series:
    """Return texts in the one form that their values have, if all are numbers, booleans, or dates."""
    polars = polars_module()
    form = next((form for form in TEXT_FORMS if texts.str.contains(form).all()), None)
    if form is None or not texts.count() or texts.str.contains(_CODE).any():
        return texts
    if form == _BOOLEAN:
        return _in_one_writing(texts)
    known = texts.drop_nulls().unique()
    plain = plain_number if form == NUMBER else plain_moment
    return texts.replace_strict(
        known, [plain(text) for text in known], default=None, return_dtype=polars.String
    )


def _in_one_writing(texts: pl.Series) -> pl.Series:
    """Return booleans in texts, each in one writing; see :func:`boolean_writings`."""
    known = texts.drop_nulls()
    return texts.replace(boolean_writings(known)) if len(known) else texts


def boolean_writings(texts: Iterable[str]) -> dict[str, str]:
    """Return for each text that stands for a boolean the commonest word there for its value.

    >>> boolean_writings(["TRUE", "TRUE", "true", "0", "FALSE"])
    {'TRUE': 'TRUE', 'true': 'TRUE', '0': 'FALSE', 'FALSE': 'FALSE'}
    """
    counts = Counter(texts)
    usual = {"true": "true", "false": "false"}
    for word in sorted(counts, key=lambda text: (counts[text], text)):
        if word.casefold() in usual:
            usual[word.casefold()] = word
    return {text: usual["true" if re.match("(?i:true|1)", text) else "false"] for text in counts}


def plain_number(text: str) -> str:
    """Return the text of a number, without the fraction of a whole one.

    >>> [plain_number(text) for text in ("1.0", "+2", "1e3", "0.50", "-0.0")]
    ['1', '2', '1000', '0.50', '0']
    """
    if "e" in text.lower():
        text = repr(float(text))
        if "e" in text:
            return text
    whole, _, fraction = text.removeprefix("+").partition(".")
    if fraction.strip("0"):
        return text.removeprefix("+")
    return "0" if whole in ("-0", "") else whole


def plain_moment(text: str) -> str:
    """Return the text of a date, a date with a time, or a time, without zeros at its end.

    Texts that are none of them are returned as they are.

    >>> plain_moment("2020-01-02T00:00:00.000"), plain_moment("2020-01-02T03:04:05.50Z")
    ('2020-01-02', '2020-01-02 03:04:05.5+00:00')
    >>> plain_moment("01:30:00.000000000")
    '01:30:00'
    """
    if re.fullmatch(_CLOCK, text):
        return _plain_clock(text)
    found = re.fullmatch(_TIME, text[10:])
    if found is None or not re.match(_DATE, text):
        return text
    time, zone = _plain_clock(found[1]), (found[2] or "").replace("Z", "+00:00")
    if len(zone) == len("+0000"):
        zone = f"{zone[:3]}:{zone[3:]}"
    return text[:10] + ("" if time == "00:00:00" and not zone else f" {time}{zone}")


def _plain_clock(time: str) -> str:
    """Return a time with its seconds, and without zeros after their point."""
    if "." in time:
        time = time.rstrip("0").rstrip(".")
    return time + (":00" if time.count(":") == 1 else "")


def _objects(texts: pl.Series) -> NDArray[Any]:
    return np.array(texts.to_list(), dtype=object)
