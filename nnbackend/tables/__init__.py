"""Tables and arrays from files, and as numbers; models of them, which predict from frames and arrays."""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.tables.features import FeatureEncoder
    from nnbackend.tables.inputs import read_columns
    from nnbackend.tables.kinds import choose_kinds, find_leaks
    from nnbackend.tables.model import ArrayModel, TableModel, load
    from nnbackend.tables.table import TableWarning

__all__ = [
    "ArrayModel",
    "FeatureEncoder",
    "TableModel",
    "TableWarning",
    "choose_kinds",
    "find_leaks",
    "load",
    "read_columns",
]

_MODULES = {
    "ArrayModel": "model",
    "FeatureEncoder": "features",
    "TableModel": "model",
    "TableWarning": "table",
    "choose_kinds": "kinds",
    "find_leaks": "kinds",
    "load": "model",
    "read_columns": "inputs",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
