"""scikit-learn's learning rates."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from nnbackend.estimators import rules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_the_rate_of_sgd():
    rate = rules.Rate(0.5, "invscaling", 0.5)
    rate.end_epoch(99)
    assert rate(0) == pytest.approx(0.05)
    adaptive = rules.Rate(2e-6, "adaptive")
    assert adaptive.shrink() is None
    assert adaptive.now == pytest.approx(4e-7)
    assert adaptive.shrink() == "Learning rate too small. Stopping."
