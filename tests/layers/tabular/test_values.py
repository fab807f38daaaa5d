"""The layers of tabular networks against PyTorch's differentiation, and against RealMLP's authors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, parameters

import nnbackend as nnb
from nnbackend import Context

# What pytabkit 1.8.0 (realmlp/model.py), the package of RealMLP's authors, computes in float64.
EMBEDDED_ROWS = [[0.39649116027305387, -1.0327639474752697], [1.6641005886756874, 0.2491364395612199],
                 [-0.6816888468192551, 1.411764705882353]]  # fmt: skip
EMBEDDINGS = [
    [[-0.7701962353991658, -0.3117712943540114, 0.39649116027305387],
     [0.4253307387534892, 0.6495152401571112, -1.0327639474752697]],
    [[-0.5282773593958014, -0.2639346399023396, 1.6641005886756874],
     [1.2687947945009175, 1.761648601810273, 0.2491364395612199]],
    [[0.08183032243085953, 0.24738039254852173, -0.6816888468192551],
     [0.23952969734578416, 0.45037004794658, 1.411764705882353]],
]  # fmt: skip
ACTIVATED_ROWS, SHARES = [[0.4, -1.1, 2.0], [-3.0, 0.25, 1.5]], [1.0, 0.5, -0.25]
ACTIVATED = {
    "mish": [[0.2890305340723631, -0.7038242236512011, 2.0140102601165015],
             [-0.14564746127562467, 0.2097862048319088, 1.5241554334010492]],
    "selu": [[0.4202803949421922, -1.1364394540053158, 1.9746495063222598],
             [-1.6705687287671118, 0.25633762341943506, 1.4809871297416948]],
}  # fmt: skip


def test_embeddings_are_those_of_realmlps_authors(backend64):
    params = {
        "frequency": np.arange(6).reshape(2, 3) * 0.3 - 0.7,
        "phase": np.arange(6).reshape(2, 3) * -0.5 + 1.0,
        "weight": np.arange(12).reshape(2, 3, 2) * 0.1 - 0.4,
        "bias": np.arange(4).reshape(2, 2) * 0.2 - 0.3,
    }
    params = {name: backend64.asarray(value) for name, value in params.items()}
    x = backend64.asarray(EMBEDDED_ROWS)
    y, _ = nnb.PeriodicEmbedding(3, 2).forward(params, x, Context(backend64))
    np.testing.assert_allclose(host(backend64, y), np.reshape(EMBEDDINGS, (3, 6)), atol=1e-12)


@pytest.mark.parametrize("name", ["mish", "selu"])
def test_parametric_activations_are_those_of_realmlps_authors(name, backend64):
    layer, params = nnb.ParametricActivation(name), {"weight": backend64.asarray(SHARES)}
    y, _ = layer.forward(params, backend64.asarray(ACTIVATED_ROWS), Context(backend64))
    np.testing.assert_allclose(host(backend64, y), ACTIVATED[name], atol=1e-12)


def embedded(torch, x, p, count):
    long = x[..., :count, None]
    z = torch.cos(2 * math.pi * long * p["frequency"] + p["phase"])
    z = torch.einsum("...cf,cfo->...co", z, p["weight"]) + p["bias"]
    return torch.cat([torch.cat([z, long], -1).flatten(-2), x[..., count:]], -1)


def rank_one(torch, x, p):
    return ((x * p["input_scale"]) @ p["weight"]) * p["output_scale"] + p["bias"]


def of_members(torch, x, p):
    return torch.einsum("nki,kio->nko", x, p["weight"]) + p["bias"]


CASES = {
    "embedding": (nnb.PeriodicEmbedding(5, 2, 0.7), (4,), lambda t, x, p: embedded(t, x, p, 4)),
    "embedding-some": (nnb.PeriodicEmbedding(5, 3, 2.0, count=2), (3, 4),
                       lambda t, x, p: embedded(t, x, p, 2)),
    "embedding-one": (nnb.PeriodicEmbedding(1, 1, count=1), (2,), lambda t, x, p: embedded(t, x, p, 1)),
    "scale": (nnb.FeatureScale(), (4,), lambda t, x, p: x * p["weight"]),
    "scale-axes": (nnb.FeatureScale(2), (3, 4), lambda t, x, p: x * p["weight"]),
    "selu": (nnb.ParametricActivation("selu"), (4,),
             lambda t, x, p: x + p["weight"] * (t.nn.functional.selu(x) - x)),
    "mish-axes": (nnb.ParametricActivation("mish", 2), (3, 4),
                  lambda t, x, p: x + p["weight"] * (t.nn.functional.mish(x) - x)),
    "dense": (nnb.ScaledDense(3, bias_initializer="normal"), (4,),
              lambda t, x, p: x @ p["weight"] / 2 + p["bias"]),
    "dense-axes": (nnb.ScaledDense(3, bias=False), (2, 5, 4), lambda t, x, p: x @ p["weight"] / 2),
    "dense-members": (nnb.ScaledDense(2, 3), (3, 4),
                      lambda t, x, p: of_members(t, x / 2, p)),
    "members": (nnb.MemberDense(2, 3, bias_initializer="normal"), (3, 4), of_members),
    "rank-one": (nnb.RankOneDense(2, 3, input_initializer="random_signs",
                                  output_initializer="normal"), (3, 4), rank_one),
    "replicate": (nnb.Replicate(3), (2,), lambda t, x, p: x[:, None].expand(-1, 3, -1) * 1),
    "mean": (nnb.MemberMean(), (3, 2), lambda t, x, p: x.mean(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 5])
def test_values_and_gradients_are_torchs(name, batch, backend64):
    torch = pytest.importorskip("torch")
    layer, shape, function = CASES[name]
    params = parameters(layer, shape, backend64)
    params = {k: backend64.asarray(rows(p.shape, i + 7)) for i, (k, p) in enumerate(params.items())}
    leaves = {k: torch.tensor(host(backend64, p), requires_grad=True) for k, p in params.items()}
    x = torch.tensor(rows((batch, *shape)), requires_grad=True)
    expected = function(torch, x, leaves)
    dy = rows(expected.shape, 1)
    expected.backward(torch.tensor(dy))
    y, backward = layer.forward(params, backend64.asarray(x.detach().numpy()), Context(backend64))
    dx, grads = backward(backend64.asarray(dy))
    wanted = {k: leaf.grad.numpy() for k, leaf in leaves.items()}
    wanted |= {"x": x.grad.numpy(), "y": expected.detach().numpy()}
    assert_close(host(backend64, {**grads, "x": dx, "y": y}), wanted, 1e-12)


def test_a_network_of_members_is_the_members_one_by_one(backend64):
    """Three networks that are computed together give what each gives alone."""
    layers = [
        nnb.Replicate(3), nnb.PeriodicEmbedding(4, 2, count=3, axes=2), nnb.FeatureScale(axes=2),
        nnb.ScaledDense(5, 3, bias_initializer="normal"), nnb.ParametricActivation("selu", axes=2),
        nnb.MemberDense(2, 3),
    ]  # fmt: skip
    alone = [
        nnb.PeriodicEmbedding(4, 2, count=3), nnb.FeatureScale(), nnb.ScaledDense(5),
        nnb.ParametricActivation("selu"), nnb.Dense(2),
    ]  # fmt: skip
    together = nnb.Network(layers, backend=backend64, input_shape=4, seed=3)
    x = rows((6, 4))
    y = host(backend64, together.predict(x))
    for k in range(3):
        one = nnb.Network(alone, backend=backend64, input_shape=4)
        state = host(backend64, together.state_dict())
        one.load_state_dict(
            {f"{int(name[0]) - 1}{name[1:]}": value[k] for name, value in state.items()}
        )
        np.testing.assert_allclose(host(backend64, one.predict(x)), y[:, k], rtol=0, atol=1e-13)


def test_members_begin_differently_and_as_one_alone_would(backend64):
    net = nnb.Network([nnb.MemberDense(64, 4)], input_shape=(4, 32), seed=1)
    weight = net.params["0"]["weight"]
    limit = math.sqrt(6 / (32 + 64))  # of one member: the number of members is no fan-in
    assert limit * 0.95 < np.abs(weight).max() <= limit
    assert (weight[0] != weight[1]).all()
    layer = nnb.RankOneDense(8, 4, bias_initializer="normal", input_initializer="random_signs")
    net = nnb.Network([layer], input_shape=(4, 32))
    own = net.params["0"]
    assert set(np.unique(own["input_scale"])) == {-1.0, 1.0}
    assert (own["input_scale"][0] != own["input_scale"][1]).any()
    np.testing.assert_array_equal(own["bias"], np.tile(own["bias"][:1], (4, 1)))


def test_the_initial_embedding_is_the_papers():
    net = nnb.Network([nnb.PeriodicEmbedding()], input_shape=400)
    own = net.params["0"]
    assert {name: p.shape for name, p in own.items()} == {
        "frequency": (400, 16), "phase": (400, 16), "weight": (400, 16, 3), "bias": (400, 3),
    }  # fmt: skip
    assert own["frequency"].std() == pytest.approx(0.1, rel=0.05)
    assert own["phase"].std() == pytest.approx(math.pi / 3**0.5, rel=0.05)
    for name in ("weight", "bias"):
        assert 0.24 < np.abs(own[name]).max() <= 0.25
    assert net.output_shape == (1600,)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (
            nnb.PeriodicEmbedding(count=5),
            (4,),
            r"first 5 features, and rows of shape \(4,\) have 4",
        ),
        (nnb.PeriodicEmbedding(axes=2), (4,), r"last 2 axes, and rows have the shape \(4,\)"),
        (nnb.FeatureScale(), (), r"last 1 axes, and rows have the shape \(\)"),
        (nnb.ParametricActivation("relu", 3), (2, 4), "last 3 axes"),
        (
            nnb.ScaledDense(3, members=2),
            (4,),
            r"takes rows of shape \(2, features\), got \(4,\); Repl",
        ),
        (nnb.ScaledDense(3), (), "at least one feature axis"),
        (nnb.MemberDense(3, 2), (3, 4), r"takes rows of shape \(2, features\), got \(3, 4\)"),
        (
            nnb.RankOneDense(3, 2),
            (2, 3, 4),
            r"takes rows of shape \(2, features\), got \(2, 3, 4\)",
        ),
        (nnb.MemberMean(), (), r"takes rows of shape \(members, \.\.\.\)"),
    ],
)
def test_rows_of_another_shape_are_refused(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        nnb.Network([layer], input_shape=shape)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nnb.PeriodicEmbedding(0), "frequencies"),
        (lambda: nnb.PeriodicEmbedding(scale=-1.0), "scale"),
        (lambda: nnb.PeriodicEmbedding(count=0), "count"),
        (lambda: nnb.FeatureScale(0), "axes"),
        (lambda: nnb.ParametricActivation("sellu"), "selu"),
        (lambda: nnb.ScaledDense(3, members=0), "members"),
        (lambda: nnb.ScaledDense(3, data_driven=1), "data_driven"),
        (lambda: nnb.MemberDense(3, 1.5), "members"),
        (lambda: nnb.RankOneDense(3, 2, initializer="glorot"), "glorot_uniform"),
        (lambda: nnb.Replicate(0), "members"),
    ],
)
def test_arguments_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
