"""Networks made ready to predict: temperatures, bounds, several as one."""

from __future__ import annotations

import numpy as np
import pytest
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.core.functional import softmax
from nnbackend.tabular.prediction import (
    calibrate,
    ending_of,
    find_temperature,
    join_networks,
    with_ending,
)

RNG = np.random.default_rng(0)


def loss_of(logits, labels, temperature, weight=None):
    """The cross-entropy with Platt's targets, written as simply as it can be."""
    members = logits if logits.ndim == 3 else logits[:, None]
    total, counted = 0.0, 0.0
    for row, label in enumerate(labels):
        p = softmax(members[row] / temperature, np).mean(axis=0)
        n, classes = len(labels), len(p)
        t = np.full(classes, 1 / (n + 2) / (classes - 1))
        t[label] = (n + 1) / (n + 2)
        w = 1.0 if weight is None else weight[row]
        total, counted = total - w * (t @ np.log(p)), counted + w
    return total / counted


def drawn(rows, classes, members=None, scale=1.0):
    """Logits, and labels drawn from the probabilities that their ``scale``-th part means."""
    z = RNG.normal(size=(rows, classes)) * 2
    p = softmax(z, np)
    labels = np.array([RNG.choice(classes, p=each) for each in p])
    z = z * scale
    if members is not None:
        z = z[:, None] + 0.3 * RNG.normal(size=(rows, members, classes))
    return z, labels


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("members", "scale"), [(None, 3.0), (None, 0.3), (3, 2.0)])
def test_the_temperature_is_the_minimum_that_scipy_finds(members, scale, weighted):
    optimize = pytest.importorskip("scipy.optimize")
    logits, labels = drawn(200, 3, members, scale)
    weight = RNG.uniform(0.0, 3.0, 200) if weighted else None
    found = find_temperature(logits, labels, weight)
    best = optimize.minimize_scalar(
        lambda log: loss_of(logits, labels, np.exp(log), weight),
        bounds=(np.log(0.1), np.log(10.0)), method="bounded", options={"xatol": 1e-7},
    )  # fmt: skip
    assert found == pytest.approx(np.exp(best.x), rel=2e-3)
    assert loss_of(logits, labels, found, weight) <= best.fun + 1e-6
    assert found == pytest.approx(scale, rel=0.4)  # it is what the logits were multiplied by


def test_temperatures_have_ends_and_few_rows_have_none():
    logits, labels = drawn(19, 2, scale=5.0)
    assert find_temperature(logits, labels) == 1.0
    right = np.eye(2)[np.arange(40) % 2] * 1e-3  # always right, never sure
    assert find_temperature(right, np.arange(40) % 2) == pytest.approx(0.1, rel=1e-3)
    wrong = np.eye(2)[(np.arange(40) + 1) % 2] * 1e3
    assert find_temperature(wrong, np.arange(40) % 2) == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize("members", [None, 3])
def test_calibrating_divides_logits(backend64, members):
    from nnbackend.tabular import build_realmlp

    layers = build_realmlp(4, outputs=3, steps=10, hidden=(8,), members=members, dropout=0.0)
    net = nnb.Network(layers, backend=backend64, seed=1, input_shape=4)
    x = RNG.normal(size=(60, 4))
    net.initialize_from(x)
    head = nnb.Network(layers[:-1], backend=backend64, input_shape=4)
    head.load_state_dict(net.state_dict())
    logits = host(backend64, head.predict(x))
    labels = RNG.integers(0, 3, 60)
    before = host(backend64, net.predict(x))
    temperature = calibrate(net, x, labels)
    assert temperature == pytest.approx(find_temperature(logits, labels), rel=1e-6)
    assert temperature != 1.0
    after = host(backend64, net.predict(x))
    assert_close(after, softmax(logits / temperature, np), 1e-12)
    if members is None:
        assert (after.argmax(-1) == before.argmax(-1)).all()


def test_bounds_and_members(backend64):
    net = nnb.Network([nnb.Dense(1)], backend=backend64, input_shape=2)
    x = RNG.normal(size=(50, 2)) * 10
    free = host(backend64, net.predict(x))
    bounded = with_ending(net, ending_of(None, (-1.0, 2.0)))
    assert_close(host(backend64, bounded.predict(x)), np.clip(free, -1.0, 2.0), 1e-12)
    assert with_ending(net, ending_of(None, None)) is net
    assert ending_of(None, (1.0, 1.0)) == []
    members = nnb.Network([nnb.layers.Replicate(3), nnb.layers.MemberDense(1, 3)],
                          backend=backend64, input_shape=2)  # fmt: skip
    members.metadata["kept"] = 1
    mean = with_ending(members, ending_of(3, (-1.0, 2.0)))
    expected = np.clip(host(backend64, members.predict(x)).mean(axis=1), -1.0, 2.0)
    assert_close(host(backend64, mean.predict(x)), expected, 1e-12)
    assert mean.metadata == {"kept": 1}


def test_several_networks_predict_their_mean(backend64, tmp_path):
    def build(seed):
        layers = [nnb.Dense(5, activation="tanh"), nnb.layers.BatchNorm(), nnb.Dense(2)]
        net = nnb.Network(layers, backend=backend64, seed=seed, input_shape=3)
        return net.fit(x, y, loss="mse", epochs=1, verbose=0) and net

    x, y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
    nets = [build(seed) for seed in range(3)]
    joined = join_networks(nets)
    expected = np.mean([host(backend64, net.predict(x)) for net in nets], axis=0)
    assert_close(host(backend64, joined.predict(x)), expected, 1e-12)
    joined.save(tmp_path / "joined")
    assert_close(nnb.load(tmp_path / "joined").predict(x), expected, 1e-6)
    assert join_networks(nets[:1]) is nets[0]
