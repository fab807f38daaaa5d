"""scikit-learn estimators; the only part of the package that imports scikit-learn.

``MLPClassifier`` and ``MLPRegressor`` take the place of scikit-learn's classes of the same name,
``NetworkClassifier`` and ``NetworkRegressor`` make an estimator of any list of layers.
``TabularClassifier`` and ``TabularRegressor`` take tables with columns of any kind.
"""

from __future__ import annotations

try:
    import scipy  # noqa: F401
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("scipy", "sklearn"):
        raise
    raise ModuleNotFoundError(
        f"nnbackend.estimators needs scikit-learn ({error.name} is not installed); "
        "run: pip install 'nnbackend[sklearn]'",
        name=error.name,
    ) from error

from nnbackend.estimators.files import load
from nnbackend.estimators.mlp import MLPClassifier, MLPRegressor
from nnbackend.estimators.network import NetworkClassifier, NetworkRegressor
from nnbackend.estimators.search import Search, search_arguments, suggest_tabular
from nnbackend.estimators.tabular import TabularClassifier, TabularRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "NetworkClassifier",
    "NetworkRegressor",
    "Search",
    "TabularClassifier",
    "TabularRegressor",
    "load",
    "search_arguments",
    "suggest_tabular",
]
