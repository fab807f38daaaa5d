"""What a table is: columns by name, and what holds for each.

A table is a dictionary of columns of one length. A column of numbers is a float64 array with NaN where a
value is missing; a column of texts is an object array with None there. Whatever is done to the data
unasked (rows dropped, columns left out, values filled in) is reported by a :class:`TableWarning`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.constant import is_constant

__all__ = [
    "ColumnError",
    "Kind",
    "Table",
    "TableWarning",
    "WantedKind",
    "has_one_value",
    "in_digits",
    "is_number",
    "missing",
    "polars_module",
    "row_count",
    "take_rows",
    "warn",
]

Table = dict[str, NDArray[Any]]
Kind = Literal["number", "text"]
WantedKind = Literal["number", "text", "target", "known"]
"""What a column is read as: booleans are numbers, but texts in a target, whatever else that holds.

Texts that a model knows already are read as they are: what they mean must not depend on the other rows.
"""


class TableWarning(UserWarning):
    """Something in the table was left out or filled in; the message says what and how much."""


class ColumnError(ValueError):
    """A column cannot be read as it is; what to do about it differs in Python and in a terminal.

    Attributes:
        what: what is wrong.
        in_python: what to do, for those who call from Python; the message says this.
        on_command_line: the same for those who call the command.
    """

    def __init__(self, what: str, in_python: str, on_command_line: str) -> None:
        self.what, self.in_python, self.on_command_line = what, in_python, on_command_line
        super().__init__(f"{what}; {in_python}")

    @property
    def for_command_line(self) -> str:
        """The message for those who call the command."""
        return f"{self.what}; {self.on_command_line}"


def warn(message: str) -> None:
    """Warn of changes to a table."""
    warnings.warn(message, TableWarning, stacklevel=3)


def row_count(table: Table) -> int:
    """Return the number of rows."""
    return len(next(iter(table.values())))


def is_number(column: NDArray[Any]) -> bool:
    """Return whether a column holds numbers rather than texts."""
    return column.dtype.kind == "f"


def missing(column: NDArray[Any]) -> NDArray[np.bool]:
    """Return a mask of the rows in which a column has no value."""
    absent: NDArray[np.bool]
    absent = np.isnan(column) if is_number(column) else column == None  # noqa: E711 (elementwise)
    return absent


def has_one_value(column: NDArray[Any]) -> bool:
    """Return whether all values that are there are the same, numbers up to their rounding."""
    known = column[~missing(column)]
    if not is_number(column):
        return len(set(known)) == 1
    if not len(known):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(known))
    low, high = float(known.min()), float(known.max())
    return math.isfinite(mean) and bool(is_constant(low, high, mean, len(known)))


def take_rows(table: Table, rows: NDArray[Any] | slice) -> Table:
    """Return the table of the given rows (their numbers, a mask or a slice)."""
    return {name: column[rows] for name, column in table.items()}


def in_digits(value: float, spread: float) -> str:
    """Return a number for a message, with the digits in which numbers that spread so much differ."""
    ratio = abs(value) / spread if spread > 0 else 1.0
    digits = 5 + max(0, math.ceil(math.log10(ratio)) - 1) if 0 < ratio < math.inf else 5
    text = f"{value:.{min(digits, 17)}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e15 else text


def polars_module() -> Any:
    """Return polars, or say how to get it."""
    try:
        import polars
    except ModuleNotFoundError as error:
        message = "reading tables needs polars: pip install 'nnbackend[cli]'"
        raise ModuleNotFoundError(message, name="polars") from error
    return polars
