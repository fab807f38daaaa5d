"""Who predicts: this library's estimators, scikit-learn's in a usual pipeline, and pytabkit's networks.

A contestant is a function from a split to its answers for the test rows: numbers, or the probability of
each class in the order of the sorted classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.data import Split

__all__ = ["Contestant", "contestants", "recipe_of"]

Contestant = Callable[[Split], NDArray[Any]]


def contestants(quick: bool = False) -> dict[str, Contestant]:
    """Return the contestants by name; libraries that are not installed are left out."""
    found: dict[str, Contestant] = {
        "scikit-learn's MLP": partial(_sklearn, kind="mlp"),
        "gradient boosting": partial(_sklearn, kind="boosting"),
        "random forest": partial(_sklearn, kind="forest"),
        "linear model": partial(_sklearn, kind="linear"),
        "nnbackend, plain network": _plain,
        "nnbackend, best": partial(_ours, preset="best"),
        "nnbackend, fast": partial(_ours, preset="fast"),
        "nnbackend": partial(_ours, preset="default"),
        # Each beside its peer, so that both meet the machine as it is at that time.
        "nnbackend, RealMLP": partial(_ours, preset="default", model="realmlp"),
        "pytabkit's RealMLP-TD": partial(_pytabkit, name="RealMLP_TD"),
        "nnbackend, TabM": partial(_ours, preset="default", model="tabm"),
        "pytabkit's TabM-D": partial(_pytabkit, name="TabM_D"),
    }
    if find_spec("pytabkit") is None:
        found = {name: one for name, one in found.items() if "pytabkit" not in name}
    if quick:
        slow = ("nnbackend, best", "pytabkit's TabM-D")
        found = {name: one for name, one in found.items() if name not in slow}
    return found


def recipe_of(contestant: Contestant, split: Split) -> Any:
    """Return the recipe by which one of this library's estimators learns a split; None of others."""
    if getattr(contestant, "func", None) is not _ours:
        return None
    from nnbackend.tabular import choose_recipe

    return choose_recipe(len(split.y), split.dataset.task, **contestant.keywords)  # type: ignore[attr-defined]


def _ours(split: Split, preset: str, model: str | None = None) -> NDArray[Any]:
    from nnbackend.estimators import TabularClassifier, TabularRegressor

    more = {} if model is None else {"model": model}
    if split.dataset.task == "regression":
        regressor = TabularRegressor(preset=preset, random_state=split.seed, **more)
        return np.asarray(regressor.fit(split.x, split.y).predict(split.test_x))
    classifier = TabularClassifier(preset=preset, random_state=split.seed, **more)
    classifier.fit(split.x, split.y)
    return _in_order(classifier.predict_proba(split.test_x), classifier.classes_, split)


def _plain(split: Split) -> NDArray[Any]:
    """Return the answers of a usual network: 64 units, 100 epochs, no rows held out."""
    from nnbackend.estimators import MLPClassifier, MLPRegressor

    settings: dict[str, Any] = {
        "hidden_layer_sizes": (64,),
        "max_iter": 100,
        "n_iter_no_change": 100,
        "random_state": split.seed,
    }
    if split.dataset.task == "classification":
        return _answers(MLPClassifier(**settings), split, scales=True)
    return _answers(MLPRegressor(**settings), split, scales=True)


def _sklearn(split: Split, kind: str) -> NDArray[Any]:
    from sklearn import ensemble, linear_model, neural_network

    classifies = split.dataset.task == "classification"
    seed = split.seed
    match kind, classifies:
        case "mlp", True:
            model: Any = neural_network.MLPClassifier(random_state=seed)
        case "mlp", False:
            model = neural_network.MLPRegressor(random_state=seed)
        case "boosting", True:
            model = ensemble.HistGradientBoostingClassifier(random_state=seed)
        case "boosting", False:
            model = ensemble.HistGradientBoostingRegressor(random_state=seed)
        case "forest", True:
            model = ensemble.RandomForestClassifier(random_state=seed)
        case "forest", False:
            model = ensemble.RandomForestRegressor(random_state=seed)
        case _, True:
            model = linear_model.LogisticRegression(max_iter=1000)
        case _:
            model = linear_model.RidgeCV(np.logspace(-3, 3, 13))
    return _answers(model, split, scales=kind in ("mlp", "linear"))


def _answers(model: Any, split: Split, scales: bool) -> NDArray[Any]:
    """Return the answers of a model in a usual pipeline, which may scale columns and target."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    classifies = split.dataset.task == "classification"
    if scales and not classifies:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    pipeline = _prepared(model, split.x, scales)
    pipeline.fit(split.x, split.y)
    if not classifies:
        return np.asarray(pipeline.predict(split.test_x))
    return _in_order(pipeline.predict_proba(split.test_x), pipeline.classes_, split)


def _prepared(model: Any, x: Any, scales: bool) -> Any:
    """Return a model behind the usual preparation of columns."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = list(x.select_dtypes(["number", "bool"]).columns)
    texts = [name for name in x.columns if name not in numbers]
    steps = [SimpleImputer(strategy="median"), *([StandardScaler()] if scales else [])]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((make_pipeline(*steps), numbers), (one_hot, texts))
    return make_pipeline(columns, model)


def _pytabkit(split: Split, name: str) -> NDArray[Any]:
    import pytabkit

    kind = "Classifier" if split.dataset.task == "classification" else "Regressor"
    model = getattr(pytabkit, f"{name}_{kind}")(random_state=split.seed, device="cpu", verbosity=0)
    x, test = split.x.copy(), split.test_x.copy()
    for column in x.select_dtypes(exclude=["number", "bool"]).columns:
        x[column] = x[column].astype("category")
        test[column] = test[column].astype("category")
    numbers = list(x.select_dtypes("number").columns)  # in which pytabkit takes no gaps
    middle = x[numbers].median()
    x[numbers], test[numbers] = x[numbers].fillna(middle), test[numbers].fillna(middle)
    model.fit(x, split.y)
    if kind == "Regressor":
        return np.asarray(model.predict(test)).reshape(-1)
    return _in_order(model.predict_proba(test), model.classes_, split)


def _in_order(probabilities: Any, classes: Any, split: Split) -> NDArray[Any]:
    """Return probabilities in the order of the sorted classes."""
    names = [str(name) for name in classes]
    order = [names.index(str(name)) for name in np.unique(split.y)]
    return np.asarray(probabilities, dtype=np.float64)[:, order]
