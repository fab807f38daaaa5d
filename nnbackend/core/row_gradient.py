"""Gradients of a few rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from nnbackend.core.types import Array, Namespace

__all__ = ["RowGradient", "SummedRows"]


@dataclass(frozen=True)
class RowGradient:
    """The gradient of a table of which a batch looked up some rows, perhaps several times.

    The gradient of row ``r`` is the sum of the values whose index is ``r``. Layers give it for tables
    that :meth:`~nnbackend.core.types.Context.wants_rows` names, and the gradient of the whole table
    otherwise. It has no arithmetic: what would take it for a whole gradient fails.

    Args:
        index: the rows that were looked up, integers of shape (n,).
        values: the gradient of each of them, of shape (n, features).
        keep: whether it counts, of shape (n,); padding does not.
        rows: the number of rows of the table.
    """

    index: Array
    values: Array
    keep: Array
    rows: int

    __array_ufunc__ = None  # else NumPy would take it for an object to compute with

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the table."""
        return self.rows, int(self.values.shape[1])

    def summed(self, backend: Any) -> SummedRows:
        """Return the sum of each row's values, in its first place; the other places are not valid.

        What is not kept is sorted to the end. An index out of range makes NaN of the row 0, as in
        ``scatter_add``. All shapes depend on that of the index alone.
        """
        xp, device = backend.xp, backend.device
        index = xp.astype(self.index, xp.int32, copy=False)
        in_range = xp.logical_and(index >= 0, index < self.rows)
        index = xp.where(in_range, index, xp.zeros_like(index))
        index = xp.where(self.keep, index, xp.full_like(index, self.rows))
        missing = xp.full_like(self.values, xp.nan)
        values = xp.where(in_range[:, None], self.values, missing)
        order = xp.argsort(index, stable=True)
        index, values = xp.take(index, order), xp.take(values, order, axis=0)
        start = xp.searchsorted(index, index)  # where the places of the same row begin
        number = xp.arange(index.shape[0], dtype=start.dtype, device=device)
        kept = index < self.rows
        valid = xp.logical_and(start == number, kept)
        if index.shape[0]:
            values = backend.scatter_add(index.shape[0], start, values)
        values = xp.where(valid[:, None], values, xp.zeros_like(values))
        index = xp.where(kept, index, xp.zeros_like(index))
        return SummedRows(index, values, valid, number, backend.set_rows)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "this is the gradient of some rows of a table, for which Lazy asked, and something computes "
            "with it as if it was that of the whole table: a layer around the table, or several layers "
            "that share it. Leave that table out of the patterns of Lazy"
        )

    __add__ = __radd__ = __iadd__ = __mul__ = __rmul__ = __neg__ = __truediv__ = _refuse
    __sub__ = __rsub__ = __matmul__ = __rmatmul__ = __getitem__ = __array__ = _refuse


@dataclass(frozen=True)
class SummedRows:
    """The gradient of some rows of a table, each row once.

    Args:
        index: the rows, of shape (n,), all in range.
        values: their gradients, of shape (n, features); zeros in places that are not valid.
        valid: whether a place stands for a row, of shape (n,).
        number: the numbers 0 to n - 1.
        set_rows: the backend's function that writes rows into a table.
    """

    index: Array
    values: Array
    valid: Array
    number: Array
    set_rows: Callable[[Array, Array, Array], Array]

    def update(
        self,
        rule: Callable[..., tuple[Array, tuple[Array, ...]]],
        p: Array,
        slots: tuple[Array, ...],
        h: Any,
        xp: Namespace,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return a table and its arrays with a rule applied to these rows.

        Every place that is not valid writes what the first valid one does, or, if there is none, what
        was there: so the shapes do not depend on the batch, and no place writes something else.
        """
        count = self.index.shape[0]
        if count == 0:
            return p, slots
        tables = (p, *slots)
        first, *others = [xp.take(table, self.index, axis=0) for table in tables]
        new, new_slots = rule(first, self.values, tuple(others), h, xp)
        first_valid = xp.argmax(xp.astype(self.valid, xp.int32))
        first_valid = xp.astype(first_valid, self.number.dtype, copy=False)
        source = xp.where(self.valid, self.number, first_valid)
        index, valid = xp.take(self.index, source), self.valid[:, None]
        written = []
        for table, block in zip(tables, (new, *new_slots), strict=True):
            # Taken again: the rule has consumed the first ones.
            block = xp.where(valid, block, xp.take(table, self.index, axis=0))
            written.append(self.set_rows(table, index, xp.take(block, source, axis=0)))
        return written[0], tuple(written[1:])
