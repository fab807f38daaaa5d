"""What the columns of a table hold: numbers, categories, dates, free text, or nothing to learn from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import few, unknown_name
from nnbackend.tables.moments import dates_vary, is_moment
from nnbackend.tables.table import Table, has_one_value, is_number, missing, warn

__all__ = [
    "GIVEN_KINDS",
    "LEFT_OUT",
    "ColumnKind",
    "Found",
    "check_category_count",
    "choose_kinds",
    "find_flaw",
    "find_kind",
    "find_leaks",
    "warn_left_out",
]

ColumnKind = Literal[
    "number", "boolean", "category", "date", "text", "identifier", "constant", "empty", "drop"
]
GIVEN_KINDS: tuple[ColumnKind, ...] = ("number", "boolean", "category", "date", "text", "drop")
"""The kinds that a column can be told to be."""
LEFT_OUT: tuple[ColumnKind, ...] = ("identifier", "constant", "empty", "drop")
"""The kinds of columns that are no features."""

MOST_DIFFERENT = 0.9  # a larger share of different texts in a column are no categories
_TEXT_DIFFERENT = 0.5  # free text repeats less than this share, and has so many words
_TEXT_WORDS = 3.0
_FEWEST_IDS = 20  # in fewer rows it may be chance that whole numbers differ
_FEWEST_LEAK_ROWS = 20
_WHOLE_SHARE = 0.05  # whole numbers are categories where they repeat at least 20 times on average
_IDS = {"id", "ids", "uuid", "guid", "rowid"}  # at the end of a name
_ID_NAMES = {"#", "idx", "index", "key", "no", "nr", "number", "row", "unnamed: 0"}
_PARTS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")


@dataclass(frozen=True)
class Found:
    """What a column was found to hold.

    Attributes:
        kind: see :data:`ColumnKind`.
        why: for a column that is left out, the words for its flaw; else empty.
        count: how many different texts it has in how many rows, for the message; else empty.
    """

    kind: ColumnKind
    why: str = ""
    count: str = ""


def choose_kinds(
    table: Table,
    given: Mapping[str, ColumnKind] | None = None,
    *,
    target: str | None = None,
    whole_categories: int = 0,
    free_text: bool = True,
    max_categories: int | None = None,
) -> dict[str, ColumnKind]:
    """Return what each column of a table holds, and warn of those that are no features.

    Columns that are left out: with no value or one only, identifiers (texts that hardly repeat; whole
    numbers that all differ, leave few gaps, and are named like ``id``), and too many categories.

    Args:
        table: the training rows.
        given: what columns hold, for those that are not as they look.
        target: the name of a column that is no feature.
        whole_categories: whole numbers of at most so many different values, each 20 times or more on
            average, are categories, and that is said; 0: they are numbers, whose order counts.
        free_text: whether texts of many words that hardly repeat are free text, rather than identifiers.
        max_categories: a column of more different texts is left out; None: there is no limit.

    Raises:
        UnknownNameError: ``given`` names a column that is not there, or no kind.
        ValueError: a column cannot be what it was given as.
    """
    given = dict(given or {})
    for name, kind in given.items():
        if name not in table:
            raise unknown_name("column", name, table)
        if kind not in GIVEN_KINDS:
            raise unknown_name(f"kind of column {name!r}", kind, GIVEN_KINDS)
    found: dict[str, Found] = {}
    for name, column in table.items():
        if name == target:
            continue
        if name in given:
            found[name] = check_kind(name, column, given[name])
        else:
            found[name] = find_kind(name, column, whole_categories, free_text, max_categories)
    warn_left_out({n: f for n, f in found.items() if f.kind != "drop"})
    whole = [n for n, f in found.items() if f.kind == "category" and is_number(table[n])]
    whole = [name for name in whole if name not in given]
    if whole:
        warn(f"whole numbers with few different values taken for categories: {few(whole, 10)}")
    return {name: each.kind for name, each in found.items()}


def find_kind(
    name: str,
    column: NDArray[Any],
    whole_categories: int = 0,
    free_text: bool = True,
    max_categories: int | None = None,
) -> Found:
    """Return what a column holds; see :func:`choose_kinds`."""
    flaw = find_flaw(column)
    if flaw is not None:
        return flaw
    known = column[~missing(column)]
    if is_number(column):
        return _kind_of_numbers(name, known, whole_categories)
    different = set(known)
    if is_moment(different):
        return Found("date") if dates_vary(column) else Found("constant", "one date only")
    words = sum(len(text.split()) for text in different) / len(different)
    if free_text and words >= _TEXT_WORDS and len(different) > _TEXT_DIFFERENT * len(known):
        return Found("text")
    if len(different) > MOST_DIFFERENT * len(known):
        why = "texts that hardly repeat (names, identifiers)"
        return Found("identifier", why, _counted(len(different), len(known)))
    return check_category_count(known, len(different), max_categories) or Found("category")


def find_flaw(column: NDArray[Any]) -> Found | None:
    """Return why nothing can be learned from a column, whatever it holds, or None."""
    absent = missing(column)
    if absent.all():
        return Found("empty", "no values")
    if has_one_value(column) and (is_number(column) or not absent.any()):
        differ = is_number(column) and np.nanmin(column) != np.nanmax(column)
        return Found(
            "constant", "values that differ by rounding only" if differ else "one value only"
        )
    return None


def check_category_count(
    known: NDArray[Any], different: int, max_categories: int | None
) -> Found | None:
    """Return that a column has too many different texts, or None."""
    if max_categories is None or different <= max_categories:
        return None
    why = f"more than {max_categories} different texts"
    return Found("identifier", why, _counted(different, len(known)))


def _counted(different: int, rows: int) -> str:
    return f" ({different:,} in {rows:,} rows)"


def _kind_of_numbers(name: str, known: NDArray[Any], whole_categories: int) -> Found:
    """Return what a column holds, of which these are the numbers."""
    values = np.unique(known)
    if np.isin(values, (0.0, 1.0)).all():
        return Found("boolean")
    if not (values == np.floor(values)).all():
        return Found("number")
    all_differ = len(values) == len(known) >= _FEWEST_IDS
    if all_differ and _is_named_like_an_id(name) and values[-1] - values[0] < 2 * len(values):
        return Found("identifier", "whole numbers that count the rows (identifiers)")
    if len(values) <= min(whole_categories, _WHOLE_SHARE * len(known)):
        return Found("category")
    return Found("number")


def _is_named_like_an_id(name: str) -> bool:
    """Return whether a name is that of an identifier.

    >>> [_is_named_like_an_id(name) for name in ("id", "PassengerId", "customer_ID", "index")]
    [True, True, True, True]
    >>> [_is_named_like_an_id(name) for name in ("humid", "grid", "time_index", "idea")]
    [False, False, False, False]
    """
    if name.strip().casefold() in _ID_NAMES:
        return True
    parts = _PARTS_OF_NAME.findall(name)
    return bool(parts) and parts[-1].casefold() in _IDS


def check_kind(name: str, column: NDArray[Any], kind: ColumnKind) -> Found:
    """Return a kind that a column was given, if it can be that.

    Raises:
        ValueError: it cannot.
    """
    if kind == "drop":
        return Found("drop")
    found = find_kind(name, column)
    if found.kind in ("empty", "constant"):
        return found
    wanted_numbers = kind in ("number", "boolean")
    if wanted_numbers and not is_number(column):
        text = next(text for text in column if text is not None)
        raise ValueError(
            f"column {name!r} is to hold numbers, and holds texts, for instance {text!r}"
        )
    if kind == "boolean" and found.kind != "boolean":
        raise ValueError(
            f"column {name!r} is to hold booleans, and holds other numbers than 0 and 1"
        )
    if kind == "date" and found.kind != "date":
        held = "numbers" if is_number(column) else "texts that are no dates"
        raise ValueError(f"column {name!r} is to hold dates, and holds {held}")
    return Found(kind)


def warn_left_out(found: Mapping[str, Found], hints: Mapping[str, str] | None = None) -> None:
    """Warn of the columns that are no features.

    Args:
        found: what each column holds.
        hints: what may be done about a flaw, by its first word.
    """
    names_by_flaw = defaultdict(list)
    for name, each in found.items():
        if each.why:
            names_by_flaw[each.why].append(f"{name}{each.count}")
    for flaw, names in names_by_flaw.items():
        hint = (hints or {}).get(flaw.partition(" ")[0], "")
        warn(f"columns with {flaw} left out: {few(names, 10)}{hint}")


def find_leaks(table: Table, target: NDArray[Any], names: Iterable[str] | None = None) -> list[str]:
    """Return the columns that give the target away, and warn of them.

    A column does where it equals the target, or each of its values goes with one value of the target
    and the other way round. Of numbers most of which differ, that means little: such a column does where
    it orders the rows as the target does, rising or falling, like the target in another unit or its
    logarithm. In fewer than 20 rows that may be chance, and is not said.

    Args:
        table: the features.
        target: the target of each row, numbers or texts.
        names: the columns to look at; None: all.
    """
    leaks = []
    wanted = _codes(target)
    for name in table if names is None else names:
        column = table[name]
        known = ~missing(column) & ~missing(target)
        if known.sum() < _FEWEST_LEAK_ROWS:
            continue
        if _give_away(_codes(column)[known], wanted[known], column[known], target[known]):
            leaks.append(name)
    if leaks:
        warn(
            f"columns that give the target away, for they are equal to it or one-to-one with it: "
            f"{few(leaks, 10)}; leave them out if they are not known before the target is"
        )
    return leaks


def _codes(column: NDArray[Any]) -> NDArray[np.intp]:
    """Return a number for each different value of a column."""
    if is_number(column):
        return np.unique(column, return_inverse=True)[1]
    places = {value: place for place, value in enumerate(dict.fromkeys(column))}
    return np.array([places[value] for value in column], dtype=np.intp)


def _give_away(
    codes: NDArray[np.intp], wanted: NDArray[np.intp], column: NDArray[Any], target: NDArray[Any]
) -> bool:
    """Return whether a column tells the target, and the target the column."""
    different, classes = len(np.unique(codes)), len(np.unique(wanted))
    if min(different, classes) < 2:
        return False
    if 2 * min(different, classes) > len(codes):
        if is_number(column) and is_number(target):
            return _rise_together(column, target) or _rise_together(-column, target)
        return is_number(column) == is_number(target) and bool((column == target).all())
    if different != classes:
        return False
    pairs = len(np.unique(codes.astype(np.int64) * (int(wanted.max()) + 1) + wanted))
    return pairs == classes


def _rise_together(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether rows can be sorted so that neither number ever falls."""
    for rows in (slice(1000), slice(None)):  # mostly the first tell, and sorting all takes long
        order = np.lexsort((other[rows], one[rows]))
        if (np.diff(other[rows][order]) < 0).any():
            return False
    return True
