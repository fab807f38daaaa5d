"""Tables from files, and as numbers; models of tables, which predict from frames."""

from typing import TYPE_CHECKING

from nnbackend.core.lazy import lazily

if TYPE_CHECKING:
    from nnbackend.tables.features import FeatureEncoder
    from nnbackend.tables.inputs import read_columns
    from nnbackend.tables.kinds import choose_kinds, find_leaks
    from nnbackend.tables.model import TableModel, load
    from nnbackend.tables.table import TableWarning

__all__ = [
    "FeatureEncoder",
    "TableModel",
    "TableWarning",
    "choose_kinds",
    "find_leaks",
    "load",
    "read_columns",
]

_MODULES = {
    "FeatureEncoder": "features",
    "TableModel": "model",
    "TableWarning": "table",
    "choose_kinds": "kinds",
    "find_leaks": "kinds",
    "load": "model",
    "read_columns": "inputs",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
