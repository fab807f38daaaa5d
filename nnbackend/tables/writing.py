"""Tables written to files: the name's ending says the format, as in reading."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnbackend.tables.table import polars_module

if TYPE_CHECKING:
    import polars as pl

__all__ = ["writer_for"]


def _delimited(frame: pl.DataFrame, separator: str) -> bytes:
    return frame.write_csv(separator=separator).encode()


def _compressed(frame: pl.DataFrame, separator: str) -> bytes:
    return gzip.compress(_delimited(frame, separator), mtime=0)


def _written_by(method: str, frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    getattr(frame, method)(buffer)
    return buffer.getvalue()


_TABLE_WRITERS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    ".csv": partial(_delimited, separator=","),
    ".csv.gz": partial(_compressed, separator=","),
    ".tsv": partial(_delimited, separator="\t"),
    ".tsv.gz": partial(_compressed, separator="\t"),
    ".parquet": partial(_written_by, "write_parquet"),
    ".jsonl": partial(_written_by, "write_ndjson"),
    ".ndjson": partial(_written_by, "write_ndjson"),
    ".feather": partial(_written_by, "write_ipc"),
    ".arrow": partial(_written_by, "write_ipc"),
}


def writer_for(path: Path) -> Callable[[pl.DataFrame], bytes]:
    """Return the function that makes a file's content of a frame; a name without an ending is CSV.

    Raises:
        ValueError: the name's ending says another format; the message names those that are written. The
            function raises it, too, for a column that the format cannot hold.
    """
    name = path.name.lower()
    for ending, writer in _TABLE_WRITERS.items():
        if name.endswith(ending):
            return partial(_write, writer, ending)
    if path.suffix:
        raise ValueError(
            f"cannot write {path.name!r} in the format of its ending; "
            f"known: {', '.join(_TABLE_WRITERS)}"
        )
    return partial(_write, _TABLE_WRITERS[".csv"], ".csv")


def _write(writer: Callable[[pl.DataFrame], bytes], ending: str, frame: pl.DataFrame) -> bytes:
    raised = polars_module().exceptions
    try:
        return writer(frame)
    except (raised.PolarsError, raised.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"these columns cannot be written as {ending}: {reason}") from error
