"""Initializers: their moments, bounds and errors."""

from __future__ import annotations

import numpy as np
import pytest
from cases import INITIALIZERS, SHAPE

from nnbackend import initializers
from nnbackend.core.random import Generator

NAMES = list(INITIALIZERS)
FAN = [name for name in NAMES if name.split("_")[0] in ("glorot", "he", "lecun", "orthogonal")]


@pytest.mark.parametrize("name", NAMES)
def test_values_have_the_promised_mean_spread_and_bound(name):
    expected = INITIALIZERS[name]
    values = expected.thing(SHAPE, Generator.of(0))
    n = values.size
    assert values.dtype == np.float64
    assert abs(values.mean() - expected.mean) <= 4 * expected.std / np.sqrt(n)
    assert abs(values.std() - expected.std) <= 4 * expected.std / np.sqrt(n)
    assert np.abs(values).max() <= expected.bound
    if "uniform" in name:
        assert np.abs(values).max() > 0.999 * expected.bound


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_values_and_another_others(name):
    thing = INITIALIZERS[name].thing
    first = thing((4, 3), Generator.of(1))
    np.testing.assert_array_equal(thing((4, 3), Generator.of(1)), first)
    if INITIALIZERS[name].std > 0:
        differ = thing((4, 3), Generator.of(2)) != first
        assert differ.any() if name == "random_signs" else differ.all()


@pytest.mark.parametrize("name", FAN)
def test_a_kernels_axes_count_for_the_fans(name):
    """A (3, 3, in, out) kernel has the variance of a (9 * in, out) or (9 * in, 9 * out) weight."""
    values = INITIALIZERS[name].thing((3, 3, 20, 40), Generator.of(0))
    fan_in, fan_out = 180, 360
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in,
                "orthogonal": 1 / fan_in}[name.split("_")[0]]  # fmt: skip
    assert values.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 1), (2, 3, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    matrix = initializers.Orthogonal(2.0)(shape, Generator.of(0)).reshape(-1, shape[-1]) / 2
    small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-14)


@pytest.mark.parametrize("name", FAN)
def test_a_fan_of_a_vector_is_refused_with_advice(name):
    with pytest.raises(ValueError, match=r"two or more axes.*'zeros'"):
        INITIALIZERS[name].thing((3,), Generator.of(0))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: initializers.Normal(std=-1.0), "std"),
        (lambda: initializers.Normal(mean="0"), "mean"),
        (lambda: initializers.Normal(std=float("nan")), "std"),
        (lambda: initializers.Uniform(1.0, 0.0), "low"),
        (lambda: initializers.Uniform("a", "b"), "low"),
        (lambda: initializers.Orthogonal(None), "gain"),
        (lambda: initializers.get("he"), "he_normal"),
    ],
)
def test_what_cannot_be_an_initializer_is_named(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize("spec", [3, None, initializers.Zeros, [1.0]])
def test_an_initializer_is_a_name_or_an_object(spec):
    with pytest.raises((TypeError, ValueError), match="initializer"):
        initializers.get(spec)
