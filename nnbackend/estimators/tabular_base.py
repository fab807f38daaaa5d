"""What the estimators of tables have in common: the columns of X, the training, files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path as FilePath
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import BACKENDS, get_backend
from nnbackend.core.precision import PRECISIONS
from nnbackend.estimators.arguments import COUNT, FRACTION, POSITIVE
from nnbackend.estimators.tabular_files import save_tabular
from nnbackend.tables import choose_kinds, read_columns
from nnbackend.tables.drift import warn_changes
from nnbackend.tables.frames import check_column
from nnbackend.tables.inputs import Columns
from nnbackend.tables.table import take_rows
from nnbackend.tables.training import FittedTable, fit_table
from nnbackend.tabular.recipe import MODELS, PRESETS

__all__ = ["TabularEstimator", "keep_arguments"]

_RECIPE = ("epochs", "batch_size", "learning_rate", "label_smoothing", "hidden", "members", "folds",
           "quantiles")  # fmt: skip


class TabularEstimator(BaseEstimator, ABC):
    """What both estimators of tables have in common."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [StrOptions(set(MODELS)), None],
        "preset": [StrOptions(set(PRESETS))],
        "epochs": [COUNT, None],
        "batch_size": [COUNT, None],
        "learning_rate": [POSITIVE, None],
        "hidden": ["array-like", None],
        "members": [COUNT, None],
        "folds": [COUNT, None],
        "validation_fraction": [FRACTION],
        "columns": [dict, None],
        "day_first": [bool, None],
        "max_time": [POSITIVE, None],
        "n_jobs": [Integral, None],
        "callbacks": [tuple, list, None],
        "backend": [StrOptions({*BACKENDS, "auto"}), Backend],
        "device": "no_validation",
        "precision": [StrOptions(set(PRECISIONS)), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._parameter_constraints = {
            **TabularEstimator._parameter_constraints,
            **cls._parameter_constraints,
        }

    def _fit(
        self: Any, X: Any, y: Any, target: NDArray[Any], sample_weight: Any, **more: Any
    ) -> Any:
        """Read the columns and train; ``target`` has numbers, or the names of classes.

        Rows of weight 0 are left out, as though they were not there. The target is called in the model
        and its file as ``y`` is, if that is a Series with a name.
        """
        columns = self._read(X, reset=True)
        table, kept = columns.table, None
        check_consistent_length(next(iter(table.values()), target), target)
        if sample_weight is not None:
            kept = np.flatnonzero(sample_weight)
            table, target, sample_weight = take_rows(table, kept), target[kept], sample_weight[kept]
        name = _name_of(y)
        while name in table:
            name += "_"
        recipe: dict[str, Any] = {field: getattr(self, field, None) for field in _RECIPE}
        for field in ("hidden", "quantiles"):
            if (given := recipe[field]) is not None:
                recipe[field] = tuple(given)
        fitted: FittedTable = fit_table(
            {**table, name: target},
            name,
            choose_kinds(table, columns.kinds),
            model=self.model,
            preset=self.preset,
            validation=self.validation_fraction,
            weight=sample_weight,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            backend=get_backend(self.backend, self.device, precision=self.precision),
            callbacks=list(self.callbacks or ()),
            day_first=self.day_first,
            dialect=columns.dialect,
            recipe=recipe,
            max_time=self.max_time,
            n_jobs=self.n_jobs,
            verbose=int(self.verbose),
            **more,
        )
        self.model_ = fitted.model
        self.histories_ = fitted.trained.histories
        self.recipe_ = fitted.rows.recipe
        self.n_iter_ = max(len(history) for history in self.histories_)
        self.held_out_ = None
        if fitted.held_out is not None:
            rows, outputs = fitted.held_out
            self.held_out_ = rows if kept is None else kept[rows], self._answers(outputs)
        return fitted

    @staticmethod
    def _checked_weight(sample_weight: Any, target: Any) -> Any:
        """Return the weights of samples as an array, checked; None: there are none."""
        if sample_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, target, ensure_non_negative=True)
        if not np.any(weight):
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return weight

    @abstractmethod
    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers, or the probabilities of classes, that outputs of the network mean."""

    def _read(self: Any, X: Any, reset: bool) -> Columns:
        """Return the columns of X, checked as scikit-learn does."""
        if scipy.sparse.issparse(X):
            raise TypeError(
                "Sparse data was passed, and columns of a table are needed: give X.toarray()"
            )
        if type(X).__name__ == "LazyFrame":
            raise TypeError("X is a lazy frame, whose rows are not there yet: give X.collect()")
        if not _is_frame(X):
            X = _checked_array(X)
        if isinstance(X, Mapping):
            self._note_names(X, reset)
        else:
            validate_data(self, X, reset=reset, skip_check_array=True)
        if not _count_rows(X):
            raise ValueError(
                f"Found array with 0 sample(s) (shape={(0, self.n_features_in_)}) while a minimum of 1 "
                "is required."
            )
        if reset:
            return read_columns(X, self._kinds(X))
        model = self.model_
        if not _is_frame(X) and hasattr(
            self, "feature_names_in_"
        ):  # by place, as scikit-learn says
            X = {str(name): X[:, place] for place, name in enumerate(self.feature_names_in_)}
        return read_columns(X, wanted=model.encoder.feature_kinds, dialect=model.dialect)

    def _note_names(self: Any, X: Mapping[Any, Any], reset: bool) -> None:
        """Keep the names of a dictionary's columns; at prediction they are found by name."""
        if reset:
            self.n_features_in_ = len(X)
            self.feature_names_in_ = np.array([str(name) for name in X], dtype=object)

    def _kinds(self: Any, X: Any) -> Any:
        """Return what columns were said to hold; those of an array by their numbers."""
        prefix = "" if _is_frame(X) else "x"
        given = self.columns or {}
        return {f"{prefix}{key}" if isinstance(key, int) else key: k for key, k in given.items()}

    def _outputs(self: Any, X: Any) -> NDArray[Any]:
        """Return the outputs of the network for the rows of X; warn where they are unlike training."""
        check_is_fitted(self)
        table, encoder = self._read(X, reset=False).table, self.model_.encoder
        warn_changes(encoder.inputs.find_changes(table))
        outputs: NDArray[Any] = self.model_.outputs(encoder.encode_features(table))
        return outputs

    def save(self: Any, path: str | os.PathLike[str]) -> FilePath:
        """Write the fitted estimator to one file, without pickle; return its path.

        :func:`nnbackend.estimators.load` gives the estimator back. :func:`nnbackend.tables.load` reads
        the file without scikit-learn, to predict from frames, and so does the command line:
        ``nnbackend predict FILE DATA``; classes are texts there.

        The file has the parameters but ``callbacks``, ``backend`` and ``device``, the labels and the
        model; it has none of ``histories_``, ``recipe_`` and ``held_out_``.

        Args:
            path: the file.

        Raises:
            TypeError: labels that are neither texts, numbers nor booleans.
        """
        check_is_fitted(self)
        return save_tabular(self, path)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def keep_arguments(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of a constructor attributes, as scikit-learn wants it."""
    del arguments["self"]
    arguments.pop("__class__", None)
    vars(estimator).update(arguments)


def _is_frame(X: Any) -> bool:
    """Return whether X has named columns."""
    return hasattr(X, "columns") or hasattr(X, "column_names") or isinstance(X, Mapping)


def _count_rows(X: Any) -> int:
    """Return the number of rows; of a dictionary that of its first column."""
    if not isinstance(X, Mapping):
        return len(X)
    for name, column in X.items():
        check_column(str(name), column)
    return len(next(iter(X.values()), ()))


def _checked_array(X: Any) -> Any:
    """Return X as an array of two dimensions: numbers without infinity, or objects."""
    if isinstance(X, np.ma.MaskedArray):
        gone, X = np.ma.getmaskarray(X), np.ma.getdata(X).astype(object)
        X[gone] = None
    array = np.asarray(X)
    if array.dtype.kind in "US" and not hasattr(X, "dtype"):
        array = np.asarray(X, dtype=object)  # NumPy makes texts of the numbers beside texts
    if array.dtype.kind in "OUS":
        return check_array(array, dtype=object, ensure_all_finite=False, ensure_min_samples=0)
    return check_array(X, dtype="numeric", ensure_all_finite="allow-nan", ensure_min_samples=0)


def _name_of(y: Any) -> str:
    """Return the name of a Series, or of the only column of a frame; of others, "target"."""
    names = list(getattr(y, "columns", ()))
    name = names[0] if len(names) == 1 else getattr(y, "name", None)
    return name if isinstance(name, str) and name else "target"
