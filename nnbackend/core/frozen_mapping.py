"""A dictionary that cannot be changed, for the fields of layers, which are values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["FrozenMapping"]


@dataclass(frozen=True, repr=False)
class FrozenMapping(Mapping[str, Any]):
    """A mapping with an order and a hash: two are equal if they have equal items in the same order.

    Args:
        pairs: names and values.

    >>> FrozenMapping.of({"a": 1, "b": 2})["b"]
    2
    """

    pairs: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> FrozenMapping:
        """Return a mapping's items in their order."""
        return cls(tuple(mapping.items()))

    @cached_property
    def _by_name(self) -> dict[str, Any]:
        return dict(self.pairs)

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return repr(dict(self.pairs))
