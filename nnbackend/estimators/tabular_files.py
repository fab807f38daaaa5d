"""Estimators of tables in files: the table model's own file, with the estimator in its metadata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from nnbackend.errors import ModelFileError
from nnbackend.estimators.plain import label_array, plain, rebuilt
from nnbackend.network import Network
from nnbackend.saving.schema import anything, entries, items, number, record, text, whole
from nnbackend.tables.intervals import symmetric_pairs
from nnbackend.tables.model import TableModel, model_of

__all__ = ["check_labels", "is_tabular", "rebuild_tabular", "save_tabular", "saves_tabular"]

_CLASSES: dict[str, Any] = {}  # by name
_NOT_KEPT = ("callbacks", "backend", "device")
_DESCRIPTION = record(
    {"class": text(), "parameters": entries(), "n_features_in_": whole(1), "n_iter_": whole()},
    {
        "feature_names": items(text()),
        "widening": items(number(), 0),
        "classes": record({"dtype": text(), "values": items(anything, 2)}),
    },
    closed=True,
)


def saves_tabular(cls: Any) -> Any:
    """Let estimators of a class be saved and loaded; a decorator."""
    _CLASSES[cls.__name__] = cls
    return cls


def check_labels(labels: NDArray[Any]) -> list[str]:
    """Return the texts by which a model of a table knows labels.

    Raises:
        ValueError: two are the same as texts, or one is empty.
    """
    texts = [str(label) for label in labels]
    if len(set(texts)) < len(texts) or "" in texts:
        raise ValueError("the classes must differ as texts, and none may be empty")
    return texts


def save_tabular(estimator: Any, path: str | os.PathLike[str]) -> Path:
    """Write a fitted estimator; see :meth:`TabularEstimator.save`."""
    name = type(estimator).__name__
    if _CLASSES.get(name) is not type(estimator):
        raise TypeError(f"only the estimators of this library can be saved so, not {name}")
    settings = estimator.get_params(deep=False)
    if not isinstance(estimator.random_state, int | None):
        settings["random_state"] = None
    description: dict[str, Any] = {
        "class": name,
        "parameters": {k: plain(v, k) for k, v in settings.items() if k not in _NOT_KEPT},
        "n_features_in_": estimator.n_features_in_,
        "n_iter_": estimator.n_iter_,
    }
    if hasattr(estimator, "feature_names_in_"):
        description["feature_names"] = [str(text) for text in estimator.feature_names_in_]
    if is_classifier(estimator):
        labels = estimator.classes_
        if labels.dtype.kind not in "biufUO":
            raise TypeError(f"labels of dtype {labels.dtype} cannot be saved: make them texts")
        description["classes"] = {
            "dtype": "object" if labels.dtype.kind == "O" else labels.dtype.str,
            "values": [plain(value, "classes_") for value in labels.tolist()],
        }
    if getattr(estimator, "widening_", None) is not None:
        description["widening"] = list(estimator.widening_)
    network = estimator.model_.network
    before = network.metadata
    network.metadata = {**before, "estimator": description}
    try:
        written: Path = network.save(path)
    finally:
        network.metadata = before
    return written


def is_tabular(network: Network) -> bool:
    """Return whether a network from a file is that of an estimator of tables."""
    described = network.metadata["estimator"]
    return isinstance(described, dict) and described.get("class") in [*_CLASSES]


def rebuild_tabular(network: Network, backend: Any, device: Any) -> Any:
    """Return the estimator that the metadata of its network describe, all of them checked."""
    description: Any = network.metadata.pop("estimator")
    _DESCRIPTION(description, "its estimator")
    cls = _CLASSES[description["class"]]
    parameters = {key: rebuilt(value) for key, value in description["parameters"].items()}
    if parameters.keys() & set(_NOT_KEPT):
        raise ModelFileError(f"its parameters are not those of {description['class']}")
    estimator = cls(**parameters, backend=backend or "numpy", device=device)
    estimator._validate_params()
    model = model_of(network, "it")
    names = description.get("feature_names")
    _check_model(model, is_classifier(estimator), description["n_features_in_"], names)
    if names is not None:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    if is_classifier(estimator):
        described = description.get("classes")
        if described is None:
            raise ModelFileError("it has no classes")
        labels = label_array(described["dtype"], described["values"])
        if set(check_labels(labels)) != set(model.classes):
            raise ModelFileError("its classes are not those of its model")
        estimator.classes_ = labels
    else:
        estimator.widening_ = description.get("widening")
        pairs = len(symmetric_pairs(model.quantiles))
        if estimator.widening_ is not None and len(estimator.widening_) != pairs:
            raise ModelFileError("its intervals are not those of its quantiles")
    estimator.model_ = model
    estimator.n_features_in_ = description["n_features_in_"]
    estimator.n_iter_ = description["n_iter_"]
    return estimator


def _check_model(model: Any, classifies: bool, count: int, names: list[str] | None) -> None:
    """Refuse a model that is not that of the estimator."""
    if not isinstance(model, TableModel) or (model.task == "classification") != classifies:
        raise ModelFileError("its model is not one of the estimator's")
    if names is not None and (len(names) != count or len(set(names)) != count):
        raise ModelFileError("its names of features are not as many as its features")
    own = set(model.encoder.feature_names)
    if len(own) > count or (names is not None and not own <= set(names)):
        raise ModelFileError("its model has other features than the estimator")
