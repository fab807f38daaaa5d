"""scikit-learn's estimators beside this library's, and the data they are compared on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn
import sklearn.neural_network as theirs

from nnbackend import estimators as ours

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(150, 6))
SCORE = X[:, :3] @ _RNG.normal(size=(3, 4)) + 0.3 * _RNG.normal(size=(150, 4))
TARGETS: dict[str, Any] = {
    "binary": (SCORE[:, 0] > 0).astype(int),
    "multiclass": SCORE.argmax(axis=1),
    "multilabel": (SCORE[:, :3] > 0).astype(int),
    "one": SCORE[:, 0],
    "several": SCORE[:, :2],
}


def pair(kind: str, **settings: Any) -> tuple[Any, Any]:
    """Return scikit-learn's estimator and ours for a kind of target."""
    name = "MLPRegressor" if kind in ("one", "several") else "MLPClassifier"
    settings = {"hidden_layer_sizes": (7, 5), "max_iter": 8, "random_state": 3} | settings
    return getattr(theirs, name)(**settings), getattr(ours, name)(**settings)


def assert_same(a: Any, b: Any, tolerance: float = 1e-9) -> None:
    """Check that two estimators learned the same and say the same."""
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(b, name), getattr(a, name), strict=True):
            assert mine.dtype == other.dtype
            assert mine.shape == other.shape
            np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "t_"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_",
                 "best_validation_score_"):  # fmt: skip
        assert hasattr(a, name) == hasattr(b, name), name
        mine, other = getattr(b, name, None), getattr(a, name, None)
        assert (mine is None) == (other is None), name
        if mine is not None:
            np.testing.assert_allclose(mine, other, rtol=1e-4 if tolerance > 1e-7 else 1e-9)
    x = X.astype(a.coefs_[0].dtype)
    if hasattr(a, "predict_proba"):
        np.testing.assert_array_equal(a.classes_, b.classes_)
        np.testing.assert_array_equal(a.predict(x), b.predict(x))
        mine, other = b.predict_proba(x), a.predict_proba(x)
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, atol=50 * tolerance)
        assert b.predict_log_proba(x).dtype == other.dtype
        # Theirs is the logarithm of 1 - p, of which rounding takes digits.
        with np.errstate(divide="ignore"):
            lost = np.finfo(other.dtype).eps / other
            off = np.abs(b.predict_log_proba(x) - a.predict_log_proba(x))
        assert (off <= 50 * tolerance + 1e-7 * np.abs(b.predict_log_proba(x)) + lost).all()
    else:
        np.testing.assert_allclose(b.predict(x), a.predict(x), atol=50 * tolerance)
