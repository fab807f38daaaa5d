"""The outputs of a fitted estimator: X checked as scikit-learn checks it, rows computed in batches."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.backends.host import finite_on_host
from nnbackend.core.tree import leaves, tree_map
from nnbackend.core.types import STATELESS, Array, Params, State
from nnbackend.errors import BackendUnavailableError
from nnbackend.estimators.arrays import HOST, Home, check_held, dense, home_of
from nnbackend.inference.predictor import BATCH_ROWS, Predictor

__all__ = ["PredictingEstimator"]

_CHECKED_BYTES = 1 << 21  # of rows that are checked, and still in the cache for the product
_MIN_CHECKED_ROWS = 256  # a product of fewer rows takes longer


class PredictingEstimator(BaseEstimator, ABC):
    """What an estimator predicts with: the fitted layers, on the backend that its settings say."""

    _layer_state: State = STATELESS

    @abstractmethod
    def _kept_params(self) -> Params:
        """Return the public attributes as parameters."""

    def _kept_arrays(self) -> list[Array]:
        """Return the arrays of the public attributes, in any order."""
        return leaves(self._kept_params())

    def _shaped(self, x: Array) -> Array:
        """Return rows of features in the shape that the first layer takes."""
        return x

    def _output(self, X: Any, method: str) -> tuple[Array, Backend]:
        """Return the numbers before the output activation, for rows of X."""
        if self._is_plain(X):
            backend, predictor, held = self._prediction()
            z = predictor.repeat(*held, X)
            if z is None:
                with backend.scope():
                    bring, rows = partial(self._checked, X, backend), _checked_rows(X, backend)
                    z = predictor.predict(*held, X, rows, bring)
            return z, backend
        check_is_fitted(self)
        self._check_home(X, method)
        X = self._validated(X)
        backend, predictor, held = self._prediction()
        X = X.tocsr() if scipy.sparse.issparse(X) else X  # made dense a batch at a time
        with backend.scope():
            return predictor.predict(*held, X, bring=partial(self._on_backend, backend)), backend

    def _validated(self, X: Any) -> Any:
        """Return X, or raise what scikit-learn raises."""
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _on_backend(self, backend: Backend, part: Any, first: int) -> Array:
        """Return some rows on the backend."""
        rows = dense(part, backend)
        check_held(part, rows, backend, first)
        return self._shaped(rows)

    def _checked(self, X: Any, backend: Backend, part: Any, first: int) -> Array:
        """Return some rows of X on the backend, checked just before they are used."""
        if not finite_on_host(part):
            self._validated(X)
        return self._on_backend(backend, part, first)

    def _is_plain(self, X: Any) -> bool:
        """Return whether X is a NumPy matrix of the right width, so that only its numbers need a check.

        scikit-learn's own takes longer than the prediction of a single row.
        """
        if type(X) is not np.ndarray or X.ndim != 2 or X.dtype.char not in "df":
            return False
        own, (rows, columns) = self.__dict__, X.shape
        return (
            columns == own.get("n_features_in_")
            and rows > 0
            and own.get("_home", HOST) is HOST
            and "feature_names_in_" not in own
            and "_layers" in own
        )

    def _check_home(self, X: Any, method: str) -> None:
        """Refuse an X of another library than that of ``fit``, in scikit-learn's words."""
        mine, other = self._result_home(), home_of(X)
        what, here, there = "Devices", str(mine.device), str(other.device)
        if mine.xp is not other.xp:
            what = "Array namespaces"
            here, there = (getattr(home.xp, "__name__", "numpy") for home in (mine, other))
        if here != there:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and "
                f"the same device as those passed to fit(). {what} used during fit ({here}) and "
                f"{method} ({there}) differ. You can convert the estimator by pickling it, which "
                "makes all its arrays NumPy's, or fit it again."
            )

    def _result_home(self) -> Home:
        """Return the library and device of results."""
        return self.__dict__.get("_home", HOST)  # type: ignore[no-any-return]

    def _prediction(self) -> tuple[Backend, Predictor, tuple[Params, State]]:
        """Return backend, predictor, parameters and state, kept while the attributes are the same."""
        sources = self._kept_arrays()
        if self._session and self._session[0] is self._layers:
            _, known, kept = self._session
            if len(known) == len(sources) and all(map(operator.is_, known, sources)):
                return kept  # type: ignore[no-any-return]
        backend = self._fitted_backend()
        # NumPy's parameters are not copied by that: changes made to them count.
        held = tree_map(backend.asarray, self._kept_params())
        state = tree_map(backend.asarray, self._layer_state)
        kept = backend, Predictor(self._layers, backend), (held, state)
        # Changed in place: a prediction sets no attribute.
        self._session[:] = [self._layers, sources, kept]
        return kept

    def _backend_for(self, home: Home, dtype: str) -> Backend:
        """Return the backend to compute with: in float32 where a library or device has no float64."""
        follows_x = self.backend is None and self.device is None
        place = self.backend or home.xp or "numpy", home.device if follows_x else self.device
        precision = self.precision
        if precision is None and isinstance(self.backend, Backend):
            precision = self.backend.precision
        try:
            return get_backend(*place, precision=precision or dtype)
        except BackendUnavailableError:
            if precision is not None or dtype == "float32":
                raise
        return get_backend(*place, precision="float32")

    def _fitted_backend(self) -> Backend:
        """Return the backend of the fitted network; NumPy, and a warning, where it cannot be used."""
        try:
            backend = self._backend_for(self._result_home(), self._dtype)
            same = backend.dtype_name == self._dtype
            return backend if same else backend.replace(dtype=self._dtype)
        except BackendUnavailableError as error:
            warnings.warn(f"{error} NumPy predicts in its place.", stacklevel=5)
            return get_backend("numpy", None, self._dtype)


def _checked_rows(X: Any, backend: Backend) -> int:
    """Return the number of rows of a NumPy matrix to check and to compute at a time."""
    if backend.forward_bytes is None:
        return BATCH_ROWS
    row_bytes: int = X.shape[1] * X.itemsize
    return min(max(_CHECKED_BYTES // row_bytes, _MIN_CHECKED_ROWS), BATCH_ROWS)
