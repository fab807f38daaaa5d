"""RealMLP as it is built, against the package of its authors where that is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.losses import EachMember, SoftmaxCrossEntropy, mse
from nnbackend.tabular import build_realmlp, build_realmlp_optimizer, offset_indices

COUNTS = (12, 15)
STEPS = 100


def dataset(task, seed=0, count=32):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 4))
    codes = np.stack([rng.integers(0, n, count) for n in COUNTS], axis=1)
    y = rng.integers(0, 3, count) if task == "classification" else rng.normal(size=(count, 1))
    return numbers, codes, y


def authors():
    """Return the modules of pytabkit's RealMLP; what is around them asks for more packages."""
    package = importlib.util.find_spec("pytabkit")
    if package is None:
        pytest.skip("pytabkit is not installed")
    pytest.importorskip("torch")
    folder = f"{package.submodule_search_locations[0]}/models"
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("realmlp.model"), importlib.import_module("realmlp.train")
    finally:
        sys.path.remove(folder)


def named_as_here(twin):
    """Return the parameters of the authors' network by our names, and in our order of features."""
    own = {name: p.detach().numpy()[0].copy() for name, p in twin.named_parameters()}
    order = [i for j in range(4) for i in (3 * j, 3 * j + 1, 3 * j + 2, 12 + j)] + [*range(16, 32)]
    named = {
        "0.embedded.0.frequency": own["plr_weight_1"][:, 0],
        "0.embedded.0.phase": own["plr_bias_1"][:, 0],
        "0.embedded.0.weight": own["plr_weight_2"],
        "0.embedded.0.bias": own["plr_bias_2"][:, 0],
        "0.values.0.weight": own["cat_emb"],
        "1.weight": own["mlp.0.scale"][0, order],
    }
    place = 2
    for i, layer in enumerate(list(twin.mlp)[1:], 1):
        kind = type(layer).__name__
        if kind == "Weight":
            weight = own[f"mlp.{i}.weight"]
            named[f"{place}.weight"] = weight[order] if place == 2 else weight
        elif kind == "Bias":
            named[f"{place}.bias"] = own[f"mlp.{i}.bias"][0]
            place += 1
        elif kind == "Activation":
            named[f"{place}.weight"] = own[f"mlp.{i}.weight"][0]
            place += 1
    return named


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_outputs_and_steps_are_the_authors(task, backend64):
    model, train = authors()
    torch = importlib.import_module("torch")
    classes = task == "classification"
    make = model.RealMLPConfig.td_class if classes else model.RealMLPConfig.td_reg
    config, outputs = make(hidden_sizes=[16, 16, 16], p_drop=0.0), 3 if classes else 1
    twin = model.RealMLP(4, list(COUNTS), outputs, 1, config, classes).double()
    numbers, codes, y = dataset(task)
    inputs = torch.tensor(numbers)[None], torch.tensor(codes)[None]
    with torch.no_grad():
        twin(*inputs, init=True)
    layers = build_realmlp(4, 0, COUNTS, outputs=outputs, steps=STEPS, task=task, hidden=(16,) * 3,
                           dropout=0.0)  # fmt: skip
    x = {"numbers": numbers / np.sqrt(1 + numbers**2 / 9), "indices": offset_indices(codes, COUNTS)}
    shape = {"numbers": (4,), "indices": (2,)}
    net = nnb.Network(layers, backend=backend64, input_shape=shape)
    net.load_state_dict(named_as_here(twin))
    expected = twin(*inputs)[0]
    expected = expected.softmax(-1) if classes else expected
    assert_close(host(backend64, net.predict(x)), expected.detach().numpy(), 1e-12)

    groups = [{"params": [p], "factors": (p.lr_factor, p.wd_factor)} for p in twin.parameters()]
    theirs = torch.optim.AdamW(groups, betas=(config.mom, config.sq_mom))
    target = torch.tensor(y)[None].reshape(1, 32, 1)
    for step in range(4):
        rate = config.lr * train.SCHEDULES["coslog4"](step / STEPS)
        decay = config.wd * train.SCHEDULES["flat_cos"](step / STEPS)
        for group in theirs.param_groups:
            group["lr"], group["weight_decay"] = np.multiply(group["factors"], (rate, decay))
        found = twin(*inputs)
        loss = train.cross_entropy(found, target, 0.1) if classes else train.mse(found, target)
        theirs.zero_grad()
        loss.sum().backward()
        theirs.step()
    optimizer = build_realmlp_optimizer(layers, STEPS, task=task)
    net.fit(x, y, loss=SoftmaxCrossEntropy(0.1) if classes else mse, optimizer=optimizer, epochs=4,
            batch_size=None, verbose=0)  # fmt: skip
    assert_close(host(backend64, net.state_dict()), named_as_here(twin), 1e-10)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    "kind",
    ["plain", "one-hot", "categories", "categories-alone", "simple", "members", "everything"],
)
def test_each_variant_is_built_trained_and_saved(task, kind, tmp_path):
    count = 3 if kind in ("members", "everything") else None
    categories = COUNTS if "categories" in kind or kind == "everything" else ()
    numbers, one_hot = (0, 4) if kind == "categories-alone" else (2, 2)
    if kind == "plain":
        numbers, one_hot = 4, 0
    simple = kind == "simple"
    layers = build_realmlp(numbers, one_hot, categories, outputs=3 if task == "classification" else 1,
                           steps=12, task=task, simple=simple, hidden=(8, 8), members=count)  # fmt: skip
    table, codes, y = dataset(task)
    x = table
    if categories:
        x = {"numbers": table, "indices": offset_indices(codes, categories, members=count)}
    net = nnb.Network(layers, seed=1).initialize_from(x)
    loss = SoftmaxCrossEntropy(0.1) if task == "classification" else mse
    history = net.fit(x, y, loss=loss if count is None else EachMember(loss), epochs=3, batch_size=8,
                      optimizer=build_realmlp_optimizer(layers, 12, task=task, simple=simple),
                      metrics=["accuracy" if task == "classification" else "rmse"],
                      verbose=0)  # fmt: skip
    assert np.isfinite(history["loss"]).all()
    p = net.predict(x)
    assert p.shape == (32, *(() if count is None else (3,)), 3 if task == "classification" else 1)
    if task == "classification":
        np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-5)
    loaded = nnb.load(net.save(tmp_path / "realmlp.safetensors"))
    np.testing.assert_array_equal(loaded.predict(x), p)


def test_factors_are_those_of_the_recipe():
    layers = build_realmlp(2, outputs=2, steps=10, hidden=(4,))
    net = nnb.Network(layers, input_shape=2)
    rules = {
        name: group.rule.numbers(5)
        for group in build_realmlp_optimizer(layers, 10).prepared(net.params).groups
        for name in group.names
    }
    plain = rules["2.weight"]
    factors = {
        name: (round(h["learning_rate"] / plain["learning_rate"], 6),
               round(h["weight_decay"] / plain["weight_decay"], 6))
        for name, h in rules.items()
    }  # fmt: skip
    embedding = dict.fromkeys(["0.frequency", "0.phase", "0.weight", "0.bias"], (0.1, 0.1))
    assert factors == embedding | {
        "1.weight": (6.0, 6.0), "2.weight": (1.0, 1.0), "2.bias": (0.1, 0.0), "3.weight": (0.1, 0.1),
        "5.weight": (1.0, 1.0), "5.bias": (0.1, 0.0),
    }  # fmt: skip


def test_it_learns_and_backends_agree(backend64):
    """A whole training, with dropout by schedule: the same on each backend."""
    x, y = rows((96, 3)), rows((96, 3))[:, :1] ** 2

    def trained(backend):
        layers = build_realmlp(3, outputs=1, steps=60, task="regression", hidden=(16, 16))
        net = nnb.Network(layers, backend=backend, seed=4).initialize_from(x[:32])
        history = net.fit(x, y, optimizer=build_realmlp_optimizer(layers, 60, task="regression"),
                          epochs=20, batch_size=32, verbose=0)  # fmt: skip
        return history["loss"], host(net.backend, net.predict(x))

    losses, p = trained(backend64)
    expected, q = trained(nnb.get_backend("numpy", dtype="float64"))
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(p, q, rtol=0, atol=1e-5)
    assert ((p - y) ** 2).mean() < 0.1 * y.var()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: build_realmlp(0, outputs=2, steps=5), "a numeric or a one-hot column"),
        (
            lambda: build_realmlp(2, outputs=1, steps=5),
            "outputs must be a whole number of at least 2",
        ),
        (lambda: build_realmlp(2, outputs=2, steps=5, task="ranking"), "task must be"),
        (
            lambda: build_realmlp(2, 0, [20], outputs=2, steps=5, simple=True),
            "TD-S embeds no categ",
        ),
        (lambda: build_realmlp(2, 0, [0], outputs=2, steps=5), r"categories\[0\]"),
        (lambda: build_realmlp_optimizer([nnb.Dense(1)], 0), "steps"),
        (
            lambda: offset_indices([[0, 3]], (2, 3)),
            r"codes\[0, 1\] is 3, and column 1 has the 3 values",
        ),
        (lambda: offset_indices([[-1]], (2,)), r"codes\[0, 0\] is -1"),
        (lambda: offset_indices([[0]], (2, 3)), r"shape \(rows, 2\)"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_codes_are_whole_numbers():
    with pytest.raises(TypeError, match="whole numbers, got an array of dtype float64"):
        offset_indices([[0.0]], (2,))
    found = offset_indices([[0, 2], [1, 0]], (2, 3), members=2)
    assert found.tolist() == [[[0, 4], [5, 9]], [[1, 2], [6, 7]]]
