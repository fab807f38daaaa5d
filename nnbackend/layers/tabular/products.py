"""Products of rows with a matrix, or with one for each of several members.

Members are networks that are computed together, on rows of shape (members, features). Their product is
batched over members, (members, batch, in) times (members, in, out). Axes are permuted and nothing is
copied: between two such layers an array of shape (batch, members, features) lies in memory member by
member, and functions of single numbers keep it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from nnbackend.core.types import Array, Namespace, Shape

__all__ = ["check_members", "product", "swapped"]

Pullback: TypeAlias = Callable[[Array, bool], tuple[Array | None, Array]]


def check_members(layer: Any, input_shape: Shape) -> int:
    """Return the number of features of each member.

    Raises:
        ValueError: rows have another shape than (members, features).
    """
    if len(input_shape) != 2 or input_shape[0] != layer.members:
        raise ValueError(
            f"{type(layer).__name__} with members={layer.members} takes rows of shape "
            f"({layer.members}, features), got {input_shape}; Replicate({layer.members}) gives each "
            "member the same features"
        )
    return input_shape[1]


def swapped(x: Array, xp: Namespace) -> Array:
    """Return (batch, members, features) as (members, batch, features), or back: a view."""
    return xp.permute_dims(x, (1, 0, 2))


def product(x: Array, weight: Array, xp: Namespace) -> tuple[Array, Pullback]:
    """Return ``z = x @ weight``, a new array, and ``pullback(dz, input_grad) -> (dx, dweight)``.

    Args:
        x: of shape (batch, ..., in); with members (batch, members, in).
        weight: of shape (in, out); with members (members, in, out).
        xp: the array namespace.
    """
    shape = x.shape
    if weight.ndim == 3:
        by_member = swapped(x, xp)

        def of_members(dz: Array, input_grad: bool) -> tuple[Array | None, Array]:
            dz = swapped(dz, xp)
            dx = swapped(dz @ weight.mT, xp) if input_grad else None
            return dx, by_member.mT @ dz

        return swapped(by_member @ weight, xp), of_members

    rows = _as_rows(x, xp)

    def pullback(dz: Array, input_grad: bool) -> tuple[Array | None, Array]:
        dz = _as_rows(dz, xp)
        dx = xp.reshape(dz @ weight.T, shape) if input_grad else None
        return dx, rows.T @ dz

    return xp.reshape(rows @ weight, (*shape[:-1], weight.shape[1])), pullback


def _as_rows(x: Array, xp: Namespace) -> Array:
    """Return ``x`` as a matrix, (batch, ..., features) -> (batch * ..., features)."""
    if x.ndim == 2:
        return x
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
