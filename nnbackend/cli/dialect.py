"""The options that say how texts of a table stand for its fields and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.cli.options import data_option
from nnbackend.tables.dialect import Dialect

__all__ = ["DialectOptions", "names_option"]


def names_option(name: str, help: str, what: str = "names of columns", **declared: Any) -> Any:
    """Return a field that is an option of names, given as ``a,b,c`` or by the option several times."""

    def read(texts: list[str]) -> list[str] | None:
        names = [word.strip() for text in texts for word in text.split(",") if word.strip()]
        if texts and not names:
            raise ValueError(f"{name} takes {what} like a,b,c; got {texts[-1]!r}")
        return names or None

    declared = {"metavar": "COLUMN", "show_default": "none"} | declared
    return data_option(None, help, name, read=read, typed=list[str], **declared)


def read_delimiter(text: str) -> str:
    """Return the delimiter that a text names."""
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)


@dataclass(frozen=True)
class DialectOptions:
    """The options of a :class:`nnbackend.tables.dialect.Dialect`, which their help explains."""

    delimiter: str | None = data_option(
        None,
        "Between the fields of a line of a CSV file: a character, or tab.",
        metavar="CHARACTER",
        show_default="found out",
        read=read_delimiter,
    )
    decimal: str | None = data_option(
        None,
        "The decimal mark of numbers in texts: . or ,",
        metavar="MARK",
        show_default="found out",
    )
    thousands: str | None = data_option(
        None,
        "What parts the thousands of numbers in texts.",
        metavar="MARK",
        show_default="found out",
    )
    encoding: str | None = data_option(
        None,
        "Of a CSV file: utf-8, latin-1, cp1252, utf-16 ...",
        metavar="NAME",
        show_default="found out",
    )
    missing: Sequence[str] | None = names_option(
        "--missing",
        "Texts that stand for a missing value, beside NA, N/A, NaN, NaT, null and nothing.",
        "texts",
        metavar="TEXT",
    )
    comment: str | None = data_option(
        None,
        "What begins a line of a CSV file that is no row.",
        metavar="TEXT",
        show_default="there is none",
    )
    day_first: bool | None = data_option(
        None,
        "Which number comes first in dates such as 1/2/2020.",
        "--day-first/--month-first",
        show_default="each column tells",
    )

    def dialect(self, like: Dialect | None = None) -> Dialect:
        """Return the dialect; numbers and missing values that no option names are as in ``like``.

        Raises:
            ValueError: it is not possible.
        """
        like = like or Dialect()
        missing = like.missing if self.missing is None else tuple(self.missing)
        return replace(
            like,
            delimiter=self.delimiter,
            decimal=self.decimal,
            thousands=like.thousands if self.thousands is None else self.thousands,
            encoding=self.encoding,
            missing=missing,
            comment=self.comment,
        )
