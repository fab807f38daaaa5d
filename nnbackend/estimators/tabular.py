"""Estimators for tables of any columns: RealMLP and TabM behind one pipeline of columns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Real
from pathlib import Path as FilePath
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import BACKENDS, get_backend
from nnbackend.callbacks import TimeBudget
from nnbackend.core.precision import PRECISIONS
from nnbackend.estimators.arguments import COUNT, FRACTION, POSITIVE
from nnbackend.tables import choose_kinds, read_columns
from nnbackend.tables.inputs import Columns
from nnbackend.tables.targets import TARGET_SCALES
from nnbackend.tables.training import FittedTable, fit_table
from nnbackend.tabular.recipe import MODELS, PRESETS

__all__ = ["TabularClassifier", "TabularRegressor"]

_RECIPE = ("epochs", "batch_size", "learning_rate", "label_smoothing", "hidden", "members", "folds")


class TabularEstimator(BaseEstimator):
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
        "max_time": [POSITIVE, None],
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

    def _fit(self: Any, X: Any, target: NDArray[Any], sample_weight: Any, **more: Any) -> Any:
        """Read the columns and train; ``target`` has numbers, or the names of classes."""
        columns = self._read(X, reset=True)
        check_consistent_length(X, target)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, target)
            if not np.any(sample_weight):
                raise ValueError("Sample weights must contain at least one non-zero number.")
        name = "target"
        while name in columns.table:
            name += "_"
        kinds = choose_kinds(columns.table, columns.kinds)
        backend = get_backend(self.backend, self.device, precision=self.precision)
        callbacks = list(self.callbacks or ())
        if self.max_time is not None:
            callbacks.append(TimeBudget(self.max_time))
        recipe = {field: getattr(self, field, None) for field in _RECIPE}
        if self.hidden is not None:
            recipe["hidden"] = tuple(self.hidden)
        fitted: FittedTable = fit_table(
            {**columns.table, name: target},
            name,
            kinds,
            model=self.model,
            preset=self.preset,
            validation=self.validation_fraction,
            weight=sample_weight,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            backend=backend,
            callbacks=callbacks,
            dialect=columns.dialect,
            recipe=recipe,
            verbose=int(self.verbose),
            **more,
        )
        self.model_ = fitted.model
        self.histories_ = fitted.trained.histories
        self.n_iter_ = max(len(history) for history in self.histories_)
        self._dialect = columns.dialect
        self._keep_held_out(fitted)
        return self

    def _keep_held_out(self: Any, fitted: FittedTable) -> None:
        """Store what the networks said of rows that they did not see."""
        self.held_out_ = None
        if fitted.held_out is not None:
            rows, outputs = fitted.held_out
            self.held_out_ = rows, self._answers(outputs)

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers, or the probabilities of classes, that outputs of the network mean."""
        raise NotImplementedError

    def _read(self: Any, X: Any, reset: bool) -> Columns:
        """Return the columns of X, checked as scikit-learn does."""
        if scipy.sparse.issparse(X):
            raise TypeError(
                "Sparse data was passed, and columns of a table are needed: give X.toarray()"
            )
        if not _is_frame(X):
            X = _checked_array(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        if not len(X):
            raise ValueError(
                f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required."
            )
        if reset:
            return read_columns(X, self._kinds(X))
        wanted = self.model_.encoder.feature_kinds
        return read_columns(X, wanted=wanted, dialect=self._dialect)

    def _kinds(self: Any, X: Any) -> Any:
        """Return what columns were said to hold; those of an array by their numbers."""
        given = self.columns or {}
        return {f"x{key}" if isinstance(key, int) else key: kind for key, kind in given.items()}

    def _outputs(self: Any, X: Any) -> NDArray[Any]:
        """Return the outputs of the network for the rows of X."""
        check_is_fitted(self)
        table = self._read(X, reset=False).table
        outputs: NDArray[Any] = self.model_.outputs(self.model_.encoder.encode_features(table))
        return outputs

    def save(self: Any, path: str | os.PathLike[str]) -> FilePath:
        """Write the fitted model to one file, without pickle; return its path.

        :func:`nnbackend.tables.load` reads it to predict from frames, and so does the command line:
        ``nnbackend predict FILE DATA``. Classes are texts there.

        Args:
            path: the file.
        """
        check_is_fitted(self)
        written: FilePath = self.model_.network.save(path)
        return written

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """A classifier for tables: RealMLP or TabM, with columns of any kind.

    Frames may hold numbers, texts, categories, booleans, dates and missing values; docs/tables.md says
    how columns are read and encoded. A part of the rows is held out: it chooses the epoch whose weights
    are kept, and calibrates the probabilities.

    Args:
        model: ``"realmlp"``, ``"realmlp-simple"`` or ``"tabm"``; None (the default): RealMLP, and with
            ``preset="fast"`` its simple variant.
        preset: ``"fast"``, ``"default"`` or ``"best"`` (five networks, each trained on another four
            fifths of the rows).
        epochs: the number of epochs; None (the default): by model and preset.
        batch_size: the rows of a step; None (the default): by the number of rows.
        learning_rate: the largest learning rate; None (the default): the model's.
        label_smoothing: the share of each target that is spread over all classes; None (the default):
            0.1.
        hidden: the units of each hidden layer; None (the default): the model's.
        members: how many networks are trained together; None (the default): 1, of TabM by the preset.
        folds: how many networks are trained, each with another part of the rows held out; None (the
            default): by the preset.
        validation_fraction: the share of rows held out where there is one network; default 0.2.
        columns: what columns hold that are not to be read as they look: ``{"zip": "category"}``; see
            :func:`nnbackend.tables.choose_kinds`. Columns of an array are named by their numbers.
            Default None.
        class_weight: ``"balanced"``, a dictionary of a weight for each class, or None (the default).
        max_time: the seconds after which training ends; None (the default): it has all the time.
        callbacks: see :mod:`nnbackend.callbacks`; default None.
        backend: where the network computes, a name or a backend; default ``"numpy"``.
        device: see :func:`nnbackend.get_backend`; default None.
        precision: see :func:`nnbackend.get_backend`; default None, float32.
        random_state: the seed of the weights, the order of rows and those held out; default None.
        verbose: whether training shows its progress; default False.

    Attributes:
        classes_: the classes.
        model_: the :class:`nnbackend.tables.TableModel`.
        histories_: the history of each network.
        held_out_: the numbers of the rows held out, and the probabilities of their classes from networks
            that did not see them; None: no rows were held out.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if they are texts.
        n_iter_: the number of epochs.

    Source: Holzmüller, Grinsztajn, Steinwart (2024), arXiv:2407.04491; Gorishniy, Kotelnikov, Babenko
    (2025), arXiv:2410.24210.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(
        self,
        model: str | None = None,
        *,
        preset: str = "default",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        label_smoothing: float | None = None,
        hidden: Any = None,
        members: int | None = None,
        folds: int | None = None,
        validation_fraction: float = 0.2,
        columns: Mapping[Any, str] | None = None,
        class_weight: Any = None,
        max_time: float | None = None,
        callbacks: Any = None,
        backend: Any = "numpy",
        device: Any = None,
        precision: str | None = None,
        random_state: Any = None,
        verbose: bool | int = False,
    ) -> None:
        _keep(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularClassifier:
        """Train on a table and the class of each row.

        Args:
            X: a DataFrame of pandas or polars, an Arrow table, or an array of shape (samples, features).
            y: the classes, of shape (samples,).
            sample_weight: how much each sample counts, of shape (samples,); default None: 1.

        Returns:
            the estimator.

        Raises:
            ValueError: the rows cannot be learned from; the message says why.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        check_classification_targets(y)
        y = column_or_1d(y, warn=True, dtype=None)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs two classes or more to learn from; y has one class"
            )
        texts = [str(label) for label in self.classes_]
        if len(set(texts)) < len(texts) or "" in texts:
            raise ValueError("the classes must differ as texts, and none may be empty")
        weights = self.class_weight
        if isinstance(weights, dict):
            places = {label: code for code, label in enumerate(self.classes_.tolist())}
            weights = {places.get(label, label): weight for label, weight in weights.items()}
            weights = {self._place(texts, code): weight for code, weight in weights.items()}
        target = np.array(texts, dtype=object)[codes]
        return self._fit(X, target, sample_weight, class_weight=weights)  # type: ignore[no-any-return]

    @staticmethod
    def _place(texts: list[str], code: Any) -> Any:
        """Return the number that the model gives to a class; an unknown class stays as it is."""
        if not isinstance(code, int) or not 0 <= code < len(texts):
            return code
        from nnbackend.tables.categories import Classes

        ordered = Classes.learn("classes", np.array(texts, dtype=object)).classes
        return ordered.index(texts[code])

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        p = self.model_.probabilities(outputs)
        order = [self.model_.classes.index(str(label)) for label in self.classes_]
        return p[:, order]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, float64 of shape (samples, classes).

        Args:
            X: rows with the columns of training.
        """
        return self._answers(self._outputs(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row, of shape (samples,).

        Args:
            X: rows with the columns of training.
        """
        answers: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return answers


class TabularRegressor(RegressorMixin, TabularEstimator):
    """A regressor for tables: RealMLP or TabM, with columns of any kind.

    Predictions stay within the range of the targets of training. All arguments but ``target_scale`` are
    those of :class:`TabularClassifier`, which has ``label_smoothing`` and ``class_weight`` besides.

    Args:
        model: see :class:`TabularClassifier`; default None.
        preset: see :class:`TabularClassifier`; default ``"default"``.
        epochs: the number of epochs; None (the default): by model and preset.
        batch_size: the rows of a step; None (the default): by the number of rows.
        learning_rate: the largest learning rate; None (the default): the model's.
        hidden: the units of each hidden layer; None (the default): the model's.
        members: see :class:`TabularClassifier`; default None.
        folds: see :class:`TabularClassifier`; default None.
        validation_fraction: see :class:`TabularClassifier`; default 0.2.
        target_scale: ``"standard"``, ``"log"`` or ``"quantile"`` for what the network learns; None (the
            default): standardized, or the logarithm where the target has a heavy tail and held-out rows
            are predicted better so, which is said.
        columns: see :class:`TabularClassifier`; default None.
        max_time: the seconds after which training ends; None (the default): it has all the time.
        callbacks: see :mod:`nnbackend.callbacks`; default None.
        backend: where the network computes, a name or a backend; default ``"numpy"``.
        device: see :func:`nnbackend.get_backend`; default None.
        precision: see :func:`nnbackend.get_backend`; default None, float32.
        random_state: the seed of the weights, the order of rows and those held out; default None.
        verbose: whether training shows its progress; default False.

    Attributes:
        model_: the :class:`nnbackend.tables.TableModel`.
        histories_: the history of each network.
        held_out_: the numbers of the rows held out, and what networks that did not see them predict;
            None: no rows were held out.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if they are texts.
        n_iter_: the number of epochs.

    Source: see :class:`TabularClassifier`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "target_scale": [StrOptions(set(TARGET_SCALES)), None],
    }

    def __init__(
        self,
        model: str | None = None,
        *,
        preset: str = "default",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        hidden: Any = None,
        members: int | None = None,
        folds: int | None = None,
        validation_fraction: float = 0.2,
        target_scale: str | None = None,
        columns: Mapping[Any, str] | None = None,
        max_time: float | None = None,
        callbacks: Any = None,
        backend: Any = "numpy",
        device: Any = None,
        precision: str | None = None,
        random_state: Any = None,
        verbose: bool | int = False,
    ) -> None:
        _keep(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularRegressor:
        """Train on a table and the number of each row.

        Args:
            X: a DataFrame of pandas or polars, an Arrow table, or an array of shape (samples, features).
            y: the numbers, of shape (samples,).
            sample_weight: how much each sample counts, of shape (samples,); default None: 1.

        Returns:
            the estimator.

        Raises:
            ValueError: the rows cannot be learned from; the message says why.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        y = column_or_1d(y, warn=True)
        return self._fit(X, y, sample_weight, target_scale=self.target_scale)  # type: ignore[no-any-return]

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        answers: NDArray[Any] = self.model_.answers(outputs)
        return answers

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, float64 of shape (samples,).

        Args:
            X: rows with the columns of training.
        """
        return self._answers(self._outputs(X))


def _keep(estimator: Any, arguments: dict[str, Any]) -> None:
    """Make the arguments of a constructor attributes, as scikit-learn wants it."""
    del arguments["self"]
    arguments.pop("__class__", None)
    vars(estimator).update(arguments)


def _is_frame(X: Any) -> bool:
    """Return whether X has named columns."""
    return hasattr(X, "columns") or hasattr(X, "column_names") or isinstance(X, Mapping)


def _checked_array(X: Any) -> Any:
    """Return X as an array of two dimensions: numbers without infinity, or objects."""
    array = np.asarray(X)
    if array.dtype.kind in "OUS":
        checked = check_array(X, dtype=object, ensure_all_finite=False, ensure_min_samples=0)
        return checked
    return check_array(X, dtype="numeric", ensure_all_finite="allow-nan", ensure_min_samples=0)
