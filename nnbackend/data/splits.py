"""Splits: which rows train and which validate, once or in folds.

All of them are row numbers, drawn by the portable generator: the same seed gives the same parts on
every backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core import random
from nnbackend.core.checks import check_fraction, check_size
from nnbackend.errors import counted

__all__ = ["folds", "split", "stratified"]

Rows = NDArray[np.intp]
_SUM_TOLERANCE = 1e-3  # of a row of probabilities, which may be rounded to three digits


def split(
    rows: int, fraction: float, seed: int = 0, *, classes: Any = None, groups: Any = None
) -> tuple[Rows, Rows]:
    """Return the row numbers for training and for validation, at random by ``seed``.

    Args:
        rows: the number of rows.
        fraction: for validation, above 0 and below 1; at least one row stays on either side.
        seed: fixes the split.
        classes: array-like of the class of each row, or rows of probabilities; of several labels in a
            row, those that occur together are a class. Each class then gives the fraction of its rows to
            validation, up to one row, and has at least one row for training.
        groups: array-like of the group of each row. All rows of a group are then on one side; the
            fraction is met as nearly as whole groups allow.

    Raises:
        ValueError: the fraction is out of range, there is one row only, one group only, or one row only
            of every class.
    """
    rows, fraction = check_size("rows", rows), check_fraction("fraction", fraction)
    if rows < 2:
        raise ValueError("a validation split needs at least 2 rows, got 1")
    if classes is not None and groups is not None:
        raise ValueError("a split is by classes or by groups, not both")
    order = random.permutation(seed, rows, "validation split")
    held_out = min(max(round(rows * fraction), 1), rows - 1)
    if classes is not None:
        validates = stratified(_codes("the classes", classes, rows), order, held_out)
    elif groups is not None:
        validates = _grouped(_codes("groups", groups, rows), seed, held_out)
    else:
        validates = np.zeros(rows, dtype=bool)
        validates[order[:held_out]] = True
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def folds(
    rows: int, count: int = 5, seed: int = 0, *, classes: Any = None, groups: Any = None
) -> list[tuple[Rows, Rows]]:
    """Return ``count`` pairs of row numbers for training and for testing.

    Each row is tested in one fold and trains in all others. The sizes of the folds differ by one row
    at most; with ``classes`` so do the numbers of rows of each class. With ``groups`` the rows of a
    group are tested together, and the folds are as even as a greedy choice makes them: the largest
    group goes to the fold that has the fewest rows.

    Args:
        rows: the number of rows.
        count: the number of folds, at least 2.
        seed: fixes the folds.
        classes: array-like of the class of each row.
        groups: array-like of the group of each row.

    Raises:
        ValueError: there are fewer rows, rows of a class, or groups than folds.
    """
    rows, count = check_size("rows", rows), check_size("folds", count)
    if count < 2:
        raise ValueError("folds must be at least 2, got 1")
    if classes is not None and groups is not None:
        raise ValueError("folds are by classes or by groups, not both")
    if groups is not None:
        fold = _group_folds(_codes("groups", groups, rows), count, seed)
    else:
        if rows < count:
            raise ValueError(
                f"{rows} row{' is' if rows == 1 else 's are'} too few for {count} folds"
            )
        order = random.permutation(seed, rows, "folds")
        if classes is not None:
            codes = _codes("the classes", classes, rows)
            fewest = int(np.bincount(codes).min())
            if fewest < count:
                raise ValueError(
                    f"a class has {counted(fewest, 'row')}, too few for {count} "
                    "stratified folds, of which each tests one"
                )
            order = order[np.argsort(codes[order], kind="stable")]
        # Dealt out like cards: class after class, so that each gives its share to every fold.
        fold = np.empty(rows, dtype=np.intp)
        fold[order] = np.arange(rows) % count
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(count)]


def _codes(name: str, values: Any, rows: int) -> Rows:
    """Return a number from 0 for each different value; one value for each row is needed."""
    try:
        column = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except ValueError as error:
        raise ValueError(f"{name} must be one value for each row: {error}") from error
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    elif column.ndim == 2 and column.shape[1] > 1 and column.dtype.kind in "biuf":
        sums = column.sum(axis=1)
        # Of probabilities the largest counts; of several labels in a row, those that occur together.
        of_one = (column >= 0).all() and (abs(sums - 1.0) <= _SUM_TOLERANCE).all()
        if of_one:
            column = column.argmax(axis=1)
        else:
            column = np.unique(column, axis=0, return_inverse=True)[1].reshape(-1)
    if column.shape != (rows,):
        raise ValueError(
            f"{name} must be given for each of the {rows} rows, got shape {column.shape}"
        )
    try:
        codes: Rows = np.unique(column, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(f"{name} must be all numbers or all texts, and none missing") from error
    return codes


def stratified(codes: Rows, order: Rows, wanted: int) -> NDArray[np.bool]:
    """Return the validation rows: of every class its share, rounded by largest remainder.

    The first row of each class in ``order``, which has all rows, stays in training; so fewer than
    ``wanted`` validate where a class has no other.

    Raises:
        ValueError: no class has another row, and some are wanted.
    """
    counts = np.bincount(codes)
    quotas, remainders = np.divmod(counts * wanted, len(codes))
    # Classes of equal remainder come in the order in which they were drawn.
    drawn = np.unique(codes[order], return_index=True)[1]
    quotas[np.lexsort((drawn, -remainders))[: wanted - quotas.sum()]] += 1
    quotas = np.minimum(quotas, counts - 1)
    if wanted and not quotas.any():
        raise ValueError(
            f"each of the {len(counts)} classes has one row only, which is needed for training: no "
            "row is left to validate"
        )
    # Of the rows of a class after the first, those at equal distances are taken.
    classes = np.repeat(np.arange(len(counts)), quotas)
    place = np.arange(len(classes)) - (np.cumsum(quotas) - quotas)[classes]
    picked = ((place + 0.5) * (counts - 1)[classes] / quotas[classes]).astype(np.intp)
    by_class = order[np.argsort(codes[order], kind="stable")]
    validates = np.zeros(len(order), dtype=bool)
    validates[by_class[(np.cumsum(counts) - counts)[classes] + 1 + picked]] = True
    return validates


def _grouped(codes: Rows, seed: int, wanted: int) -> NDArray[np.bool]:
    """Return the validation rows: whole groups, at random, as long as they bring the size nearer."""
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise ValueError("a split by groups needs at least 2 groups, got 1")
    chosen = np.zeros(len(sizes), dtype=bool)
    held_out = 0
    order = random.permutation(seed, len(sizes), "validation groups")
    for group in order:
        if abs(held_out + sizes[group] - wanted) < abs(held_out - wanted):
            chosen[group] = True
            held_out += int(sizes[group])
    if not chosen.any():
        chosen[sizes.argmin()] = True
    if chosen.all():
        chosen[order[-1]] = False
    return chosen[codes]


def _group_folds(codes: Rows, count: int, seed: int) -> Rows:
    """Return the fold of each row: the largest group first, to the fold with the fewest rows."""
    sizes = np.bincount(codes)
    if len(sizes) < count:
        raise ValueError(f"{len(sizes)} groups are too few for {count} folds")
    order = random.permutation(seed, len(sizes), "folds")
    filled = np.zeros(count, dtype=np.intp)
    fold = np.empty(len(sizes), dtype=np.intp)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[codes]
