"""Classification and regression: targets in, losses to go with them, predictions out."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from nnbackend import losses
from nnbackend.backends.base import Backend
from nnbackend.core import functional
from nnbackend.core.types import Array, Context, Namespace
from nnbackend.estimators.arrays import home_of
from nnbackend.estimators.losses import BinaryLogLoss, HalfPoisson, HalfSquaredError, LogLoss
from nnbackend.losses import Loss
from nnbackend.training.objective import Objective

__all__ = ["ClassifierHead", "RegressorHead"]

_EXACT_IN_FLOAT32 = 1 << 24  # whole numbers up to here


class ClassifierHead(ClassifierMixin):
    """Labels of two classes (one logistic output), of more (softmax), or several at a time."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "loss": [StrOptions({"log_loss", *losses.LOSSES}), callable],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool, some: bool = False
    ) -> Any:
        """Return X and the targets: columns of 0 and 1, or class numbers of more than two classes.

        ``some``: also in a warm start, y need not have each of the classes.
        """
        X, y = self._checked_data(X, y, reset)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = home_of(X).from_host(self._label_binarizer.classes_)
        else:
            self._check_classes(unique_labels(y), self.warm_start and not some)
        binarizer = self._label_binarizer
        kind, classes = binarizer.y_type_, binarizer.classes_
        if y.ndim > 1 or scipy.sparse.issparse(y) or kind.startswith("multilabel"):
            target = binarizer.transform(y)
            self.n_outputs_ = target.shape[1]
            return X, target
        codes = np.searchsorted(classes, y)
        if kind == "multiclass" or self._loss_trait("absorbs") == "softmax":
            self.n_outputs_ = len(classes)
            return X, codes
        self.n_outputs_ = 1
        return X, codes[:, None]

    def _check_classes(self, found: Any, every: bool) -> None:
        """Refuse classes that were not there in the first fit."""
        known = self._label_binarizer.classes_
        if every:
            if set(found) != set(known):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {known}, `y` has {found}"
                )
        elif len(np.setdiff1d(found, known, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {known}. 'y' has {found}."
            )

    def _loss_trait(self, name: str) -> Any:
        """Return a trait of the loss that the user chose; None for scikit-learn's own."""
        return None if self.loss == "log_loss" else losses.trait(losses.get(self.loss), name)

    def _multilabel(self) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _scores(self) -> bool:
        """Return whether the loss takes scores of which no probabilities can be made: a hinge loss."""
        return self._loss_trait("outputs") is not None

    def _check_probabilities(self) -> bool:
        if self._scores():
            raise AttributeError(
                f"the loss {self.loss!r} makes scores of classes, no probabilities"
            )
        return True

    def _choose_loss(self, target: Any) -> Loss:
        """Return the loss, and name the output activation."""
        several = target.ndim == 1
        self.out_activation_ = "softmax" if several else "logistic"
        if self.loss == "log_loss":
            return LogLoss() if several else BinaryLogLoss()
        loss = losses.get(self.loss)
        if self._scores():
            self.out_activation_ = "identity"
            if several != (losses.trait(loss, "outputs") == "scores"):
                raise ValueError(
                    f"the loss {self.loss!r} is not for {self._label_binarizer.y_type_} targets"
                )
            return loss
        absorbed = losses.absorbed_activation(loss)
        fitting = "softmax" if several else "sigmoid"
        if absorbed not in (None, fitting):
            raise ValueError(
                f"the loss {self.loss!r} takes the numbers before a {absorbed}, but the targets "
                f"({self._label_binarizer.y_type_}) need a {fitting} output"
            )
        return loss

    def _class_weights(self, target: Any, incremental: bool) -> Any:
        """Return the weight of each sample by its class."""
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' counts the classes of all data, which partial_fit does not "
                "see; give the weight of each class"
            )
        if isinstance(self.class_weight, list) and not self._multilabel():
            raise ValueError(
                "class_weight as a list is for several labels in a row; give weights by class as a "
                f"dictionary, got {self.class_weight}"
            )
        if not self._multilabel():
            target = self._label_binarizer.classes_[np.ravel(target)]
        weight = compute_sample_weight(self.class_weight, target)
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError(
                f"class_weight must be finite and not negative, got {self.class_weight}"
            )
        return weight

    def _score_outputs(
        self, z: Array, y: Array, weight: Array | None, objective: Objective, backend: Backend
    ) -> float:
        """Return the accuracy, of several labels at a time only where all are right."""
        logits = losses.absorbed_activation(objective.loss) or self._scores()
        predicted = self._places(z, backend.xp, 0.0 if logits else 0.5)
        right = predicted == (y if len(y.shape) == 1 else self._places(y, backend.xp))
        if len(right.shape) == 2:
            right = backend.xp.all(right, axis=1)
        kept = None if weight is None else backend.to_numpy(weight).astype(np.float64)
        return float(np.average(backend.to_numpy(right), weights=kept))

    def _places(self, z: Array, xp: Namespace, threshold: float = 0.0) -> Array:
        """Return the place of each row's class; of several labels at a time 1 or 0 for each."""
        if self._multilabel():
            return xp.astype(z > threshold, xp.int64)
        if self.n_outputs_ > 1:
            return xp.argmax(z, axis=1)
        # A single class is the only answer, whatever the output.
        return xp.astype(
            (z[:, 0] > threshold) & (len(self._label_binarizer.classes_) > 1), xp.int64
        )

    # Outputs

    def predict(self, X: Any) -> Any:
        """Return the predicted classes.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).

        Returns:
            labels of shape (samples,), or 0 and 1 of shape (samples, labels).
        """
        z, backend = self._output(X, "predict")
        with backend.scope():
            places = self._places(z, backend.xp)
        classes, home = self._label_binarizer.classes_, self._result_home()
        if self._multilabel():
            labels = home.from_backend(places, backend)
            return (
                scipy.sparse.csr_matrix(labels) if self._label_binarizer.sparse_input_ else labels
            )
        if home.xp is None or classes.dtype.kind not in "biuf":
            return classes[backend.to_numpy(places)]
        return home.xp.take(self.classes_, home.from_backend(places, backend))

    @available_if(lambda estimator: estimator._check_probabilities())
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class, in the order of ``classes_``.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).

        Returns:
            shape (samples, classes); of several labels at a time, that of each label.
        """
        z, backend = self._output(X, "predict_proba")
        p = self._activated(z, backend)
        if self.n_outputs_ == 1:
            p = backend.xp.concat([1.0 - p, p], axis=1)
        return self._result_home().from_backend(p, backend)

    @available_if(lambda estimator: estimator._check_probabilities())
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of :meth:`predict_proba`, finite also where that is rounded to 0.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).
        """
        z, backend = self._output(X, "predict_log_proba")
        xp = backend.xp
        with backend.scope():
            if self.out_activation_ == "softmax":
                logs = functional.log_softmax(z, xp)
            else:
                logs = -functional.softplus(-z, xp)
                if self.n_outputs_ == 1:
                    logs = xp.concat([-functional.softplus(z, xp), logs], axis=1)
        return self._result_home().from_backend(logs, backend)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Go once through the data.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).
            y: labels.
            sample_weight: how much each sample counts.
            classes: all classes; needed in the first call, as y need not have each of them.

        Returns:
            the estimator.
        """
        if _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class RegressorHead(RegressorMixin):
    """Numbers, one or several for each sample."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "loss": [StrOptions({"squared_error", "poisson", *losses.LOSSES}), callable]
    }
    _answers_dtype = "float64"

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool, some: bool = False
    ) -> Any:
        """Return X and the targets as columns."""
        X, y = self._checked_data(X, y, reset, y_numeric=True)
        small = (y >= -_EXACT_IN_FLOAT32) & (y <= _EXACT_IN_FLOAT32)
        held = y.dtype.kind in "biu" and small.all()
        self._answers_dtype = "float32" if held or y.dtype.itemsize <= 4 else "float64"
        y = y[:, None] if y.ndim == 1 else y
        self.n_outputs_ = y.shape[1]
        return X, y

    def _choose_loss(self, target: Any) -> Loss:
        """Return the loss, and name the output activation."""
        own = {"squared_error": HalfSquaredError(), "poisson": HalfPoisson()}
        named = isinstance(self.loss, str) and self.loss in own
        loss: Loss = own[self.loss] if named else losses.get(self.loss)
        absorbed = losses.absorbed_activation(loss)
        names = {None: "identity", "sigmoid": "logistic", "exponential": "exp"}
        self.out_activation_ = names.get(absorbed, absorbed)
        return loss

    def _score_outputs(
        self, z: Array, y: Array, weight: Array | None, objective: Objective, backend: Backend
    ) -> float:
        """Return the coefficient of determination."""
        predicted = backend.to_numpy(objective.output(z, Context(backend))[0])
        if not np.isfinite(predicted).all():
            return float("nan")
        kept = None if weight is None else backend.to_numpy(weight)
        return float(r2_score(backend.to_numpy(y), predicted, sample_weight=kept))

    def predict(self, X: Any) -> Any:
        """Return the predicted numbers.

        In NumPy they are float64 where the targets of ``fit`` were, whatever the network computes in:
        their units may need it.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).

        Returns:
            shape (samples,), or (samples, outputs) for several.
        """
        z, backend = self._output(X, "predict")
        y = z if self.out_activation_ == "identity" else self._activated(z, backend)
        y = self._result_home().from_backend(y[:, 0] if y.shape[1] == 1 else y, backend)
        if isinstance(y, np.ndarray) and self._answers_dtype == "float64":
            return y.astype(np.float64, copy=False)
        return y

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go once through the data.

        Args:
            X: array-like, frame or sparse matrix of shape (samples, features).
            y: numbers.
            sample_weight: how much each sample counts.

        Returns:
            the estimator.
        """
        return self._fit(X, y, sample_weight=sample_weight, incremental=True)
