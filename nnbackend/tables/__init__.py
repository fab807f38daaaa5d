"""Tables and arrays from files, and as numbers; models of them, which predict from frames and arrays."""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.tables.model import ArrayModel, TableModel, load

__all__ = ["ArrayModel", "TableModel", "load"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "model"))
