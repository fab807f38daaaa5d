"""Gated linear units."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import host, parameters

import nnbackend as nnb
from nnbackend import Context

UNITS = [nnb.GLU, nnb.SwiGLU, nnb.GEGLU, nnb.ReGLU]


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("batch", [1, 3])
def test_glu_is_torchs(channels, batch, backend64):
    torch = pytest.importorskip("torch")
    x = rows((batch, 4, 6))
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.glu(leaf, -1 if channels == "last" else 1)
    dy = rows(expected.shape, 1)
    expected.backward(torch.tensor(dy))
    y, backward = nnb.GLU(channels).forward({}, backend64.asarray(x), Context(backend64))
    dx, _ = backward(backend64.asarray(dy))
    np.testing.assert_allclose(host(backend64, y), expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(host(backend64, dx), leaf.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("unit", UNITS)
def test_with_a_layer_before_it_is_shazeers_unit(unit, backend64):
    """His FFN_SwiGLU has silu(x W) * (x V); the layer before has the weight [V W]."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    gate = {"GLU": torch.sigmoid, "SwiGLU": F.silu, "GEGLU": F.gelu, "ReGLU": F.relu}[unit.__name__]
    layers = nnb.Sequential([nnb.Dense(6, bias=False), unit(), nnb.Dense(2, bias=False)])
    params = parameters(layers, (4,), backend64)
    both, last = (torch.tensor(host(backend64, params[i]["weight"])) for i in ("0", "2"))
    both.requires_grad_()
    x = torch.tensor(rows((5, 4)), requires_grad=True)
    V, W = both[:, :3], both[:, 3:]
    expected = (gate(x @ W) * (x @ V)) @ last
    dy = rows(expected.shape, 1)
    expected.backward(torch.tensor(dy))
    ctx = Context(backend64)
    y, backward = layers.forward(params, backend64.asarray(x.detach().numpy()), ctx)
    dx, grads = backward(backend64.asarray(dy))
    for found, wanted in ((y, expected.detach()), (dx, x.grad), (grads["0"]["weight"], both.grad)):
        np.testing.assert_allclose(host(backend64, found), wanted.numpy(), rtol=0, atol=1e-12)


def test_the_two_forms_of_gelu_differ(backend64):
    x = backend64.asarray(rows((3, 4)))
    exact, _ = nnb.GEGLU().forward({}, x, Context(backend64))
    near, _ = nnb.GEGLU(approximate="tanh").forward({}, x, Context(backend64))
    apart = np.abs(host(backend64, exact) - host(backend64, near)).max()
    assert 1e-9 < apart < 1e-2


@pytest.mark.parametrize("unit", UNITS)
def test_an_odd_number_of_channels_is_refused(unit):
    for layer, shape in ((unit(), (4, 3)), (unit(channels="first"), (3, 4)), (unit(), ())):
        with pytest.raises(ValueError, match=rf"layer 0 \({unit.__name__}\): .*must be even"):
            nnb.Network([layer], input_shape=shape)
