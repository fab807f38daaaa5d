"""Numbers in texts: which texts are numbers, with which decimal mark, and which are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from nnbackend.errors import few
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.table import polars_module, warn

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AFTER",
    "BEFORE",
    "CURRENCY",
    "MISSING_WORDS",
    "NUMBER",
    "SUFFIX",
    "are_mostly_numbers",
    "bare_numbers",
    "find_decimal",
    "missing_numbers",
    "parse_numbers",
    "texts_of",
    "which_contain",
    "without_suffixes",
]

MISSING_WORDS = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "null", "NULL"
)  # fmt: skip

NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
# No thousands:
_POINT = r"^[+-]?(?:[0-9]*\.[0-9]{1,2}|0?\.[0-9]+|[0-9]*\.[0-9]{4,}|[0-9]{4,}\.[0-9]+)$"
_SPACES = " \u00a0\u202f"
_SIGN = "(?:[$€£¥₹₽₩₺₪₫₱฿₴₦]|zł|kr)"
_CODE = (  # by ISO 4217
    "(?:AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|SGD|THB|TRY"
    "|UAH|USD|ZAR)"
)
CURRENCY = f"(?:{_SIGN}|{_CODE})"
"""The pattern of a currency's sign or code."""
BEFORE = f"(?:{_SIGN}[{_SPACES}]*|{_CODE}[{_SPACES}]+)"
"""That of one before a number; codes are parted from it, for EUR0001 is no amount."""
AFTER = f"(?:[{_SPACES}]*{_SIGN}|[{_SPACES}]+{_CODE})"
"""That of one after a number."""
SUFFIX = r"(?i:k|mn?|bn?)"
"""Of numbers: k is a thousand, M or mn a million, B or bn a billion."""


def texts_of(series: pl.Series, dialect: Dialect) -> pl.Series:
    """Return a column as texts, null where a value is missing, without its name."""
    # Polars takes a name like ^a$ for a pattern, also in functions of one column.
    series = series.alias("")
    if series.dtype == polars_module().Time:  # a cast drops fractions of seconds
        return series.dt.to_string("%H:%M:%S%.9f")
    texts = series.cast(polars_module().String)
    if series.dtype.is_numeric():
        texts = texts.set(series.is_nan(), None) if series.dtype.is_float() else texts
        words = missing_numbers(dialect.missing)
        gone = series.cast(polars_module().Float64).is_in(words) if words else None
        return texts if gone is None else texts.set(gone, None)
    texts = texts.str.strip_chars()
    return texts.set(texts.is_in([*MISSING_WORDS, *dialect.missing]), None)


def missing_numbers(missing: Iterable[str]) -> list[float]:
    """Return the numbers among the words for missing values."""
    return [float(word) for word in missing if re.fullmatch(NUMBER, word)]


def which_contain(texts: list[pl.Series], pattern: str, literal: bool = False) -> list[bool]:
    """Return for each column of texts whether some contain a pattern; for all columns at once."""
    polars = polars_module()
    frame = polars.DataFrame([text.alias(str(i)) for i, text in enumerate(texts)])
    found = frame.select(polars.all().str.contains(pattern, literal=literal).any())
    return [column.item() for column in found.get_columns()]


def find_decimal(frame: pl.DataFrame, dialect: Dialect) -> Dialect:
    """Return the dialect of the texts in a frame, whose decimal mark is said.

    It is the mark of numbers like 1,5 or 1.5, which no thousands explain. Where there are none, for all
    are like 1,234, it is the usual one; of fields that are parted by semicolons that is a comma.
    """
    if dialect.decimal == "." or (dialect.decimal and dialect.thousands):
        return dialect
    if dialect.thousands in (".", ","):
        return replace(dialect, decimal="," if dialect.thousands == "." else ".")
    columns = [c for c in frame.get_columns() if c.dtype == polars_module().String]
    usual = dialect.usual_decimal or ("," if dialect.delimiter == ";" else ".")
    commas = [] if dialect.decimal else _with_commas(columns, dialect, sure=True)
    if not commas and (dialect.decimal or usual) == ".":
        return replace(dialect, decimal=".")
    dotted = zip(columns, which_contain(columns, ".", literal=True), strict=True)
    texts = {c.name: texts_of(c, dialect) for c, has in dotted if has}
    points = [n for n in texts if n not in dialect.points and _has_points(texts[n])]
    if not (dialect.decimal or commas or points):
        commas = _with_commas(columns, dialect, sure=False)
    if commas:
        found = few(commas, 10)
        warn(f"decimal commas in {found}: 1,5 is read as 1.5 (--decimal . if that is wrong)")
    elif dialect.decimal is None and (points or dialect.usual_decimal is None):
        thousands = few([n for n in texts if _may_be_thousands(texts[n])], 10)
        if thousands:
            reading = "1.234 is read as 1.234 (--thousands . if it is 1234)"
            warn(f"decimal points in {thousands}: {reading}")
        return replace(dialect, decimal=".")
    if points:
        warn(f"decimal points in {few(points, 10)}: 1.500 is read as 1.5 there, not as 1500")
    return replace(dialect, decimal=",", points=(*dialect.points, *points))


def _with_commas(columns: list[pl.Series], dialect: Dialect, sure: bool) -> list[str]:
    """Return the names of the columns with decimal commas; see :func:`_has_commas`."""
    may = zip(columns, which_contain(columns, r",|\..*\."), strict=True)
    return [c.name for c, has in may if has and _has_commas(texts_of(c, dialect), sure)]


def _has_commas(texts: pl.Series, sure: bool) -> bool:
    """Return whether most texts are numbers, some with a comma; ``sure``: that parts no thousands.

    Points that part millions, as in 1.234.567, are as sure, if nothing there speaks against it.
    """
    bare = bare_numbers(without_suffixes(texts))
    millions = bare.str.contains(r"^[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}$").any()
    whole = rf"^[+-]?(?:[0-9]{{1,3}}|{_groups('.')})(?:,[0-9]+)?$"
    if sure and millions and bare.str.contains(whole).all():
        return True
    commas = bare.filter(bare.str.contains(rf"^[+-]?(?:[0-9]+|{_groups('.')}),[0-9]+$"))
    if sure:
        commas = commas.filter(~commas.str.contains(rf"^[+-]?{_groups(',')}$"))
    return len(commas) > 0 and are_mostly_numbers(bare)


def _has_points(texts: pl.Series) -> bool:
    """Return whether most texts are numbers, some with a point that parts no thousands."""
    bare = bare_numbers(without_suffixes(texts))
    return bool(bare.str.contains(_POINT).any()) and are_mostly_numbers(bare)


def _may_be_thousands(texts: pl.Series) -> bool:
    """Return whether all texts are whole numbers, if points part the thousands of some."""
    grouped = texts.str.contains(rf"^[+-]?{_groups('.')}$")
    return bool(grouped.any()) and bool((grouped | texts.str.contains("^[+-]?[0-9]{1,3}$")).all())


def are_mostly_numbers(bare: pl.Series) -> bool:
    """Return whether more than half of the texts, without signs, are numbers."""
    numbers = bare.str.contains(rf"^[+-]?[0-9.][0-9.,'{_SPACES}]*$")
    return bool(2 * numbers.sum() > bare.count())


def bare_numbers(texts: pl.Series) -> pl.Series:
    """Return texts of numbers without currencies and percents, before or after them."""
    bare = texts.str.replace(rf"^([+-]?){BEFORE}", "${1}")
    return bare.str.replace(rf"(?:[{_SPACES}]*%|{AFTER})$", "")


def without_suffixes(texts: pl.Series) -> pl.Series:
    """Return texts of numbers without suffixes such as k and M."""
    return texts.str.replace(rf"([0-9.])\s?{SUFFIX}({AFTER})?$", "${1}${2}")


def _groups(marks: str) -> str:
    """Return the pattern of a whole number whose thousands are parted."""
    return rf"[1-9][0-9]{{0,2}}(?:[{re.escape(marks)}'{_SPACES}][0-9]{{3}})+"


def parse_numbers(
    texts: pl.Series, dialect: Dialect, points: bool = False
) -> tuple[pl.Series, bool]:
    """Return the numbers that texts stand for, else null, and whether more than digits was read.

    With ``points`` a single point parts no thousands.
    """
    float64, decimal, thousands = polars_module().Float64, dialect.decimal or ".", dialect.thousands
    numbers = texts.cast(float64, strict=False)
    if decimal == "." and thousands is None and numbers.null_count() == texts.null_count():
        return numbers, False
    bare = bare_numbers(texts)
    if thousands is None:
        marks = "," if decimal == "." else "."
        grouped = bare.str.contains(rf"^[+-]?{_groups(marks)}(?:{re.escape(decimal)}[0-9]*)?$")
        if points:
            grouped &= ~bare.str.contains(r"^[+-]?[0-9]+\.[0-9]+$")
        parted = bare.str.replace_all(rf"[{re.escape(marks)}'{_SPACES}]", "")
    else:
        # A point or a comma in another place is a decimal mark.
        mark, fraction = re.escape(thousands), rf"(?:{re.escape(decimal)}[0-9]*)?"
        groups = rf"[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}"
        grouped = bare.str.contains(rf"^[+-]?{groups}{fraction}$" if thousands in ".," else mark)
        parted = bare.str.replace_all(thousands, "", literal=True)
    bare = bare.zip_with(~grouped.fill_null(False), parted)
    if decimal == "," and not points:
        bare = bare.set(bare.str.contains(_POINT), None)  # neither decimal nor thousands
    plain = bare.str.replace(decimal, ".", literal=True)
    shown = texts.str.replace(decimal, ".", literal=True)
    return plain.cast(float64, strict=False), bool((plain != shown).any())
