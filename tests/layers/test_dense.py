"""The dense layer."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from hypothesis import given, settings
from tools import assert_equal, host, parameters

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.random import Generator


def test_dense_is_a_product_plus_bias(backend):
    dense = nnb.Dense(2)
    params = {"weight": backend.asarray([[1, 2], [3, 4]]), "bias": backend.asarray([10, 20])}
    y, backward = dense.forward(params, backend.asarray([[1, 1], [2, 0]]), Context(backend))
    dx, grads = backward(backend.asarray([[1, 0], [0, 1]]))
    assert_equal(host(backend, y), np.array([[14, 26], [12, 24]], np.float32))
    assert_equal(host(backend, dx), np.array([[1, 3], [2, 4]], np.float32))
    assert_equal(host(backend, grads["weight"]), np.array([[1, 2], [1, 0]], np.float32))
    assert_equal(host(backend, grads["bias"]), np.array([1, 1], np.float32))


@settings(max_examples=10)
@given(
    axes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    features=st.integers(1, 5),
    outputs=st.integers(1, 5),
)
def test_dense_takes_any_number_of_axes(axes, features, outputs, backend):
    layer = nnb.Dense(outputs, activation="tanh")
    x = rows((*axes, features))
    params = parameters(layer, (*axes[1:], features), backend)
    y, backward = layer.forward(params, backend.asarray(x), Context(backend))
    dx, grads = backward(y)
    assert (tuple(y.shape), tuple(dx.shape)) == ((*axes, outputs), x.shape)
    w, b = host(backend, params["weight"]), host(backend, params["bias"])
    np.testing.assert_allclose(host(backend, y), np.tanh(x @ w + b), atol=1e-5)
    assert tuple(grads["weight"].shape) == (features, outputs)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", "he_uniform"), ("gelu", "he_uniform"), ("tanh", "glorot_uniform"),
     (None, "glorot_uniform"), ("softmax", "glorot_uniform")],
)  # fmt: skip
def test_dense_takes_the_initializer_that_suits_its_activation(activation, expected):
    assert nnb.Dense(3, activation).initializer == nnb.initializers.get(expected)


def test_sizes_may_be_numpys_integers():
    assert nnb.Dense(np.int64(3)) == nnb.Dense(3)
    assert type(nnb.Dense(np.int64(3)).out_features) is int


def test_an_initializer_of_the_wrong_shape_is_named():
    layer = nnb.Dense(2, initializer=lambda shape, rng: np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"weight.*\(1, 1\).*\(3, 2\)"):
        layer.init((3,), Generator.of(0))
