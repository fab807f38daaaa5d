"""AlphaDropout; see also test_gaussian_noise.py."""

from __future__ import annotations

import numpy as np
import pytest
from tools import host, training

import nnbackend as nnb


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(rate, backend):
    x = np.random.default_rng(0).normal(size=(200, 100))
    y, _ = nnb.AlphaDropout(rate).forward({}, backend.asarray(x), training(backend))
    y = host(backend, y)
    assert abs(y.mean()) < 0.05
    assert abs(y.var() - 1) < 0.05
