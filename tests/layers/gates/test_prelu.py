"""The rectifier with a learned slope."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import host

import nnbackend as nnb
from nnbackend import Context


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_values_and_gradients_are_torchs(channels, count, batch, backend64):
    torch = pytest.importorskip("torch")
    twin = torch.nn.PReLU(count).double()
    twin.weight.data = torch.linspace(-0.5, 0.7, count).double()
    x = rows((batch, 3, 2, 2))  # channels first
    x[0, 0, 0] = [0.0, -0.0]
    leaf, dy = torch.tensor(x, requires_grad=True), rows(x.shape, 1)
    expected = twin(leaf)
    expected.backward(torch.tensor(dy))

    def placed(a):
        return a if channels == "first" else np.moveaxis(a, 1, -1)

    layer = nnb.PReLU(count, channels=channels)
    params = {"weight": backend64.asarray(twin.weight.detach().numpy())}
    y, backward = layer.forward(params, backend64.asarray(placed(x)), Context(backend64))
    dx, grads = backward(backend64.asarray(placed(dy)))
    np.testing.assert_allclose(host(backend64, y), placed(expected.detach().numpy()), rtol=1e-14)
    np.testing.assert_allclose(host(backend64, dx), placed(leaf.grad.numpy()), rtol=1e-14)
    np.testing.assert_allclose(
        host(backend64, grads["weight"]), twin.weight.grad.numpy(), rtol=1e-12
    )


def test_it_begins_with_the_slope_that_was_asked_for():
    net = nnb.Network([nnb.PReLU(4, initial=0.1), nnb.PReLU()], input_shape=4)
    np.testing.assert_allclose(net.params["0"]["weight"], [0.1] * 4)
    np.testing.assert_allclose(net.params["1"]["weight"], [0.25])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nnb.PReLU(3), (4,)),
        (nnb.PReLU(3), (3, 4)),
        (nnb.PReLU(3, channels="first"), (4, 3)),
        (nnb.PReLU(3), ()),
    ],
)
def test_a_number_of_slopes_that_is_not_that_of_the_channels_is_refused(layer, shape):
    with pytest.raises(
        ValueError, match=r"layer 0 \(PReLU\): PReLU\(3\) has a slope for each of 3"
    ):
        nnb.Network([layer], input_shape=shape)
