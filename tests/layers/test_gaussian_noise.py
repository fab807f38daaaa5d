"""Gaussian noise, and what it has in common with AlphaDropout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import Context


def noisy(layer, backend, step=0, shape=(200, 100), x=None):
    """Return the output of a training pass on the host."""
    x = np.zeros(shape) if x is None else x
    y, _ = layer.forward({}, backend.asarray(x), Context(backend, True, (1, 2), step))
    return host(backend, y)


def test_gaussian_noise_is_normal(backend):
    y = noisy(nnb.GaussianNoise(2.0), backend).ravel() / 2
    n = y.size
    assert abs(y.mean()) < 4 / n**0.5
    assert abs(y.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((y**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((y**4).mean() - 3) < 4 * (96 / n) ** 0.5
    below = np.sort(y).searchsorted([-2, -1, 0, 1, 2]) / n
    np.testing.assert_allclose(below, [0.02275, 0.15866, 0.5, 0.84134, 0.97725], atol=2 / n**0.5)
    assert abs(np.corrcoef(y[::2], y[1::2])[0, 1]) < 4 / (n / 2) ** 0.5


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_noise_is_the_same_on_every_backend_up_to_rounding(step, backend64):
    numpy = nnb.get_backend("numpy", dtype="float64")
    for layer in (nnb.GaussianNoise(1.0), nnb.AlphaDropout(0.3)):
        expected = noisy(layer, numpy, step)
        np.testing.assert_allclose(noisy(layer, backend64, step), expected, rtol=0, atol=1e-14)


def test_noise_in_float32_is_that_of_float64_rounded(backend):
    expected = noisy(nnb.GaussianNoise(1.0), nnb.get_backend("numpy", dtype="float64"))
    np.testing.assert_allclose(noisy(nnb.GaussianNoise(1.0), backend), expected, atol=1e-5)


def test_noise_changes_with_the_step_and_not_with_the_length_of_the_batch(backend):
    layer = nnb.GaussianNoise(1.0)
    y = noisy(layer, backend, shape=(50, 7))
    assert_close(y[:20], noisy(layer, backend, shape=(20, 7)), 1e-6)
    other = noisy(layer, backend, step=1, shape=(50, 7))
    assert abs(np.corrcoef(y.ravel(), other.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("layer", [nnb.GaussianNoise(1.0), nnb.AlphaDropout(0.5)])
def test_there_is_no_noise_outside_training(layer, backend):
    x = backend.asarray(rows((3, 4)))
    y, backward = layer.forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))
