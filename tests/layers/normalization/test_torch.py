"""Layer, RMS, group and instance normalization against torch."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, parameters, training

import nnbackend as nnb

torch = pytest.importorskip("torch")

CASES = {
    "layer": (nnb.LayerNorm(), (5, 4), lambda t: t.LayerNorm(4)),
    "layer-one-row": (nnb.LayerNorm(), (1, 3, 4), lambda t: t.LayerNorm(4)),
    "layer-axes": (nnb.LayerNorm(2, 0.1), (5, 2, 4), lambda t: t.LayerNorm((2, 4), eps=0.1)),
    "layer-no-bias": (nnb.LayerNorm(bias=False), (5, 4), lambda t: t.LayerNorm(4, bias=False)),
    "layer-plain": (nnb.LayerNorm(affine=False), (5, 4),
                    lambda t: t.LayerNorm(4, elementwise_affine=False)),
    "rms": (nnb.RMSNorm(), (5, 3, 4), lambda t: t.RMSNorm(4, eps=1e-6)),
    "rms-axes": (nnb.RMSNorm(2, 0.1), (5, 3, 4), lambda t: t.RMSNorm((3, 4), eps=0.1)),
    "group": (nnb.GroupNorm(2), (5, 3, 3, 4), lambda t: t.GroupNorm(2, 4)),
    "group-one": (nnb.GroupNorm(1), (5, 7, 4), lambda t: t.GroupNorm(1, 4)),
    "group-each": (nnb.GroupNorm(4), (5, 7, 4), lambda t: t.GroupNorm(4, 4)),
    "group-no-places": (nnb.GroupNorm(2), (5, 6), lambda t: t.GroupNorm(2, 6)),
    "group-plain": (nnb.GroupNorm(2, affine=False), (5, 7, 4),
                    lambda t: t.GroupNorm(2, 4, affine=False)),
    "instance-1": (nnb.InstanceNorm(), (5, 7, 4), lambda t: t.InstanceNorm1d(4)),
    "instance-2": (nnb.InstanceNorm(affine=True), (1, 3, 2, 4),
                   lambda t: t.InstanceNorm2d(4, affine=True)),
    "instance-3": (nnb.InstanceNorm(0.1), (2, 3, 2, 2, 4), lambda t: t.InstanceNorm3d(4, eps=0.1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_torchs(name):
    layer, shape, make = CASES[name]
    backend = nnb.get_backend("numpy", dtype="float64")
    params = {n: rows(p.shape, 3) for n, p in parameters(layer, shape[1:], backend).items()}
    x, dy = rows(shape, 1), rows(shape, 2)
    y, backward = layer.forward(params, x, training(backend))
    dx, grads = backward(dy)

    last = "layer" in name or "rms" in name  # where torch has its channels
    there, back = ((-1, -1), (-1, -1)) if last else ((-1, 1), (1, -1))
    peer = make(torch.nn).double()
    for n, p in params.items():
        getattr(peer, n).data = torch.tensor(p)
    # In order: with its channels last, a batch of one gets a wrong gradient in torch 2.13's
    # InstanceNorm2d.
    first, last_dy = (np.ascontiguousarray(np.moveaxis(a, *there)) for a in (x, dy))
    first = torch.tensor(first, requires_grad=True)
    out = peer(first)
    out.backward(torch.tensor(last_dy))
    assert_close(y, np.moveaxis(out.detach().numpy(), *back), 1e-10)
    assert_close(dx, np.moveaxis(first.grad.numpy(), *back), 1e-10)
    assert set(grads) == {n for n, _ in peer.named_parameters()}
    for n, g in grads.items():
        assert_close(g, getattr(peer, n).grad.numpy(), 1e-10)


def test_channels_first_is_the_same_elsewhere(backend):
    x, dy = rows((3, 4, 5), 1), rows((3, 4, 5), 2)
    found = []
    for layer, move in ((nnb.GroupNorm(2), True), (nnb.GroupNorm(2, channels="first"), False)):
        given = [np.moveaxis(a, 1, -1) if move else a for a in (x, dy)]
        with backend.scope():
            params = parameters(layer, given[0].shape[1:], backend)
            y, backward = layer.forward(params, backend.asarray(given[0]), training(backend))
            dx, _ = backward(backend.asarray(given[1]))
        found.append([np.moveaxis(host(backend, a), -1, 1) if move else host(backend, a)
                      for a in (y, dx)])  # fmt: skip
    assert_close(found[0][0], found[1][0], 1e-6)
    assert_close(found[0][1], found[1][1], 1e-6)
