"""Arrays of other libraries in and out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimators.pairs import SCORE, TARGETS, X, assert_same, pair
from sklearn import config_context
from sklearn.base import clone

from nnbackend import estimators as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", TARGETS)
def test_every_backend_learns_the_same(kind, backend64):
    a, b = pair(kind, max_iter=3)
    b.set_params(backend=backend64)
    y = TARGETS[kind]
    a.fit(X, y), clone(b).fit(X, y)
    b.fit(X, y)
    assert_same(a, b)
    assert all(isinstance(c, np.ndarray) for c in b.coefs_)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_every_backend_goes_on(solver, backend64):
    y = TARGETS["multiclass"]
    a, b = pair("multiclass", max_iter=3, solver=solver, warm_start=True, batch_size=40)
    b.set_params(backend=backend64)
    for _ in range(2):
        assert_same(a.fit(X, y), b.fit(X, y), 1e-7)
    if solver == "sgd":
        for _ in range(2):
            assert_same(a.partial_fit(X, y), b.partial_fit(X, y))


def test_predictions_follow_x(variant, backend):
    """With dispatching, what is fitted on a library's arrays predicts in them, on their device."""
    if variant.library not in ("torch", "array-api-strict", "cupy"):
        pytest.skip("scikit-learn does not dispatch to this library")
    x, xp = backend.asarray(X), backend.xp
    y = backend.asarray(TARGETS["multiclass"], dtype=xp.int32)
    classifier = ours.MLPClassifier(max_iter=3, random_state=0)
    regressor = ours.MLPRegressor(max_iter=3, random_state=0)
    with config_context(array_api_dispatch=True):
        classifier.fit(x, y), regressor.fit(x, backend.asarray(SCORE))
        results = [classifier.predict(x), classifier.predict_proba(x),
                   classifier.predict_log_proba(x), regressor.predict(x),
                   *classifier.coefs_, *classifier.intercepts_, classifier.classes_]  # fmt: skip
        for result in results:
            assert type(result) is type(x)
            assert result.device == x.device
        if variant.name not in ("strict-no_float64", "strict-strictest"):
            # There scikit-learn's own accuracy_score needs float64, or shapes that depend on data.
            assert isinstance(classifier.score(x, y), float)
        with pytest.raises(
            ValueError, match=r"MLPClassifier.predict\(\) must use the same namespace"
        ):
            classifier.predict(X)
    host = pickle.loads(pickle.dumps(classifier))
    assert isinstance(host.coefs_[0], np.ndarray)
    assert isinstance(host.classes_, np.ndarray)
    expected = backend.to_numpy(results[1])
    np.testing.assert_allclose(host.predict_proba(X.astype(np.float32)), expected, rtol=1e-5)
    host.partial_fit(X.astype(np.float32), TARGETS["multiclass"])
