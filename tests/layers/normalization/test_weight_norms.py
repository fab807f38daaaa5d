"""Weight and spectral normalization: their parameters, their state, and torch's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, parameters, training

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.random import Generator


@pytest.mark.parametrize("inner", [nnb.Dense(3, "tanh"), nnb.Conv1D(2, 2, padding="same")])
def test_a_layer_computes_at_first_what_it_would_alone(inner, backend):
    shape = (5, 4)
    layer, x = nnb.WeightNorm(inner), backend.asarray(rows((2, *shape)))
    params = parameters(layer, shape, backend)
    with backend.scope():
        y, _ = layer.forward(params, x, Context(backend))
        alone, _ = inner.forward(params["layer"], x, Context(backend))
    assert_close(host(backend, y), host(backend, alone), 1e-6)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_it_is_torchs(name, iterations):
    torch = pytest.importorskip("torch")
    backend = nnb.get_backend("numpy", dtype="float64")
    inner, x, dy = nnb.Dense(3), rows((5, 4), 1), rows((5, 3), 2)
    spectral = name == "spectral_norm"
    layer = nnb.SpectralNorm(inner, iterations) if spectral else nnb.WeightNorm(inner)
    params = parameters(layer, (4,), backend)
    peer = torch.nn.Linear(4, 3).double()
    peer.weight.data = torch.tensor(params["layer"]["weight"].T.copy())
    peer.bias.data = torch.tensor(params["layer"]["bias"])
    options = {"n_power_iterations": iterations} if spectral else {}
    getattr(torch.nn.utils.parametrizations, name)(peer, **options)
    own = peer.parametrizations.weight
    state = {}
    if spectral:
        state = {"u": own[0]._u.numpy().copy(), "v": own[0]._v.numpy().copy()}
    else:
        own.original0.data *= 1.5
        params["gain"] = params["gain"] * 1.5
    ctx = training(backend)
    ctx.start_pass(0, state)
    y, backward = layer.forward(params, x, ctx)
    dx, grads = backward(dy)
    first = torch.tensor(x, requires_grad=True)
    out = peer(first)
    out.backward(torch.tensor(dy))
    assert_close(y, out.detach().numpy(), 1e-10)
    assert_close(dx, first.grad.numpy(), 1e-10)
    weight = own.original if spectral else own.original1
    assert_close(grads["layer"]["weight"], weight.grad.numpy().T, 1e-10)
    assert_close(grads["layer"]["bias"], peer.bias.grad.numpy(), 1e-10)
    if not spectral:
        assert_close(grads["gain"], own.original0.grad.numpy()[:, 0], 1e-10)
        return
    new = ctx.new_state()
    assert_close(new, {"u": own[0]._u.numpy(), "v": own[0]._v.numpy()}, 1e-10)
    y, _ = layer.forward(params, x, Context(backend, state=new))
    assert_close(y, peer.eval()(torch.tensor(x)).detach().numpy(), 1e-10)


def test_the_largest_singular_value_is_1(backend):
    layers = [nnb.SpectralNorm(nnb.Dense(6)), nnb.Dense(1)]
    net, x = nnb.Network(layers, backend=backend, seed=3, input_shape=4), rows((20, 4))

    def largest():
        eye = np.eye(4)
        first = nnb.Network(layers[:1], backend=backend, input_shape=4)
        first.params = {"0": net.params["0"]}
        first.state = {"0": net.state["0"]}
        linear = host(backend, first.predict(eye)) - host(backend, first.predict(0.0 * eye))
        return np.linalg.svd(linear, compute_uv=False)[0]

    assert abs(largest() - 1.0) < 0.02  # before training too
    net.fit(x, x[:, :1], epochs=20, batch_size=5, verbose=0)
    assert abs(largest() - 1.0) < 0.02


def test_state_is_kept_by_the_network(backend):
    inner = nnb.Sequential([nnb.BatchNorm(), nnb.Dense(2)])
    with pytest.raises(ValueError, match="Sequential has 0, 1"):
        nnb.WeightNorm(inner).init((3,), Generator.of(0))
    net = nnb.Network(
        [nnb.SpectralNorm(nnb.Dense(2)), nnb.BatchNorm()], backend=backend, input_shape=3
    )
    before = host(backend, net.state["0"])
    x = rows((8, 3))
    net.fit(x, x[:, :2], epochs=2, verbose=0)
    after = host(backend, net.state["0"])
    assert np.any(after["u"] != before["u"])
    assert "running_mean" in net.state["1"]


@pytest.mark.parametrize("cls", [nnb.WeightNorm, nnb.SpectralNorm])
@pytest.mark.parametrize(
    ("inner", "error", "words"),
    [(nnb.Dense(3, regularizer="l2"), ValueError, "regularizer"),
     (nnb.Dense(3, constraint="max_norm"), ValueError, "constraint"),
     (nnb.Dense, TypeError, r"write Dense\(\.\.\.\)|init and forward")],
)  # fmt: skip
def test_layers_that_do_not_go_inside_are_refused(cls, inner, error, words):
    with pytest.raises(error, match=words):
        cls(inner)


@pytest.mark.parametrize("inner", [nnb.Activation("relu"), nnb.LayerNorm()])
def test_a_layer_without_a_matrix_is_refused(inner):
    with pytest.raises(
        ValueError, match=r"layer 0 \(SpectralNorm\): SpectralNorm normalizes .* weight"
    ):
        nnb.Network([nnb.SpectralNorm(inner)], input_shape=3)
