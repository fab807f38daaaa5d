"""Averages of the parameters: EMA and SWA."""

from __future__ import annotations

import numpy as np
import pytest
from optimizers.wrapped import (
    X,
    Y,
    brought,
    network,
    raw_weights,
    trajectory,
    tree,
    weights,
)
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.core.tree import tree_map
from nnbackend.errors import DivergenceError
from nnbackend.optimizers import EMA, SGD, SWA, Adam, AdamW, Clipped, Grouped


def test_a_corrected_average_is_the_weighted_mean_of_the_steps(backend64):
    raw, averages, _ = trajectory(EMA(SGD(0.3), decay=0.8), backend64, steps=5)
    for t in range(1, 6):
        w = 0.8 ** np.arange(t - 1, -1, -1)
        w /= w.sum()
        expected = tree_map(lambda *ps, w=w: np.tensordot(w, np.stack(ps), 1), *raw[:t])
        assert_close(averages[t - 1], expected, 1e-13)


def test_an_uncorrected_average_starts_as_the_parameters_after_the_first_step(backend64):
    raw, averages, _ = trajectory(
        EMA(SGD(0.3), decay=0.8, bias_correction=False), backend64, steps=3
    )
    expected = raw[0]
    assert_close(averages[0], expected, 1e-14)
    for t in (1, 2):
        expected = tree_map(lambda a, p: 0.8 * a + 0.2 * p, expected, raw[t])
        assert_close(averages[t], expected, 1e-13)


def test_a_stochastic_weight_average_is_the_mean_of_every_third_step_after_the_start(backend64):
    raw, averages, _ = trajectory(SWA(SGD(0.3), start=2, every=3), backend64, steps=12)
    for t in range(1, 5):  # up to the first that counts, the parameters as they are
        assert_close(averages[t - 1], raw[t - 1], 1e-14)
    for t in range(5, 13):
        counted = [raw[i - 1] for i in range(5, t + 1, 3)]
        expected = tree_map(lambda *ps: np.mean(ps, axis=0), *counted)
        assert_close(averages[t - 1], expected, 1e-13)


def test_averaging_does_not_change_what_is_learned(backend64):
    plain, averaged = network(backend64), network(backend64)
    plain.fit(X, Y, optimizer=Adam(0.02), epochs=3, batch_size=8)
    averaged.fit(X, Y, optimizer=EMA(Adam(0.02), decay=0.9), epochs=3, batch_size=8)
    assert_close(raw_weights(averaged), weights(plain), 1e-12)
    assert plain.raw_params is plain.params
    assert not np.allclose(weights(averaged)["0.weight"], weights(plain)["0.weight"], rtol=1e-3)


def test_validation_callbacks_and_the_network_see_the_average(backend64):
    seen = []
    net = network(backend64)
    history = net.fit(
        X, Y, optimizer=EMA(SGD(0.2), decay=0.9), epochs=4, batch_size=8,
        validation_data=(X, Y), callbacks=[lambda run: seen.append(weights(run.network))],
    )  # fmt: skip
    assert net.evaluate(X, Y)["loss"] == pytest.approx(history["validation_loss"][-1], rel=1e-12)
    assert_close(seen[-1], weights(net), 1e-14)
    raw = network(backend64)
    raw.params = brought(backend64, host(backend64, net.raw_params))
    value = raw.evaluate(X, Y, loss="mse")["loss"]
    assert value != pytest.approx(history["validation_loss"][-1], rel=1e-4)
    net.load_state_dict(raw_weights(net))  # how the raw ones are taken
    assert net.evaluate(X, Y)["loss"] == pytest.approx(value, rel=1e-12)
    assert net.raw_params is net.params


def test_swa_counts_epochs_where_it_is_told_to(backend64):
    in_epochs, in_steps = network(backend64), network(backend64)
    task = {"epochs": 6, "batch_size": 8}  # three steps an epoch
    in_epochs.fit(X, Y, optimizer=SWA(SGD(0.1), 2, 2, unit="epoch"), **task)
    in_steps.fit(X, Y, optimizer=SWA(SGD(0.1), 6, 6), **task)
    assert_equal(weights(in_epochs), weights(in_steps))
    with pytest.raises(ValueError, match="in steps"):
        network(backend64).partial_fit(X, Y, optimizer=SWA(SGD(0.1), 2, unit="epoch"))


def test_before_the_first_step_the_average_is_the_start(backend):
    params = brought(backend, tree(0))
    optimizer = EMA("adam")
    start = optimizer.averaged(params, optimizer.init(params))
    assert_equal(host(backend, start), host(backend, params))
    seen = []

    class AtStart(nnb.callbacks.Callback):
        def start(self, run):
            seen.append(weights(run.network))

    net = network(backend)
    before = weights(net)
    net.fit(X, Y, optimizer=optimizer, callbacks=[AtStart()])
    assert_equal(seen[0], before)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_diverged_run_leaves_a_finite_average(batch_size, backend):
    net = network(backend)
    with pytest.raises(DivergenceError):
        net.fit(X, Y, optimizer=EMA(SGD(1e18), decay=0.5), epochs=20, batch_size=batch_size)
    assert all(np.isfinite(w).all() for w in [*weights(net).values(), *raw_weights(net).values()])


def test_a_resumed_run_goes_on_with_its_average(backend64, tmp_path):
    optimizer = EMA(Clipped(Grouped(AdamW(0.02), decay="weights"), norm=0.5), decay=0.8)
    task = {"optimizer": optimizer, "batch_size": 8, "accumulate": 2}
    whole, begun, resumed = (network(backend64) for _ in range(3))
    whole.fit(X, Y, epochs=4, **task)
    task["callbacks"] = [nnb.callbacks.Checkpoint(tmp_path)]
    begun.fit(X, Y, epochs=2, **task)
    resumed.fit(X, Y, epochs=4, resume=tmp_path, **task)
    assert_equal(weights(resumed), weights(whole))
    assert_equal(raw_weights(resumed), raw_weights(whole))
