"""Maxout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_equal, host, parameters

import nnbackend as nnb
from nnbackend import Context


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
@pytest.mark.parametrize("batch", [1, 5])
def test_values_and_gradients_are_torchs(shape, batch, backend64):
    torch = pytest.importorskip("torch")
    layer = nnb.Maxout(3, 4, bias_initializer="normal")
    params = parameters(layer, shape, backend64)
    weight, bias = (torch.tensor(host(backend64, params[n])) for n in ("weight", "bias"))
    leaves = weight.requires_grad_(), bias.requires_grad_()
    x = torch.tensor(rows((batch, *shape)), requires_grad=True)
    expected = torch.nn.functional.linear(x, weight.mT, bias).unflatten(-1, (4, 3)).amax(-2)
    dy = rows(expected.shape, 1)
    expected.backward(torch.tensor(dy))
    y, backward = layer.forward(params, backend64.asarray(x.detach().numpy()), Context(backend64))
    dx, grads = backward(backend64.asarray(dy))
    found = (y, dx, grads["weight"], grads["bias"])
    wanted = (expected.detach(), x.grad, *(leaf.grad for leaf in leaves))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(host(backend64, a), b.numpy(), rtol=0, atol=1e-12)


def test_of_equal_pieces_the_first_has_the_gradient(backend):
    params = {"weight": backend.asarray([[1.0, 1.0, 0.5]]), "bias": backend.asarray([0.0, 0, 0])}
    y, backward = nnb.Maxout(1, 3).forward(
        params, backend.asarray([[2.0], [-2.0]]), Context(backend)
    )
    assert_equal(host(backend, y), np.array([[2.0], [-1.0]], np.float32))
    dx, grads = backward(backend.asarray([[1.0], [10.0]]))
    assert_equal(host(backend, dx), np.array([[1.0], [5.0]], np.float32))
    assert_equal(host(backend, grads["weight"]), np.array([[2.0, 0.0, -20.0]], np.float32))
    assert_equal(host(backend, grads["bias"]), np.array([1.0, 0.0, 10.0], np.float32))


def test_two_pieces_learn_an_absolute_value():
    x = np.linspace(-1, 1, 64)[:, None]
    net = nnb.Network([nnb.Maxout(1, 2)], seed=1, dtype="float64")
    net.fit(x, np.abs(x), optimizer=nnb.Adam(0.05), epochs=100, verbose=0)
    assert net.evaluate(x, np.abs(x), loss="mse")["loss"] < 1e-4


def test_arguments_are_those_of_the_dense_layer():
    layer = nnb.Maxout(3, regularizer="l2", constraint="max_norm", initializer="he_normal")
    dense = nnb.Dense(6, regularizer="l2", constraint="max_norm", initializer="he_normal")
    assert layer.regularizer == dense.regularizer
    assert layer.constraint == dense.constraint
    net = nnb.Network([layer], input_shape=4)
    assert net.params["0"]["weight"].shape == (4, 6)
    assert net.output_shape == (3,)
    with pytest.raises(ValueError, match="Maxout needs at least one feature axis"):
        nnb.Network([nnb.Maxout(3)], input_shape=())
