"""The rows that ``nnbackend train`` learns from: read, split and encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows
from nnbackend.cli.settings import Settings
from nnbackend.cli.streaming import TableStream
from nnbackend.errors import few
from nnbackend.parallel import MPI
from nnbackend.tables.array_encoding import ArrayEncoder
from nnbackend.tables.columns import StrayTextError, table_of
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.encoding import Scale, TableEncoder
from nnbackend.tables.encodings import usual_kind
from nnbackend.tables.kinds import find_leaks
from nnbackend.tables.reading import naming_lines, open_table
from nnbackend.tables.selection import (
    MAX_CATEGORIES,
    check_target,
    choose_features,
    infer_classes,
    known_target,
    split_rows,
    warn_rare_classes,
)
from nnbackend.tables.table import Table, is_number, row_count, take_rows, warn

__all__ = ["Rows", "choose_rows", "read_rows", "read_table", "split"]

MOST_MISTAKES = 5  # more texts in a column are no mistakes
MIN_ROWS_TO_SPLIT = 10  # with fewer none is set aside: so small a validation would say nothing


@dataclass(frozen=True)
class Rows:
    """The rows of a table or an array, encoded and split.

    Attributes:
        encoder: learned from the training rows.
        x: the features of the training rows.
        y: their targets.
        validation: features and targets of the validation rows, or None.
        dialect: how the numbers of the table were written; None: they are those of an array.
        parts: the training rows and the validation rows before they were encoded, if they were kept.
        stream: the source of the training rows, if ``x`` and ``y`` are a sample of them.
    """

    encoder: TableEncoder | ArrayEncoder
    x: NDArray[Any]
    y: NDArray[Any]
    validation: tuple[NDArray[Any], NDArray[Any]] | None
    dialect: Dialect | None = None
    stream: TableStream | None = None
    parts: tuple[TableRows, TableRows] | None = None

    @property
    def training_count(self) -> int:
        """How many rows train."""
        return len(self.y) if self.stream is None else self.stream.rows

    @property
    def validation_count(self) -> int:
        """How many rows validate."""
        return 0 if self.validation is None else len(self.validation[1])


def read_rows(
    data: Path,
    target: str,
    settings: Settings,
    *,
    keep_table: bool = False,
    parallel: MPI | None = None,
) -> Rows:
    """Read a table, choose its columns, split its rows and learn how to encode them.

    With the setting ``stream`` no more than a sample is read now, and the rest during training. The
    processes of ``parallel`` all take the same sample, and count the other rows together.
    """
    kinds, chosen = settings.kinds(target), _how_to_read(target, settings)
    if not settings.stream:
        return _encode_rows(*read_table(data, target, settings), target, settings, keep_table)
    source = TableStream(data, seed=settings.seed, **chosen)
    with _texts_for_numbers(target, settings):
        table = source.sample(kinds)
    rows = _encode_rows(table, source.dialect, target, settings, keep_table)
    source.encode(cast(TableEncoder, rows.encoder), rows.x, rows.y, parallel)
    return replace(rows, stream=source)


def read_table(data: Path, target: str, settings: Settings) -> tuple[Table, Dialect]:
    """Return the columns of a table that settings choose, and how its numbers were written."""
    kinds = settings.kinds(target)
    frame, dialect = open_table(data, kinds=kinds, **_how_to_read(target, settings))
    with _texts_for_numbers(target, settings), naming_lines(data, dialect):
        return table_of(frame, frame.columns, kinds, dialect), dialect


def _how_to_read(target: str, settings: Settings) -> dict[str, Any]:
    columns = None if settings.features is None else [*settings.features, target]
    return {"columns": columns, "exclude": settings.exclude or (), "dialect": settings.dialect()}


@contextmanager
def _texts_for_numbers(target: str, settings: Settings) -> Iterator[None]:
    """Say what to do about a target of texts that was to be one of numbers."""
    try:
        yield
    except StrayTextError as error:
        if error.column != target or error.kind != "number":
            raise
        option = "--task regression" if settings.quantiles is None else "--quantiles"
        advice = f"without {option} they are classes"
        if len(error.texts) <= MOST_MISTAKES:
            raise ValueError(f"{error.for_command_line}; {advice}") from error
        words = few([repr(text) for text in dict.fromkeys(error.texts.values())])
        raise ValueError(f"the target {target!r} holds texts, {words}; {advice}") from error


def choose_rows(table: Table, target: str, settings: Settings) -> Table:
    """Return the rows whose target is known, with classes as texts; refuse what is no target."""
    table = known_target(table, target)
    if settings.infers_task:
        table = infer_classes(table, target)
    check_target(table, target)
    return table


def _encode_rows(
    table: Table, dialect: Dialect, target: str, settings: Settings, keep_table: bool
) -> Rows:
    """Split the rows, and encode them as the training rows teach."""
    table = choose_rows(table, target, settings)
    limit = settings.max_categories or MAX_CATEGORIES
    features = choose_features(table, target, settings.features, settings.text or (), limit)
    find_leaks(table, table[target], features)
    training, others = split(table, target, settings)
    if not is_number(table[target]):
        warn_rare_classes(table[target], others)
    scale = cast(Scale, settings.scale)  # checked there
    texts = settings.text or ()
    kinds = {n: "category" if n in texts else usual_kind(table[n]) for n in features}
    order: dict[str, Any] = {"day_first": settings.day_first}
    encoder = TableEncoder.learn(take_rows(table, training), target, kinds, scale, **order)
    x, y = encoder.encode_features(table), encoder.encode_target(table)
    validation = (x[others], y[others]) if len(others) else None
    parts = None
    if keep_table:
        parts = TableRows(take_rows(table, training)), TableRows(take_rows(table, others))
    return Rows(encoder, x[training], y[training], validation, dialect, parts=parts)


def split(table: Table, target: str, settings: Settings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers of the training rows and of the validation rows."""
    rows, share = row_count(table), settings.validation
    if share and rows < MIN_ROWS_TO_SPLIT:
        warn(f"{rows} rows are too few to set some aside: all of them train, none validates")
        share = 0.0
    column = table[target]
    classes = None if is_number(column) else np.unique(column, return_inverse=True)[1]
    return split_rows(rows, share, settings.seed, classes)
