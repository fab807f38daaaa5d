"""Columns of free text as inputs of a network: which words are in a text, hashed to a few columns."""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.table import Kind, is_number

__all__ = ["WORDS_WIDTH", "Words"]

WORDS_WIDTH = 64
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Words:
    """A column of free text, encoded as how often its words occur, in ``width`` columns.

    A word, in lower case, counts in the column that the CRC-32 of its UTF-8 says: its remainder by
    ``width``, with a minus if the highest bit is 1, so that words that meet there do not add up (feature
    hashing, Weinberger et al., ICML 2009). A row is divided by its length; without a word it is zero.

    Attributes:
        name: the name of the column.
        width: the number of columns.
    """

    name: str
    width: int = WORDS_WIDTH

    kind: ClassVar[Kind] = "text"

    def encode(self, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return the counts of each text's words, shape (rows, width)."""
        counts = np.zeros((len(column), self.width))
        for row, text in enumerate(() if is_number(column) else column):
            for word in _WORD.findall(_plain(text or "")):
                code = zlib.crc32(word.encode("utf-8", "surrogatepass"))
                counts[row, code % self.width] += -1.0 if code >> 31 else 1.0
        length = np.linalg.norm(counts, axis=1, keepdims=True)
        scaled: NDArray[np.float64] = counts / np.where(length == 0.0, 1.0, length)
        return scaled


def _plain(text: str) -> str:
    """Return a text in lower case, with each letter and its accents in one character."""
    return unicodedata.normalize("NFC", text).casefold()
