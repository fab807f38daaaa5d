"""How texts of a table stand for its fields: delimiter, encoding, numbers, missing values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnbackend.errors import ModelFileError

__all__ = ["Dialect"]

_MARKS = {"decimal": ".,", "usual_decimal": ".,", "thousands": ",.'_ \u00a0\u202f"}


@dataclass(frozen=True)
class Dialect:
    """The dialect of a delimited file, and of the numbers in texts of any file; None: it is found out.

    Attributes:
        delimiter: between the fields of a line.
        decimal: the decimal mark, a point or a comma.
        thousands: what parts the thousands of a number.
        encoding: of a file that is not in UTF-8.
        missing: texts that stand for a missing value, beside the usual ones.
        comment: what begins a line that is no row; None: there is none.
        usual_decimal: the decimal mark where the texts leave it open.
        points: columns whose decimal mark is a point, though that of the others is a comma.
        units: what the numbers of columns are written with, by their names: ``%``, suffixes (``k``,
            ``m``, ``b``), signs of currencies, and ``""`` if some have neither percents nor suffixes,
            as in all columns that are not named; None: it is found out.

    Raises:
        ValueError: one of them is not possible.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ()
    comment: str | None = None
    usual_decimal: str | None = None
    points: tuple[str, ...] = ()
    units: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        delimiter = "," if self.delimiter is None else self.delimiter
        if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
            raise ValueError(f"a delimiter is one character, or tab; got {delimiter!r}")
        for name, marks in _MARKS.items():
            mark = getattr(self, name)
            if mark is not None and (len(mark) != 1 or mark not in marks):
                raise ValueError(f"{name} is one of {' '.join(map(repr, marks))}; got {mark!r}")
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"{self.thousands!r} cannot be both decimal and thousands")
        if self.encoding is not None:
            try:
                b"a".decode(self.encoding, "ignore")
            except (LookupError, UnicodeError):
                raise ValueError(
                    f"there is no encoding {self.encoding!r}; there are for instance utf-8, latin-1, "
                    "cp1252, utf-16"
                ) from None
        if self.comment is not None and not self.comment.strip():
            raise ValueError(f"a comment begins with a character like #, got {self.comment!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the numbers and missing values, for a model's file."""
        decimal = self.decimal or self.usual_decimal
        lists = {"missing": list(self.missing), "points": list(self.points)}
        described: dict[str, Any] = {"decimal": decimal, "thousands": self.thousands, **lists}
        if self.units is not None:
            described["units"] = {name: list(units) for name, units in self.units.items()}
        return described

    @classmethod
    def from_dict(cls, description: object) -> Dialect:
        """Return the dialect that :meth:`to_dict` described, in which a decimal mark is the usual one.

        Raises:
            ModelFileError: the description is not one; nothing in it is trusted.
        """
        try:
            given = dict(description)  # type: ignore[call-overload]
            decimal, thousands, missing = (
                given.pop(n) for n in ("decimal", "thousands", "missing")
            )
            points, units = given.pop("points", []), given.pop("units", None)  # not in older files
            lists = [missing, points, *(units or {}).values()]
            marks = [mark for mark in (decimal, thousands) if mark is not None]
            texts = [text for part in lists for text in part]
            if (
                given
                or not all(isinstance(part, list) for part in lists)
                or not all(isinstance(text, str) for text in (*texts, *marks, *(units or ())))
            ):
                raise ValueError(
                    "it does not hold exactly texts for decimal, thousands, missing, points and units"
                )
            return cls(
                usual_decimal=decimal,
                thousands=thousands,
                missing=tuple(missing),
                points=tuple(points),
                units=None if units is None else {name: tuple(u) for name, u in units.items()},
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelFileError(f"the model's dialect of its table is damaged: {error}") from error
