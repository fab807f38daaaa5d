"""What numbers in texts are written with: percents, signs of currencies, and suffixes such as k and M.

A model reads the numbers of a column as those it learned from: 45% is 45, so that 0.45 without the
percents, which would be read as 0.45, is refused there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from nnbackend.errors import few
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.numerals import (
    AFTER,
    BEFORE,
    CURRENCY,
    SUFFIX,
    are_mostly_numbers,
    bare_numbers,
    find_decimal,
    texts_of,
    which_contain,
    without_suffixes,
)
from nnbackend.tables.table import ColumnError, polars_module, warn

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "are_suffixed",
    "check_units",
    "find_numerals",
    "find_units",
    "has_suffixes",
    "split_suffixes",
    "warn_of_currencies",
]

_FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9}
_NO_CURRENCY = {"", "%", *_FACTORS}
_LAST = rf"[0-9.]\s?({SUFFIX}){AFTER}?$"
_SUFFIXED = rf"^[+-]?{BEFORE}?\s?[+-]?(?:0|[1-9][0-9.,'_\s]*|0?[.,][0-9]+)\s?{SUFFIX}?{AFTER}?$"


def find_numerals(frame: pl.DataFrame, dialect: Dialect) -> Dialect:
    """Return the dialect of the texts in a frame: its decimal mark, and the units of its columns."""
    return find_units(frame, find_decimal(frame, dialect))


def find_units(frame: pl.DataFrame, dialect: Dialect) -> Dialect:
    """Return the dialect with the units of the columns of texts in a frame, if it has none yet."""
    if dialect.units is not None:
        return dialect
    columns = [c for c in frame.get_columns() if c.dtype == polars_module().String]
    may = zip(columns, which_contain(columns, rf"%|{CURRENCY}|{_LAST}"), strict=True)
    units = {c.name: _find_units(texts_of(c, dialect)) for c, has in may if has}
    return replace(dialect, units={name: found for name, found in units.items() if found})


def _find_units(texts: pl.Series) -> tuple[str, ...]:
    """Return the units of a column of numbers in texts; none if it is no such column."""
    suffixes = texts.str.extract(_LAST).is_not_null()
    if suffixes.any() and not texts.str.contains(_SUFFIXED).all():
        return ()
    if not suffixes.any() and not are_mostly_numbers(bare_numbers(texts)):
        return ()
    return tuple(sorted({*_units_of(texts).drop_nulls(), *_currencies_of(texts)}))


def _units_of(texts: pl.Series) -> pl.Series:
    """Return of each text its unit, by which it is multiplied: ``%``, ``k``, ``m``, ``b`` or none."""
    letters = texts.str.extract(_LAST).str.to_lowercase().str.slice(0, 1).fill_null("")
    percents = texts.str.ends_with("%").fill_null(False)
    units = polars_module().select(
        polars_module()
        .when(texts.is_null())
        .then(None)
        .when(percents)
        .then(polars_module().lit("%"))
        .otherwise(letters)
    )
    return units.to_series()  # type: ignore[no-any-return]


def _currencies_of(texts: pl.Series) -> set[str]:
    return set(texts.str.extract(f"({CURRENCY})").drop_nulls())


def are_suffixed(texts: Iterable[str]) -> bool:
    """Return whether all texts are numbers, and some end in k, M or mn, B or bn.

    >>> are_suffixed(["1.5k", "2M", "300"]), are_suffixed(["300", "1.2.2020"]), are_suffixed(["3rd"])
    (True, False, False)
    """
    found = list(texts)
    return all(re.search(_SUFFIXED, text) for text in found) and any(
        re.search(_LAST, text) for text in found
    )


def warn_of_currencies(names: Iterable[str], dialect: Dialect) -> None:
    """Warn of columns of numbers with amounts in more than one currency."""
    found = {name: set((dialect.units or {}).get(name, ())) - _NO_CURRENCY for name in names}
    several = [f"{name} ({_listed(signs)})" for name, signs in found.items() if len(signs) > 1]
    if several:
        warn(
            f"amounts in several currencies in {few(several, 10)}: they are not converted, 5 stays 5"
        )


def has_suffixes(name: str, dialect: Dialect) -> bool:
    """Return whether numbers of a column have suffixes such as k and M."""
    return bool(_FACTORS.keys() & set((dialect.units or {}).get(name, ())))


def split_suffixes(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return texts without their suffixes, and the factors that these stand for, else 1."""
    factors = _units_of(texts).replace_strict(
        _FACTORS, default=1.0, return_dtype=polars_module().Float64
    )
    return without_suffixes(texts), factors


def check_units(name: str, texts: pl.Series | None, dialect: Dialect) -> None:
    """Refuse numbers that are written with another unit than those of training.

    A currency that training did not have is said.

    Args:
        name: the name of the column.
        texts: its texts; None: they are numbers, which have no unit.
        dialect: of the training; without units nothing is known, and nothing refused.

    Raises:
        ColumnError: percents or suffixes where training had none, or the other way round.
    """
    if dialect.units is None:
        return
    known = set(dialect.units.get(name, ("",)))
    allowed = known | (set(_FACTORS) if has_suffixes(name, dialect) else set())
    units = polars_module().Series([""]) if texts is None else _units_of(texts)
    others = ~units.is_in(list(allowed)) & units.is_not_null()
    if others.any():
        row = int(others.arg_max() or 0)
        held = "numbers without them" if texts is None else f"{texts[row]!r} in row {row + 1}"
        _refuse(name, units[row], known, held)
    if texts is not None and (found := _currencies_of(texts) - known):
        before = known - _NO_CURRENCY
        had = f"had {_listed(before)}" if before else "had no currency"
        warn(f"column {name!r} holds amounts in {_listed(found)}, and training {had}")


def _refuse(name: str, unit: str, known: set[str], held: str) -> None:
    """Raise the error for a number with a unit that training did not have in a column."""
    if unit:
        sign = "%" if unit == "%" else f"the suffix {unit}"
        what = f"column {name!r} had no numbers with {sign} in training, and holds {held}"
        advice = "write its numbers as in training, where nothing says what 45 stood for"
        advice = advice if unit == "%" else "write all digits"
    else:
        signs = "percents" if "%" in known else "suffixes such as k or M"
        example = "45%" if "%" in known else "1.5k"
        what = f"column {name!r} had {signs} in training, and holds {held}"
        advice = f"write {example} as in training"
        if "in row" in held:
            what += ", which has none"
    raise ColumnError(what, advice, advice)


def _listed(signs: Iterable[str]) -> str:
    return ", ".join(sorted(signs))
