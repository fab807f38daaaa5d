"""What a network for a table takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns:
    """What a network for a table takes.

    Attributes:
        numbers: the number of numeric columns, which come first.
        one_hot: the number of other columns of numbers.
        categories: of each column of indices, how many different ones there are.
    """

    numbers: int
    one_hot: int = 0
    categories: tuple[int, ...] = ()

    @property
    def shape(self) -> Any:
        """The shape of a row of the network's input, or the shapes of two."""
        width = (self.numbers + self.one_hot,)
        if not self.categories:
            return width
        return {"numbers": width, "indices": (len(self.categories),)}
