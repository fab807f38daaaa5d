"""Datasets: tables of many files, read a piece at a time.

Parquet, CSV and Arrow files are read through pyarrow (the extra ``data``), which knows the row groups
of a Parquet file and reads a CSV file a megabyte at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.checks import check_items, check_text, named
from nnbackend.core.random import Generator
from nnbackend.core.types import Shape
from nnbackend.data.arrow import (
    Piece,
    batches_of,
    columns_of,
    find_datasets,
    pieces_of,
    pyarrow_module,
)
from nnbackend.data.sources import PREFETCH_BLOCKS, SHUFFLE_BUFFER, Chunk, Chunks, Source
from nnbackend.errors import DataError, counted, listed, unknown_name

__all__ = ["Dataset"]


class Dataset(Source):
    """A table of numbers in many files, of which a small part is in memory at any time.

    Where ``fit`` shuffles, files (of Parquet and Arrow files: their row groups and record batches) are
    read in random order, and rows are shuffled within a buffer. The order depends on the seed and the
    epoch alone.

    Args:
        files: a pattern such as ``"folder/*.parquet"``, a folder, a file, or several of these. Endings
            name the format: .parquet, .csv or .tsv (also .gz), .arrow, .feather or .ipc.
        target: the column, or columns, to predict.
        features: the columns to predict from, in the network's order; None: all others.
        weight: the column that says how much each row counts, or None.
        shuffle_buffer: the number of rows to shuffle together. The larger, the better mixed are
            neighboring rows of a file.
        prefetch: the number of blocks of rows prepared ahead, in a thread; 0: none.

    Attributes:
        files: the files found, in order of names.
        features: the names of the columns.
        rows: the number of rows of all files; None unless all are Parquet, which has it at hand.

    Raises:
        FileNotFoundError: no file matches.
        UnknownNameError: a column is not in the files.
        DataError: a file cannot be read, has other columns, or columns of anything but numbers.
        ModuleNotFoundError: pyarrow is not installed.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        weight: str | None = None,
        shuffle_buffer: int = SHUFFLE_BUFFER,
        prefetch: int = PREFETCH_BLOCKS,
    ) -> None:
        pyarrow_module()
        self.files = find_datasets(files)
        self._set_reading(shuffle_buffer, prefetch)
        columns = columns_of(self.files[0])
        self._one_target = isinstance(target, str)
        wanted = "the name of a column, or several"
        self.target = [target] if self._one_target else check_items("target", target, wanted)
        self.weight = None if weight is None else check_text("weight", weight)
        taken = [*self.target, *([] if weight is None else [weight])]
        if features is None:
            self.features = [name for name in columns if name not in taken]
        else:
            self.features = check_items("features", features, "names of columns")
        known = {*columns}
        for what, names in (("target or weight", taken), ("features", self.features)):
            for name in names:
                with named(what):
                    if not isinstance(name, str) or name not in known:
                        raise unknown_name("column", name, columns)
        if both := sorted(set(taken) & set(self.features)):
            raise ValueError(f"{listed(both)} cannot be a feature and a target or weight as well")
        if not self.features or not self.target:
            raise ValueError("a dataset needs a target and at least one other column")
        self._names = [*self.features, *taken]
        self._pieces = [piece for path in self.files for piece in self._pieces_of(path)]
        counts = self.piece_rows
        self.rows = None if None in counts else sum(c for c in counts if c is not None)
        if self.rows == 0:
            raise DataError(f"{self.files[0]} and the others hold no rows")

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the rows, piece by piece; see :meth:`Source.chunks`."""
        for number, start, stop in self._own(order):
            piece = self._pieces[number]
            for first, batch in batches_of(piece, self._names, start=start, stop=stop):
                yield self._chunk(batch, piece.where, first)

    @property
    def piece_rows(self) -> Sequence[int | None]:
        """The rows of each row group, record batch or file; None: unknown."""
        return [piece.rows for piece in self._pieces]

    def feature_shape(self) -> Shape:
        """Return the shape of a row's features."""
        return (len(self.features),)

    def __repr__(self) -> str:
        rows = "rows not counted" if self.rows is None else counted(self.rows, "row")
        files, features = counted(len(self.files), "file"), counted(len(self.features), "feature")
        return f"Dataset({files}, {rows}, {features})"

    def _pieces_of(self, path: Path) -> list[Piece]:
        pieces, types = pieces_of(path, self._names, self.files[0])
        for name in self._names:
            _check_numeric(path, name, types[name])
        return pieces

    def _chunk(self, batch: Any, where: str, first: int) -> Chunk:
        """Return a record batch as arrays; refuse one with a gap, and say where."""
        columns = [_numbers(batch, name) for name in self._names]
        inputs, targets = len(self.features), len(self.target)
        numbers = np.column_stack(columns).astype(np.result_type("f4", *columns), copy=False)
        if not np.isfinite(numbers).all():
            row, column = np.argwhere(~np.isfinite(numbers))[0]
            found = batch.column(self._names[column])[int(row)]
            value = found if found.is_valid else "no value"
            raise DataError(
                f"column {self._names[column]!r} of {where} has {value} in row {first + row} (the "
                "first is 0); remove or impute such rows"
            )
        y = numbers[:, inputs] if self._one_target else numbers[:, inputs : inputs + targets]
        weight = None if self.weight is None else numbers[:, -1]
        return Chunk(numbers[:, :inputs], y, weight, where, first)


def _check_numeric(path: Path, name: str, kind: Any) -> None:
    """Refuse a column that does not hold numbers."""
    types = pyarrow_module().types
    numeric = ("integer", "floating", "boolean", "decimal", "null")
    if not any(getattr(types, f"is_{name}")(kind) for name in numeric):
        raise DataError(
            f"column {name!r} of {path} holds {kind}, not numbers; leave it out with features=[...], "
            "or encode it first"
        )


def _numbers(batch: Any, name: str) -> NDArray[Any]:
    """Return a column as numbers, NaN where there is no value."""
    pyarrow = pyarrow_module()
    column = batch.column(name)
    floating = pyarrow.types.is_floating(column.type)
    if not floating and (not pyarrow.types.is_integer(column.type) or column.null_count):
        column = column.cast(pyarrow.float64())
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
