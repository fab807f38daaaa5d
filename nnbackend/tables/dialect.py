"""How texts of a table stand for its fields: delimiter, encoding, numbers, missing values."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any

from nnbackend.errors import ModelFileError

__all__ = ["Dialect"]

_MARKS = {"decimal": ".,", "thousands": ",.'_ \u00a0\u202f"}


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

    Raises:
        ValueError: one of them is not possible.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] = ()
    comment: str | None = None

    def __post_init__(self) -> None:
        delimiter = "," if self.delimiter is None else self.delimiter
        if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
            raise ValueError(f"a delimiter is one character, or tab; got {delimiter!r}")
        for name, marks in _MARKS.items():
            mark = getattr(self, name)
            if mark is not None and (len(mark) != 1 or mark not in marks):
                raise ValueError(f"{name} is one of {' '.join(map(repr, marks))}; got {mark!r}")
        if self.thousands is not None and self.thousands == (self.decimal or "."):
            raise ValueError(f"{self.thousands!r} cannot be both decimal and thousands")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f"there is no encoding {self.encoding!r}; there are for instance utf-8, latin-1, "
                    "cp1252, utf-16"
                ) from None
        if self.comment is not None and not self.comment.strip():
            raise ValueError(f"a comment begins with a character like #, got {self.comment!r}")

    @classmethod
    def of_model(cls, metadata: Any) -> Dialect:
        """Return how the numbers and missing values of the table were written that a model learned from.

        Raises:
            ModelFileError: the model's metadata say what cannot be.
        """
        training = metadata.get("training")
        settings = training.get("settings") if isinstance(training, dict) else None
        if not isinstance(settings, dict):
            return cls()
        missing = settings.get("missing") or []
        given = {name: settings.get(name) for name in _MARKS}
        if not isinstance(missing, list) or not all(
            isinstance(text, str) for text in (*missing, *filter(None, given.values()))
        ):
            raise ModelFileError("the model's settings of its table are damaged")
        try:
            return cls(missing=tuple(missing), **given)
        except ValueError as error:
            raise ModelFileError(
                f"the model's settings of its table are damaged: {error}"
            ) from error
