"""Tables from files, and as numbers; models of tables, which predict from frames."""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.tables.model import TableModel, load

__all__ = ["TableModel", "load"]

__getattr__, __dir__ = lazily(__name__, {"TableModel": "model", "load": "model"})
