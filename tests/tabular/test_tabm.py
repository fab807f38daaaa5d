"""TabM as it is built, against the package of its authors where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.losses import EachMember
from nnbackend.tabular import build_tabm, build_tabm_optimizer


def test_outputs_are_the_authors(backend64):
    tabm, torch = pytest.importorskip("tabm"), pytest.importorskip("torch")
    twin = tabm.TabM.make(
        n_num_features=5, d_out=3, n_blocks=2, d_block=8, k=4, dropout=0.0
    ).double()
    layers = build_tabm(5, outputs=3, members=4, hidden=(8, 8), dropout=0.0)
    net = nnb.Network(layers, backend=backend64, input_shape=5)
    state, names = {}, {"weight": "weight", "bias": "bias", "r": "input_scale", "s": "output_scale"}
    for place, module in zip((1, 4, 7), [twin.backbone.blocks[0][0], twin.backbone.blocks[1][0],
                                         twin.output], strict=True):  # fmt: skip
        for name, p in module.named_parameters():
            value = p.detach().numpy()
            shared = name == "weight" and place < 7
            state[f"{place}.{names[name]}"] = value.T if shared else value
    net.load_state_dict(state)
    x = rows((6, 5))
    expected = twin(torch.tensor(x)).softmax(-1).detach().numpy()
    assert_close(host(backend64, net.predict(x)), expected, 1e-12)


def test_it_begins_as_the_authors_does():
    net = nnb.Network(build_tabm(16, outputs=1, task="regression", members=8, hidden=(32, 64)),
                      input_shape=16)  # fmt: skip
    own = net.params
    assert set(np.unique(own["1"]["input_scale"])) == {-1.0, 1.0}
    for name in ("1.output_scale", "4.input_scale", "4.output_scale"):
        layer, parameter = name.split(".")
        assert (own[layer][parameter] == 1.0).all()
    for layer, inputs in (("1", 16), ("4", 32), ("7", 64)):
        for parameter in ("weight", "bias"):
            largest = np.abs(own[layer][parameter]).max()
            assert 0.8 * inputs**-0.5 < largest <= inputs**-0.5 * (1 + 1e-6)
    assert net.output_shape == (8, 1)


def test_the_ensemble_learns(backend):
    x = rows((120, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    net = nnb.Network(build_tabm(4, outputs=2, members=4, hidden=(32, 32)), backend=backend)
    history = net.fit(x, y, loss=EachMember("softmax_cross_entropy"), metrics=["accuracy"], epochs=40,
                      optimizer=build_tabm_optimizer(0.01), batch_size=32, verbose=0)  # fmt: skip
    assert history["accuracy"][-1] > 0.9
    mean = host(backend, net.predict(x)).mean(axis=1)
    assert (mean.argmax(axis=1) == y).mean() > 0.9
