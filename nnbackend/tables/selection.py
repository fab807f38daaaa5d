"""Which rows and columns of a table are learned from, and which validate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.random import permutation
from nnbackend.data.splits import stratified
from nnbackend.errors import counted, few, unknown_name
from nnbackend.tables.encodings import usual_kind
from nnbackend.tables.kinds import (
    LEFT_OUT,
    ColumnKind,
    Found,
    check_category_count,
    find_flaw,
    find_kind,
    warn_left_out,
)
from nnbackend.tables.moments import is_moment
from nnbackend.tables.table import Table, has_one_value, is_number, missing, take_rows, warn
from nnbackend.tables.targets import check_spread, may_be_classes

__all__ = [
    "MAX_CATEGORIES",
    "MAX_EMBEDDED",
    "check_target",
    "choose_feature_kinds",
    "choose_features",
    "infer_classes",
    "known_target",
    "split_rows",
    "warn_rare_classes",
]

MAX_CATEGORIES = 100
MAX_EMBEDDED = 1000
"""The same for a network that embeds categories, where each costs few parameters."""
_HINTS = {
    "texts": "; --features or --text takes them",
    "whole": "; --features takes them",
    "more": "; --max-categories takes more",
}


def known_target(table: Table, target: str) -> Table:
    """Return the rows whose target is known, and warn of how many others there were.

    Raises:
        UnknownNameError: the table has no such column.
        ValueError: there is no such row.
    """
    if target not in table:
        raise unknown_name("column", target, table)
    known = ~missing(table[target])
    if not known.any():
        raise ValueError(f"no row has a value for the target {target!r}")
    if not known.all():
        warn(
            f"{counted(int((~known).sum()), 'row')} without a value for the target {target!r} dropped"
        )
    return take_rows(table, known)


def check_target(table: Table, target: str) -> None:
    """Make sure that there is something to learn about a target.

    Raises:
        ValueError: there are fewer than two rows, all have the same target, texts hardly repeat, or
            numbers are too large.
    """
    column = table[target]
    values = set(column)
    if len(column) < 2:
        raise ValueError(f"training needs at least two rows with a target {target!r}")
    if has_one_value(column):
        raise ValueError(f"the target {target!r} has one value only, {values.pop()}")
    check_spread(target, column)
    if not is_number(column) and len(values) > max(10, len(column) / 2):
        raise ValueError(
            f"the target {target!r} holds {len(values)} different texts in "
            f"{counted(len(column), 'row')}, for instance {column[0]!r}; classes have to repeat"
        )


def choose_features(
    table: Table,
    target: str,
    names: Iterable[str] | None = None,
    texts: Collection[str] = (),
    max_categories: int = MAX_CATEGORIES,
) -> list[str]:
    """Return the columns to learn from: those of ``names``, or all from which something can be learned.

    Args:
        table: the table.
        target: the name of the target.
        names: the names of the columns; None: all of which nothing speaks against. Of the others is
            said how many there are and why.
        texts: columns that hold texts, even if they look like identifiers, which hardly repeat.
        max_categories: a column of more different texts is left out.

    Raises:
        UnknownNameError: the table has no such column.
        ValueError: a column is the target or holds one value only, or none is left.
    """
    kinds = choose_feature_kinds(table, target, names, texts, max_categories, free_text=False)
    return [name for name, kind in kinds.items() if kind not in LEFT_OUT]


def choose_feature_kinds(
    table: Table,
    target: str,
    names: Iterable[str] | None = None,
    texts: Collection[str] = (),
    max_categories: int = MAX_CATEGORIES,
    *,
    free_text: bool = True,
) -> dict[str, ColumnKind]:
    """Return what the columns hold, those that are left out included; see :func:`choose_features`.

    Args:
        table: the table.
        target: the name of the target.
        names: the names of the columns; None: all but the target.
        texts: columns that hold texts.
        max_categories: a column of more different texts is left out.
        free_text: whether texts of many words that hardly repeat are free text, rather than identifiers;
            default True.

    Raises:
        UnknownNameError, ValueError: see :func:`choose_features`.
    """
    if names is not None:
        kinds = {name: _kind_as_told(table, target, name, texts) for name in dict.fromkeys(names)}
    else:
        found = {
            name: _kind_of_texts(column, max_categories)
            if name in texts
            else find_kind(name, column, free_text=free_text, max_categories=max_categories)
            for name, column in table.items()
            if name != target
        }
        warn_left_out(found, _HINTS)
        kinds = {name: each.kind for name, each in found.items()}
    if all(kind in LEFT_OUT for kind in kinds.values()):
        raise ValueError(f"there is no column to predict {target!r} from")
    return kinds


def _kind_of_texts(column: NDArray[Any], max_categories: int) -> Found:
    """Return what a column holds that is said to be one of texts."""
    flaw = find_flaw(column)
    if flaw is not None:
        return flaw
    known = column[~missing(column)]
    return check_category_count(known, len(set(known)), max_categories) or Found("category")


def _kind_as_told(table: Table, target: str, name: str, texts: Collection[str]) -> ColumnKind:
    """Return what a column holds that is to be a feature, whatever it looks like."""
    if name not in table:
        raise unknown_name("column", name, table)
    if name == target:
        raise ValueError(f"column {name!r} is the target and cannot be a feature as well")
    column = table[name]
    flaw = find_flaw(column)
    if flaw is not None:
        raise ValueError(f"column {name!r} cannot be a feature: it has {flaw.why}")
    if name in texts:
        return "category"
    found = find_kind(name, column).kind
    return usual_kind(column) if found in LEFT_OUT else found


def infer_classes(table: Table, target: str) -> Table:
    """Return the table with a target of 0 and 1 as texts, which stand for classes; say so.

    Of other whole numbers that may be classes, as stars are, it is said that they are taken for numbers,
    and of dates that they are taken for classes.
    """
    column = table[target]
    if not is_number(column):
        if is_moment(column):
            warn(
                f"the target {target!r} holds dates, which are taken for classes; to predict a date "
                "make a number of it, such as the days since another"
            )
        return table
    values = np.unique(column)
    if values.tolist() == [0.0, 1.0]:
        warn(
            f"the target {target!r} holds 0 and 1, which are taken for two classes; --task regression "
            "takes them for numbers"
        )
        return table | {target: np.array(["0", "1"], dtype=object)[column.astype(np.intp)]}
    if may_be_classes(values, len(column)):
        shown = few([f"{value:.0f}" for value in values], 10)
        warn(
            f"the target {target!r} holds the whole numbers {shown}, which are taken for numbers; "
            "--task classification takes them for classes"
        )
    return table


def split_rows(
    count: int, fraction: float, seed: int, classes: NDArray[Any] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of the training rows and of the validation rows, in random order.

    With ``classes``, of each row, the split is stratified: each class gives the fraction of its rows to
    validation, up to one row, and has at least one row for training.

    Raises:
        ValueError: a fraction above 0 leaves no row to validate, for all classes have one row only.
    """
    order = permutation(seed, count, "validation")
    classes = np.zeros(count) if classes is None else classes
    codes = np.unique(classes, return_inverse=True)[1]
    wanted = min(max(round(count * fraction), 1), count - 1) if fraction else 0
    validates = stratified(codes, order, wanted)[order]
    return order[~validates], order[validates]


def warn_rare_classes(column: NDArray[Any], held_out: NDArray[np.intp], folds: int = 1) -> None:
    """Warn of classes of which the held-out rows say nothing, or too little.

    Args:
        column: the target of each row: texts.
        held_out: the numbers of the rows that are held out; of several folds those of each are.
        folds: the number of networks, each with other rows held out.
    """
    if folds == 1 and not len(held_out):
        return
    counts = Counter(column.tolist())
    single = [repr(name) for name, count in counts.items() if count == 1]
    if folds > 1:
        if single:
            warn(
                f"classes with one row only: {few(single, 10)}; the network that it is held out of has "
                "never seen its class, so that its prediction is wrong, and little is learned of it"
            )
        return
    there = set(column[held_out].tolist())
    absent = [f"{n!r} ({counted(c, 'row')})" for n, c in counts.items() if n not in there]
    if absent:
        warn(
            f"classes of which no row is held out: {few(absent, 10)}; the metrics of held-out rows say "
            "nothing about them, and little is learned of classes with so few rows"
        )
