"""The network in scikit-learn's diagrams."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimators.pairs import TARGETS, X
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from nnbackend import estimators as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_the_diagram_shows_the_network():
    mlp = ours.MLPClassifier((12, 7), activation="tanh", dropout=0.25)
    before = estimator_html_repr(mlp)
    assert "Dense(12, tanh)" in before
    assert "Dropout(0.25)" in before
    after = estimator_html_repr(make_pipeline(StandardScaler(), mlp.fit(X, TARGETS["multiclass"])))
    assert "Dense(4, softmax)" in after
    assert "84 parameters" in after
    assert repr(mlp).startswith("MLPClassifier(activation='tanh', dropout=0.25")
