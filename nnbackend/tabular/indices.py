"""Indices of several columns of categories in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnbackend.core.checks import check_items, check_size

__all__ = ["check_cardinalities", "offset_indices"]


def check_cardinalities(categories: Any) -> tuple[int, ...]:
    """Return the number of values of each column, checked.

    Raises:
        TypeError: it is no sequence.
        ValueError: a number is below 1.
    """
    counts = check_items("categories", categories, "the number of values of each column")
    return tuple(check_size(f"categories[{i}]", count) for i, count in enumerate(counts))


def offset_indices(codes: Any, categories: Sequence[int], members: int | None = None) -> Any:
    """Return the indices of several columns as indices of one table, whose parts follow one another.

    Column ``j`` gets the sum of ``categories[:j]`` added; with members, member ``k`` gets ``k`` times
    the sum of all besides.

    Args:
        codes: array-like of whole numbers of shape (rows, columns), those of column ``j`` from 0 to
            ``categories[j] - 1``.
        categories: the number of values of each column.
        members: the number of members that have a table each; None (the default): there is one.

    Returns:
        an int32 array of NumPy of shape (rows, columns), or (rows, members, columns).

    Raises:
        TypeError: ``codes`` does not hold whole numbers.
        ValueError: a code is out of range, or there is another number of columns.

    >>> offset_indices([[0, 2], [1, 0]], [2, 3]).tolist()
    [[0, 4], [1, 2]]
    """
    counts = np.asarray(check_cardinalities(categories), dtype=np.int64)
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        raise TypeError(f"codes must hold whole numbers, got an array of dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != len(counts):
        raise ValueError(
            f"codes must have the shape (rows, {len(counts)}), a column for each of categories; got "
            f"{array.shape}"
        )
    outside = np.argwhere((array < 0) | (array >= counts))
    if len(outside):
        row, column = outside[0].tolist()
        raise ValueError(
            f"codes[{row}, {column}] is {array[row, column]}, and column {column} has the "
            f"{counts[column]} values from 0 to {counts[column] - 1}"
        )
    indices = array + (np.cumsum(counts) - counts)
    if members is not None:
        tables = np.arange(check_size("members", members))[:, None] * counts.sum()
        indices = indices[:, None, :] + tables
    return indices.astype(np.int32)
