"""Delimited text files, CSV and TSV: decoded, taken apart into fields, and checked line by line."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnbackend.errors import counted, listed
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.limits import MEMORY_PER_BYTE, check_memory, memory_limit
from nnbackend.tables.table import polars_module, warn

if TYPE_CHECKING:
    import polars as pl

__all__ = ["find_dialect", "line_numbers", "read_delimited"]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_HEAD_BYTES = 1 << 16  # of a file, by which its dialect is found
_HEAD_LINES = 100
_PART_BYTES = 1 << 24  # that are unpacked together
_MEMORY_PER_FIELD = 32  # a view of 16 bytes, and a number before and after it is copied
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_delimited(path: Path, dialect: Dialect) -> pl.DataFrame:
    """Read lines of separated texts; numbers are recognized later, column by column.

    Raises:
        ValueError: a line has more or fewer fields than the first, or the text cannot be decoded.
    """
    content, dialect = _read(path, dialect)
    polars = polars_module()
    try:
        frame = polars.read_csv(
            content,
            separator=dialect.delimiter,
            has_header=False,
            infer_schema=False,
            comment_prefix=dialect.comment,
        )
    except polars.exceptions.PolarsError:
        _check_fields(content, dialect)  # which names the line
        raise
    header = [(name or "").strip() for name in frame.row(0)]
    counts = Counter(header)
    unnamed = counts.pop("", 0)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise ValueError(
            f"more than one column is named {listed(map(repr, repeated))}; rename them"
        )
    if unnamed:
        warn(f"{counted(unnamed, 'column')} without a name left out of {path}")
    columns = frame.slice(1).get_columns()
    # The last fields of a short line read as missing.
    if columns[-1].null_count() and not _are_lines_full(content, frame, dialect):
        _check_fields(content, dialect)
    named = zip(columns, header, strict=True)
    rows = polars.DataFrame([column.alias(name) for column, name in named if name])
    return rows.head(rows.height - _blank_lines_at_end(content, rows))  # type: ignore[no-any-return]


def line_numbers(path: Path, dialect: Dialect, rows: set[int]) -> dict[int, int]:
    """Return the lines of a file in which rows, counted from 0, end."""
    records = _records(*_read(path, dialect))
    return {row: line for row, (line, _) in enumerate(records, -1) if row in rows}


def find_dialect(path: Path, dialect: Dialect) -> Dialect:
    """Return the dialect of a file with its delimiter and its encoding, by its first lines."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = dialect.encoding or _find_encoding(path, head, len(head) < _HEAD_BYTES)
    return replace(
        dialect, encoding=encoding, delimiter=_find_delimiter(path, head, dialect, encoding)
    )


def _read(path: Path, dialect: Dialect) -> tuple[bytes, Dialect]:
    """Return the content of a file in UTF-8, unpacked, and its dialect."""
    limit, parts, size = memory_limit(), [], 0
    packed = path.name.lower().endswith(".gz")
    check_memory(0 if packed else MEMORY_PER_BYTE * path.stat().st_size, limit)
    with (gzip.open if packed else open)(path, "rb") as file:
        while part := file.read(_PART_BYTES):
            parts.append(part)
            fields = part.count(b"\n") + max(part.count(d.encode()) for d in _DELIMITERS)
            size += MEMORY_PER_BYTE * len(part) + _MEMORY_PER_FIELD * fields
            check_memory(size, limit)
    content = b"".join(parts)
    del parts
    encoding = dialect.encoding or _find_encoding(path, content)
    delimiter = _find_delimiter(path, content[:_HEAD_BYTES], dialect, encoding)
    if encoding != "utf-8":
        content = content.decode(encoding).removeprefix("\ufeff").encode()
    if b"\n" not in content:  # lines end as on old Macs
        content = content.replace(b"\r", b"\n")
    return content, replace(dialect, delimiter=delimiter, encoding="utf-8")


def _find_encoding(path: Path, content: bytes, whole: bool = True) -> str:
    """Return the encoding of a text: UTF-8, UTF-16, or else Windows-1252."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    head = content[:1024]
    if head.count(0) > len(head) / 4:
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        if re.search(rb"[\x00-\x08\x0e-\x1f]", content):
            raise
        warn(f"{path} is not in UTF-8: read as Windows-1252, Latin-1 (--encoding to change that)")
        return "cp1252"
    return "utf-8"


def _find_delimiter(path: Path, head: bytes, dialect: Dialect, encoding: str) -> str:
    """Return the delimiter with which the first lines have equally many fields, more than one."""
    if dialect.delimiter is not None:
        return dialect.delimiter
    usual = "\t" if ".tsv" in path.name.lower() else ","
    lines = head.decode(encoding, "ignore").removeprefix("\ufeff").splitlines(keepends=True)
    if len(head) == _HEAD_BYTES:
        lines = lines[:-1]
    lines = [line for line in lines if line.strip() and not _is_comment(line, dialect)]
    widths, mostly = {}, {}
    for delimiter in dict.fromkeys((usual, *_DELIMITERS)):
        counts: list[int] = []
        with contextlib.suppress(csv.Error):
            counts = [
                len(fields) for fields in csv.reader(lines[:_HEAD_LINES], delimiter=delimiter)
            ]
        first, same = (counts or [1])[0], counts.count((counts or [1])[0])
        widths[delimiter] = first if same == len(counts) else 1
        mostly[delimiter] = first if 2 * same > len(counts) else 1
    if max(widths.values()) == 1:
        widths = mostly  # so that a line that is short or long is found, and named
    found = max(widths, key=lambda delimiter: widths[delimiter])
    if widths[usual] > 1 or widths[found] == 1:
        return usual
    warn(f"{path}: fields are parted by {_DELIMITERS[found]} (--delimiter to change that)")
    return found


def _is_comment(line: str, dialect: Dialect) -> bool:
    return dialect.comment is not None and line.startswith(dialect.comment)


def _records(content: bytes, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line that is no comment, with its number; of a long field the last."""
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for line in io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""):
            number += 1
            if not _is_comment(line, dialect):
                yield line

    for fields in csv.reader(lines(), delimiter=dialect.delimiter or ","):
        yield number, fields


def _are_lines_full(content: bytes, frame: pl.DataFrame, dialect: Dialect) -> bool:
    """Return whether plain lines, none of them too long, have all their delimiters; False: unknown."""
    delimiter = (dialect.delimiter or ",").encode()
    plain = b'"' not in content and dialect.comment is None
    return plain and content.count(delimiter) == (frame.width - 1) * frame.height


def _check_fields(content: bytes, dialect: Dialect) -> None:
    """Refuse a line that has more or fewer fields than the first one; a blank one has no value.

    Raises:
        ValueError: there is one.
    """
    records = _records(content, dialect)
    _, first = next(records)
    for line, fields in records:
        if len(fields) != len(first) and "".join(fields).strip():
            parted = f"fields are parted by {dialect.delimiter!r}, --delimiter changes that"
            hint = f" ({parted}; --comment leaves lines out)" if len(first) == 1 else ""
            raise ValueError(
                f"line {line} has {counted(len(fields), 'field')}, and the first line has "
                f"{len(first)}{hint}"
            )


def _blank_lines_at_end(content: bytes, rows: pl.DataFrame) -> int:
    """Return how many blank lines follow the table; elsewhere, and in a single column, they are rows."""
    if rows.width < 2:
        return 0
    end = content.removesuffix(b"\n")
    return min(end[len(end.rstrip(b" \r\n")) :].count(b"\n"), rows.height)
