"""Estimators in files: the network's own file, with the estimator in its metadata."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from nnbackend.core.precision import DTYPES
from nnbackend.core.tree import tree_map
from nnbackend.errors import ModelFileError
from nnbackend.estimators.plain import label_array, plain, rebuilt
from nnbackend.estimators.tabular_files import is_tabular, rebuild_tabular
from nnbackend.layers import Dense, Sequential
from nnbackend.network import load as load_network
from nnbackend.saving.schema import (
    anything,
    entries,
    flag,
    items,
    number,
    optional,
    record,
    text,
    whole,
)

if TYPE_CHECKING:
    from nnbackend.estimators.base import NeuralEstimator

__all__ = ["load", "save", "saves"]

E = TypeVar("E", bound="type[NeuralEstimator]")

_SAVED_CLASSES: dict[str, Any] = {}  # by name
_NOT_KEPT = ("callbacks", "validation_data", "backend", "device")
_ANY_NUMBER = number(finite=False)
_LEARNED = {  # the attributes that are kept, and what they have to be
    "n_features_in_": whole(1),
    "n_outputs_": whole(1),
    "n_layers_": whole(2),
    "n_iter_": whole(),
    "t_": whole(),
    "out_activation_": text(),
    "loss_": _ANY_NUMBER,
    "loss_curve_": items(_ANY_NUMBER),
    "best_loss_": optional(_ANY_NUMBER),
    "validation_scores_": optional(items(_ANY_NUMBER)),
    "best_validation_score_": optional(_ANY_NUMBER),
    "_no_improvement_count": whole(),
    "_seed": whole(high=2**31 - 1),
    "_steps": whole(high=2**31 - 1),
    "_dtype": text(*DTYPES),
    "_answers_dtype": text("float32", "float64"),
}
_REQUIRED = ("n_features_in_", "n_outputs_", "n_iter_", "t_", "out_activation_", "_seed", "_dtype")
_CLASSES = record(
    {
        "kind": text("binary", "multiclass", "multilabel-indicator"),
        "sparse": flag,
        "dtype": text(),
        "values": items(anything, 1),
    }
)
_DESCRIPTION = record(
    {"class": text(), "parameters": entries(), "learned": entries()},
    {"feature_names": items(text()), "classes": _CLASSES},
)
_check_learned = record({name: _LEARNED[name] for name in _REQUIRED}, _LEARNED, closed=True)


def saves(cls: E) -> E:
    """Let estimators of a class be saved and loaded; a decorator."""
    _SAVED_CLASSES[cls.__name__] = cls
    return cls


def save(estimator: NeuralEstimator, path: str | os.PathLike[str]) -> Path:
    """Write an estimator; see :meth:`NeuralEstimator.save`."""
    check_is_fitted(estimator)
    name = type(estimator).__name__
    if _SAVED_CLASSES.get(name) is not type(estimator):
        raise TypeError(f"only the estimators of this library can be saved so, not {name}")
    settings = estimator.get_params(deep=False)
    if not isinstance(estimator.random_state, int | None):
        settings["random_state"] = None
    learned = {key: vars(estimator)[key] for key in _LEARNED if key in vars(estimator)}
    description: dict[str, Any] = {
        "class": name,
        "parameters": {k: plain(v, k) for k, v in settings.items() if k not in _NOT_KEPT},
        "learned": {k: plain(v, k) for k, v in learned.items()},
    }
    if "feature_names_in_" in vars(estimator):
        description["feature_names"] = [str(text) for text in estimator.feature_names_in_]
    if hasattr(estimator, "_label_binarizer"):
        binarizer = estimator._label_binarizer
        classes = binarizer.classes_
        description["classes"] = {
            "kind": binarizer.y_type_,
            "sparse": bool(binarizer.sparse_input_),
            "dtype": "object" if classes.dtype.kind == "O" else classes.dtype.str,
            "values": [plain(value, "classes_") for value in classes.tolist()],
        }
    network = estimator.network_
    network.metadata = {"estimator": description}
    return network.save(path)


def load(path: str | os.PathLike[str], *, backend: Any = None, device: Any = None) -> Any:
    """Read an estimator that its ``save`` wrote. Nothing in the file is executed.

    Args:
        path: the file.
        backend: the estimator's ``backend``; None: NumPy.
        device: the estimator's ``device``.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: it is not an estimator's file, or is damaged.
    """
    network = load_network(path)
    if "estimator" not in network.metadata:
        raise ModelFileError(f"{path} holds a network and no estimator; nnbackend.load reads it")
    try:
        if is_tabular(network):
            # Where it computes was said; its numbers stay those of the file.
            network = load_network(path, backend=backend or "numpy", device=device)
            return rebuild_tabular(network, backend, device)
        return _rebuild_estimator(network, backend, device)
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be loaded: {error}") from error
    except Exception as error:  # parameters may be refused in any way
        raise ModelFileError(
            f"{path} holds no estimator of this version: {type(error).__name__}: {error}"
        ) from error


def _rebuild_estimator(network: Any, backend: Any, device: Any) -> Any:
    """Return the estimator that the metadata of its network describe, all of them checked."""
    description = network.metadata["estimator"]
    _DESCRIPTION(description, "its estimator")
    text(*_SAVED_CLASSES)(description["class"], "its estimator.class")
    parameters = {key: rebuilt(value) for key, value in description["parameters"].items()}
    if parameters.keys() & set(_NOT_KEPT):
        raise ModelFileError(f"its parameters are not those of {description['class']}")
    learned = {key: rebuilt(value) for key, value in description["learned"].items()}
    _check_learned(learned, "its estimator.learned")
    cls = _SAVED_CLASSES[description["class"]]
    estimator = cls(**parameters, backend=backend, device=device)
    estimator._validate_params()
    vars(estimator).update(learned, _session=[])
    names = description.get("feature_names")
    if names is not None:
        if len(names) != estimator.n_features_in_:
            raise ModelFileError("its names of features are not as many as its features")
        estimator.feature_names_in_ = np.array(names, dtype=object)
    if is_classifier(estimator):
        estimator._label_binarizer = _binarizer(description["classes"])
        estimator.classes_ = estimator._label_binarizer.classes_
        known = len(estimator.classes_)
        fitting = (1, known) if estimator._label_binarizer.y_type_ == "binary" else (known,)
        if estimator.n_outputs_ not in fitting or known > max(2, estimator.n_outputs_):
            raise ModelFileError("its classes are not as many as its outputs")
    _take_network(estimator, network)
    return estimator


def _take_network(estimator: Any, network: Any) -> None:
    """Take layers and parameters of a network, if they are those of the estimator."""
    layers = network.layers.layers
    if not layers or not isinstance(layers[-1], Dense):
        raise ModelFileError("its network does not end in a Dense layer")
    if list(layers[:-1]) != estimator._hidden_layers():
        raise ModelFileError("its network is not the one that its parameters describe")
    features, outputs = estimator.n_features_in_, estimator.n_outputs_
    shapes = network.input_shape, network.output_shape
    if shapes != (tuple(estimator._input_shape(features)), (outputs,)):
        raise ModelFileError("its network does not have the inputs and outputs of the estimator")
    if network.backend.dtype_name != estimator._dtype:
        raise ModelFileError("its network has another dtype than the estimator")
    estimator._layers = Sequential([*layers[:-1], Dense(outputs)])
    estimator._output_activation()  # refuses a name that is not one
    estimator._keep_params(tree_map(network.to_numpy, network.params))
    estimator._layer_state = tree_map(network.to_numpy, network.state)


def _binarizer(description: dict[str, Any]) -> LabelBinarizer:
    """Return scikit-learn's binarizer as it was when the estimator was fitted."""
    binarizer = LabelBinarizer()
    binarizer.y_type_ = description["kind"]
    binarizer.sparse_input_ = description["sparse"]
    binarizer.classes_ = label_array(description["dtype"], description["values"])
    return binarizer
