"""Which inputs of the network are those of a column, and inputs whose columns come from other rows.

Each column is encoded on its own, so rows can be mixed after they were encoded: that gives what encoding
mixed rows would, at a small part of the cost.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.categories import EmbeddedCategories
from nnbackend.tables.features import Encoded
from nnbackend.tables.model import TableModel

__all__ = ["copy_inputs", "mix_inputs", "owners_of", "put_column"]


def owners_of(model: TableModel, columns: list[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the number of the column, in the order of ``columns``, that each input comes from.

    Returns:
        those of the columns of ``numbers`` and of ``indices`` of :class:`Encoded`.
    """
    numbers: list[int] = []
    indices: list[int] = []
    for feature in model.encoder.features:
        place = columns.index(feature.name)
        if isinstance(feature, EmbeddedCategories):
            indices.append(place)
        else:
            numbers.extend([place] * feature.width)
    return np.array(numbers, np.int64), np.array(indices, np.int64)


def copy_inputs(inputs: Encoded) -> Encoded:
    """Return inputs that can be changed."""
    return replace(inputs, numbers=inputs.numbers.copy(), indices=inputs.indices.copy())


def put_column(
    inputs: Encoded,
    others: Encoded,
    rows: Any,
    owners: tuple[NDArray[Any], NDArray[Any]],
    column: int,
) -> None:
    """Put a column of other inputs, from certain rows or from one row, into inputs.

    That is done in place: a copy of a wide table would take longer than the network.
    """
    for changed, other, owner in (
        (inputs.numbers, others.numbers, owners[0]),
        (inputs.indices, others.indices, owners[1]),
    ):
        places = owner == column
        changed[:, places] = other[:, places][rows]


def mix_inputs(
    mask: NDArray[np.bool], one: Encoded, others: Encoded, owners: tuple[NDArray[Any], NDArray[Any]]
) -> Encoded:
    """Return inputs whose columns come from a row where a mask is true, else from other rows.

    Args:
        mask: of shape (rows, ..., columns), with the rows of ``others`` first.
        one: a single row.
        others: the other rows.
        owners: of :func:`owners_of`.

    Returns:
        the inputs of ``rows * ...`` rows, in the order of the mask.
    """
    parts = []
    for row, other, owner in (
        (one.numbers, others.numbers, owners[0]),
        (one.indices, others.indices, owners[1]),
    ):
        old = other.reshape(len(other), *[1] * (mask.ndim - 2), other.shape[1])
        mixed = np.where(mask[..., owner], row[0], old)
        parts.append(mixed.reshape(math.prod(mask.shape[:-1]), other.shape[1]))
    return replace(others, numbers=parts[0], indices=parts[1])
