"""Estimators for tables of any columns: RealMLP and TabM behind one pipeline of columns."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_array, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from nnbackend.errors import few
from nnbackend.estimators.tabular_base import TabularEstimator, keep_arguments
from nnbackend.estimators.tabular_files import check_labels, saves_tabular
from nnbackend.tables.intervals import interval_between
from nnbackend.tables.targets import TARGET_SCALES

__all__ = ["TabularClassifier", "TabularRegressor"]


@saves_tabular
class TabularClassifier(ClassifierMixin, TabularEstimator):
    """A classifier for tables: RealMLP or TabM, with columns of any kind.

    Frames may hold numbers, texts, categories, booleans, dates and missing values; docs/tables.md says
    how columns are read and encoded. A part of the rows is held out: it chooses the epoch whose weights
    are kept, and calibrates the probabilities.

    Args:
        model: ``"realmlp"``, ``"realmlp-simple"`` or ``"tabm"``; None (the default): RealMLP, of up to
            2,000 rows, and with ``preset="fast"``, its simple variant.
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
        day_first: whether in dates such as 1/2/2020 the day comes first, of all columns; None (the
            default): the dates of each column tell, and where they do not, the month comes first.
        class_weight: ``"balanced"``, a dictionary of a weight for each class, or None (the default).
        max_time: the seconds after which training ends; None (the default): it has all the time.
        n_jobs: how many folds are trained at the same time, by joblib in processes of their own; -1: one
            for each core. None (the default): one, or what ``joblib.parallel_config`` says.
        callbacks: see :mod:`nnbackend.callbacks`; default None. Processes of ``n_jobs`` have copies.
        backend: where the network computes, a name or a backend; default ``"numpy"``.
        device: see :func:`nnbackend.get_backend`; default None.
        precision: see :func:`nnbackend.get_backend`; default None, float32.
        random_state: the seed of the weights, the order of rows and those held out; default None.
        verbose: whether training shows its progress; default False.

    Attributes:
        classes_: the classes.
        model_: the :class:`nnbackend.tables.TableModel`.
        histories_: the history of each network.
        recipe_: the :class:`nnbackend.tabular.Recipe` that was chosen: model, epochs, batches and so on.
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
        day_first: bool | None = None,
        class_weight: Any = None,
        max_time: float | None = None,
        n_jobs: int | None = None,
        callbacks: Any = None,
        backend: Any = "numpy",
        device: Any = None,
        precision: str | None = None,
        random_state: Any = None,
        verbose: bool | int = False,
    ) -> None:
        keep_arguments(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularClassifier:
        """Train on a table and the class of each row.

        Args:
            X: a DataFrame of pandas or polars, an Arrow table, or an array of shape (samples, features).
            y: the classes, of shape (samples,). The model's file calls the target as a Series is called.
            sample_weight: how much each sample counts, of shape (samples,); default None: 1.

        Returns:
            the estimator.

        Raises:
            ValueError: the rows cannot be learned from; the message says why.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        given, y = y, _one_column(y)
        check_classification_targets(y)
        weight = self._checked_weight(sample_weight, y)
        known = y if weight is None else y[weight > 0]
        self.classes_ = np.unique(known)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs two classes or more to learn from; y has one class"
            )
        texts = check_labels(self.classes_)
        # Labels of rows that count nothing need not be among the classes.
        places = np.minimum(np.searchsorted(self.classes_, y), len(texts) - 1)
        target = np.array(texts, dtype=object)[places]
        weights = self.class_weight
        if isinstance(weights, dict):
            names = dict(zip(self.classes_.tolist(), texts, strict=True))
            unknown = [label for label in weights if label not in names]
            if unknown:
                raise ValueError(
                    f"class_weight names {unknown[0]!r}, and the classes are {few([*names])}"
                )
            weights = {names[label]: factor for label, factor in weights.items()}
        self._fit(X, given, target, weight, class_weight=weights)
        return self

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
        p = self.predict_proba(X)
        answers: NDArray[Any] = self.classes_[p.argmax(axis=1)]
        return answers


@saves_tabular
class TabularRegressor(RegressorMixin, TabularEstimator):
    """A regressor for tables: RealMLP or TabM, with columns of any kind.

    Predictions stay within the range of the targets of training. All arguments but ``target_scale`` are
    those of :class:`TabularClassifier`, which has ``label_smoothing`` and ``class_weight`` besides.

    Args:
        model: ``"realmlp"``, ``"realmlp-simple"`` or ``"tabm"``; None (the default): RealMLP, with
            ``preset="fast"`` its simple variant.
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
        quantiles: those of the target that are learned, rising, 0.5 among them: ``(0.05, 0.5, 0.95)``.
            ``predict`` gives the median then, ``predict_quantiles`` all, ``predict_interval`` intervals.
            None (the default): the mean is learned.
        columns: see :class:`TabularClassifier`; default None.
        day_first: see :class:`TabularClassifier`; default None.
        max_time: the seconds after which training ends; None (the default): it has all the time.
        n_jobs: how many folds are trained at the same time, by joblib in processes of their own; -1: one
            for each core. None (the default): one, or what ``joblib.parallel_config`` says.
        callbacks: see :mod:`nnbackend.callbacks`; default None. Processes of ``n_jobs`` have copies.
        backend: where the network computes, a name or a backend; default ``"numpy"``.
        device: see :func:`nnbackend.get_backend`; default None.
        precision: see :func:`nnbackend.get_backend`; default None, float32.
        random_state: the seed of the weights, the order of rows and those held out; default None.
        verbose: whether training shows its progress; default False.

    Attributes:
        model_: the :class:`nnbackend.tables.TableModel`.
        histories_: the history of each network.
        recipe_: the :class:`nnbackend.tabular.Recipe` that was chosen: model, epochs, batches and so on.
        held_out_: the numbers of the rows held out, and what networks that did not see them predict;
            None: no rows were held out.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if they are texts.
        n_iter_: the number of epochs.
        widening_: of each pair of quantiles that lie as far from 0 as from 1, the outermost first, by
            how much an interval is widened; None: no quantiles were learned, or no rows held out.

    Source: see :class:`TabularClassifier`; for quantiles Koenker, Bassett (1978); for the widening of
    intervals Romano, Patterson, Candès (2019), Conformalized Quantile Regression, arXiv:1905.03222.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "target_scale": [StrOptions(set(TARGET_SCALES)), None],
        "quantiles": ["array-like", None],
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
        quantiles: Any = None,
        columns: Mapping[Any, str] | None = None,
        day_first: bool | None = None,
        max_time: float | None = None,
        n_jobs: int | None = None,
        callbacks: Any = None,
        backend: Any = "numpy",
        device: Any = None,
        precision: str | None = None,
        random_state: Any = None,
        verbose: bool | int = False,
    ) -> None:
        keep_arguments(self, locals())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularRegressor:
        """Train on a table and the number of each row.

        Args:
            X: a DataFrame of pandas or polars, an Arrow table, or an array of shape (samples, features).
            y: the numbers, of shape (samples,). The model's file calls the target as a Series is called.
            sample_weight: how much each sample counts, of shape (samples,); default None: 1.

        Returns:
            the estimator.

        Raises:
            ValueError: the rows cannot be learned from; the message says why.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        if getattr(getattr(y, "dtype", None), "kind", "") in ("m", "M"):
            raise TypeError(
                "y holds dates or durations: make numbers of them, such as days since a day"
            )
        given = y
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=2)
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"y has {y.shape[1]} targets, and {type(self).__name__} predicts one: y should be a 1d "
                "array; sklearn.multioutput.MultiOutputRegressor trains a model for each"
            )
        y = column_or_1d(y, warn=True)
        weight = self._checked_weight(sample_weight, y)
        fitted = self._fit(X, given, y, weight, target_scale=self.target_scale)
        self.widening_: list[float] | None = fitted.widening
        return self

    def _answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        answers: NDArray[Any] = self.model_.answers(outputs)
        return answers

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, float64 of shape (samples,).

        Args:
            X: rows with the columns of training.
        """
        return self._answers(self._outputs(X))

    def predict_quantiles(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted quantiles, float64 of shape (samples, quantiles), rising in each row.

        Args:
            X: rows with the columns of training.

        Raises:
            ValueError: no quantiles were learned.
        """
        outputs = self._outputs(X)
        if not self.model_.quantiles:
            raise ValueError(
                "no quantiles were learned: TabularRegressor(quantiles=(0.05, 0.5, 0.95))"
            )
        found: NDArray[np.float64] = self.model_.answers_by_quantile(outputs)
        return found

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Return an interval for the target of each row, float64 of shape (samples, 2): low, high.

        It goes from the quantile ``(1 - coverage) / 2`` to ``(1 + coverage) / 2``, each moved out by
        what the rows held out needed for that share of them to lie inside (or in, where more did). Rows
        like these lie inside with about that probability; the same rows chose the best epoch, so that
        the share of new rows is a little smaller.

        Args:
            X: rows with the columns of training.
            coverage: the share of targets that are to lie inside; default 0.9.

        Raises:
            ValueError: the quantiles of that interval were not learned.
        """
        found = self.predict_quantiles(X)
        return interval_between(found, self.model_.quantiles, self.widening_, coverage)


def _one_column(y: Any) -> NDArray[Any]:
    """Return the labels of samples as an array of one dimension without missing ones."""
    labels: NDArray[Any] = column_or_1d(y, warn=True, dtype=None)
    if labels.dtype.kind in "fO":
        for row, label in enumerate(labels.tolist(), 1):
            if label is None or label != label:
                raise ValueError(f"y has no label in row {row}: it contains NaN or None")
    if labels.dtype.kind == "O" and len({isinstance(label, str) for label in labels}) > 1:
        raise ValueError("y holds both texts and other labels: make all of them texts")
    return labels
