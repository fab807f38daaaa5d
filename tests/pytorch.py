"""Layers without parameters compared with functions of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, training

from nnbackend.core.random import Generator


def results(layer, x, backend):
    """Return what a pass over ``x`` gives, on the host: y, dy and dx."""
    with backend.scope():
        y, backward = layer.forward({}, backend.asarray(x.copy()), training(backend))
        dy = rows(y.shape, seed=1)
        dx, _ = backward(backend.asarray(dy.copy()))
    assert layer.init(x.shape[1:], Generator.of(0))[1] == tuple(y.shape[1:])
    return host(backend, y), dy, host(backend, dx)


def torchs(torch, function, x, dy, channels):
    """Return y and dx of a function of PyTorch, channels where the layer has them."""
    move = channels == "last"
    given = torch.from_numpy((np.moveaxis(x, -1, 1) if move else x).copy()).requires_grad_()
    y = function(given)
    shaped = np.moveaxis(dy, -1, 1) if move else dy
    y.backward(torch.from_numpy(shaped.copy()).reshape(y.shape))
    found = y.detach().numpy(), given.grad.numpy()
    return tuple(np.moveaxis(a, 1, -1) if move else a for a in found)


def check(layer, x, function, backend):
    """Compare the outputs and gradients of a layer with those of a function of PyTorch."""
    torch = pytest.importorskip("torch")
    y, dy, dx = results(layer, x, backend)
    expected_y, expected_dx = torchs(torch, function, x, dy, layer.channels)
    assert_close(y, expected_y.reshape(y.shape), 1e-10)
    assert_close(dx, expected_dx, 1e-10)
