"""Data that stay on the host, for they do not fit on the device: the same training, to the last bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.backends.device import Memory
from nnbackend.data import host_data
from nnbackend.data.adapter import DataAdapter
from nnbackend.data.host_data import HostSamples

ROWS = 90
X = np.random.default_rng(0).normal(size=(ROWS, 6)).astype("f4")
LABELS = np.arange(ROWS) % 3
TARGETS = X @ np.random.default_rng(1).normal(size=(6, 2)).astype("f4")
WEIGHTS = np.linspace(0.5, 2.0, ROWS)


def network(backend, outputs=3):
    layers = [nnb.Dense(8, "relu"), nnb.Dropout(0.2), nnb.Dense(outputs)]
    return nnb.Network(layers, backend=backend, seed=4)


TASKS = {
    "classes": (LABELS, {"loss": "softmax_cross_entropy", "metrics": ["accuracy"]}),
    "numbers": (TARGETS, {"loss": "mse", "metrics": ["mae"]}),
    "in order": (TARGETS, {"loss": "mse", "shuffle": False}),
    "weights": (LABELS, {"loss": "softmax_cross_entropy", "sample_weight": WEIGHTS}),
    "class weights": (LABELS, {"loss": "softmax_cross_entropy", "class_weight": "balanced",
                               "sample_weight": WEIGHTS, "metrics": ["accuracy"]}),
    "split": (LABELS, {"loss": "softmax_cross_entropy", "validation_split": 0.3, "stratify": True,
                       "sample_weight": WEIGHTS}),
    "validation": (TARGETS, {"loss": "mse", "metrics": ["r2"],
                             "validation_data": (X[:50], TARGETS[:50], WEIGHTS[:50])}),
    "parts": (TARGETS, {"loss": "mse", "accumulate": 3, "optimizer": "muon"}),
    "all rows": (TARGETS, {"loss": "mse", "batch_size": None}),
    "a split of one batch": (TARGETS, {"loss": "mse", "validation_split": 0.2, "batch_size": 80}),
}  # fmt: skip


COMPILED = {"classes", "split", "all rows"}


@pytest.mark.parametrize("name", TASKS)
def test_training_from_the_host_is_the_same(backend, name, monkeypatch):
    if backend.name == "jax" and name not in COMPILED:
        pytest.skip("the rest is compiled for longer than it is worth")
    monkeypatch.setattr(type(backend), "block_bytes", 900)  # several blocks
    y, task = TASKS[name]
    task = {"batch_size": 9, "epochs": 2, "verbose": 0} | task
    outputs = 2 if y is TARGETS else 3
    here, there = network(backend, outputs), network(backend, outputs)
    expected = here.fit(X, y, data_on="device", **task).to_dict()
    found = there.fit(X, y, data_on="host", **task).to_dict()
    assert_equal(host(backend, there.params), host(backend, here.params))
    for name in expected.keys() - {"seconds"}:
        assert found[name] == expected[name], name


class Places:
    """Notes where samples of fits and evaluations lie."""

    def __init__(self, monkeypatch):
        self.seen = []
        made = DataAdapter.samples

        def samples(intake, *args, **kwargs):
            found = made(intake, *args, **kwargs)
            self.seen.append("host" if isinstance(found, HostSamples) else "device")
            return found

        monkeypatch.setattr(DataAdapter, "samples", samples)


@pytest.fixture
def places(monkeypatch):
    return Places(monkeypatch)


def leave(backend, free, monkeypatch):
    """Make it seem that a device has so many bytes free."""
    memory = Memory(used=0, held=0, free=free, total=1 << 40, peak=0)
    monkeypatch.setattr(type(backend), "memory", lambda self: memory)
    monkeypatch.setattr(host_data, "_ALWAYS_FITS_BYTES", 0)


def test_what_does_not_fit_stays_on_the_host(backend, places, monkeypatch):
    size = 4 * (X.size + LABELS.size)
    task = {"loss": "softmax_cross_entropy", "batch_size": 8, "verbose": 0}
    expected = network(backend)
    expected.fit(X, LABELS, **task)
    for free, place in ((2 * size, "device"), (2 * size - 1, "host")):
        leave(backend, free, monkeypatch)
        net = network(backend)
        net.fit(X, LABELS, **task)
        net.evaluate(X, LABELS)
        assert places.seen[-2:] == [place, place]
        assert_equal(host(backend, net.params), host(backend, expected.params))
    net.fit(X, LABELS, data_on="device", **task)
    net.fit(X, LABELS, batch_size=ROWS, loss="softmax_cross_entropy", verbose=0)
    assert places.seen[-2:] == ["device", "device"]
    net.fit(X[:40], LABELS[:40], validation_data=(X, LABELS), **task)
    assert places.seen[-2:] == ["host", "device"]


def test_what_nobody_counts_is_on_the_device(backend, places, monkeypatch):
    if backend.memory() is not None:
        pytest.skip("this device counts its memory")
    monkeypatch.setattr(host_data, "_ALWAYS_FITS_BYTES", 0)
    network(backend).fit(X, LABELS, loss="softmax_cross_entropy", verbose=0)
    assert places.seen == ["device"]


def test_evaluating_from_the_host_is_the_same(backend, monkeypatch):
    rows = nnb.inference.predictor.batch_rows
    for module in (nnb.inference.predictor, host_data):
        monkeypatch.setattr(module, "batch_rows", lambda *given: min(rows(*given), 16))
    net = network(backend).build(6)
    ask = {"loss": "softmax_cross_entropy", "metrics": ["accuracy", "f1"], "sample_weight": WEIGHTS}
    expected = net.evaluate(X, LABELS, **ask)
    leave(backend, 1, monkeypatch)
    assert net.evaluate(X, LABELS, **ask) == expected


def test_predicting_from_and_to_the_host_is_the_same(backend, monkeypatch):
    net = network(backend).build(6)
    expected = host(backend, net.predict(X, batch_size=16))
    on_host = net.predict(X, batch_size=16, on_host=True)
    assert isinstance(on_host, np.ndarray)
    assert_equal(on_host, expected)
    assert_equal(net.predict(net.backend.asarray(X), batch_size=16, on_host=True), expected)
    assert_equal(net.predict(X.tolist(), on_host=True), host(backend, net.predict(X)))
    leave(backend, 1, monkeypatch)
    y = net.predict(X, batch_size=16)
    assert str(y.device) == str(backend.device)
    assert_equal(host(backend, y), expected)
    assert_equal(net.predict(X, batch_size=16, on_host=True), expected)
    assert_equal(host(backend, network(backend).predict(X, batch_size=16)), expected)


def test_bad_rows_of_large_data_are_named_as_elsewhere(backend, monkeypatch):
    leave(backend, 1, monkeypatch)
    net = network(backend).build(6)
    bad = X.copy()
    bad[70, 2] = np.nan
    with pytest.raises(
        ValueError, match=r"X has 1 number that is not finite, the first \(nan\) at X\[70, 2\]"
    ):
        net.predict(bad, batch_size=16)
    task = {"loss": "softmax_cross_entropy", "batch_size": 8, "verbose": 0}
    with pytest.raises(ValueError, match=r"X\[70, 2\]"):
        net.fit(bad, LABELS, **task)
    with pytest.raises(ValueError, match="labels outside"):
        net.fit(X, LABELS + 1, **task)
    with pytest.raises(ValueError, match="same length"):
        net.fit(X, LABELS[:-1], **task)
    for strange in (X[:, :5], X[0], X[:0]):
        with pytest.raises(
            ValueError, match=r"X (has rows of shape|must have one row|has no rows)"
        ):
            net.fit(strange, LABELS[: len(strange)], **task)
    with pytest.raises(ValueError, match="X has no rows"):
        net.predict(X[:0], on_host=True)


def test_an_unbuilt_network_is_built_from_data_that_stay(backend, monkeypatch):
    leave(backend, 1, monkeypatch)
    net = network(backend)
    net.fit(X, LABELS, loss="softmax_cross_entropy", batch_size=8, verbose=0)
    assert net.input_shape == (6,)
    refused = network(backend)
    with pytest.raises(ValueError, match="labels outside"):
        refused.fit(X, LABELS + 1, loss="softmax_cross_entropy", batch_size=8)
    assert refused.input_shape is None


@pytest.mark.parametrize("wrong", ["disk", None, 1, "Host"])
def test_another_place_is_refused(backend, wrong):
    with pytest.raises(ValueError, match="data_on must be 'auto', 'device' or 'host', got"):
        network(backend).fit(X, TARGETS, data_on=wrong)


def test_a_run_goes_on_wherever_its_data_lie(backend, tmp_path):
    task = {"loss": "softmax_cross_entropy", "batch_size": 8, "verbose": 0, "metrics": ["accuracy"]}
    whole = network(backend)
    keep = nnb.callbacks.Checkpoint(tmp_path, every_steps=3)
    watched = nnb.callbacks.Lambda(batch_end=lambda run: None)
    if (
        backend.static_shapes
    ):  # where a compiled block of one step may round otherwise than of three
        watched = nnb.callbacks.Checkpoint(tmp_path / "whole", every_steps=3)
    whole.fit(X, LABELS, epochs=4, callbacks=[watched], **task)

    class Leave(nnb.callbacks.Callback):
        batch_interval = 3

        def batch_end(self, run):
            if (run.epoch, run.step) == (2, 6):
                run.stop("enough", at_once=True)

    network(backend).fit(X, LABELS, epochs=4, callbacks=[keep, Leave()], **task)
    resumed = network(backend)
    resumed.fit(X, LABELS, epochs=4, callbacks=[keep], resume=tmp_path, data_on="host", **task)
    assert_equal(host(backend, resumed.params), host(backend, whole.params))


def test_the_reading_thread_ends_with_the_run(backend, monkeypatch):
    monkeypatch.setattr(type(backend), "block_bytes", 900)

    class Fail(nnb.callbacks.Callback):
        every_batch = False

        def batch_end(self, run):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        network(backend).fit(X, LABELS, loss="softmax_cross_entropy", batch_size=8, data_on="host",
                             callbacks=[Fail()], verbose=0)  # fmt: skip
    assert not [t for t in threading.enumerate() if t.name == "nnbackend reader"]


def test_the_data_are_not_changed_nor_copied_where_the_dtype_is_theirs(backend):
    x = X.copy()
    net = network(backend)
    net.build(x.shape[1:])
    intake = net._data_adapter(nnb.losses.get("softmax_cross_entropy"))
    samples = intake.samples(x, LABELS, placement=host_data.host_backend(backend))
    assert samples.x is x
    net.fit(x, LABELS, loss="softmax_cross_entropy", batch_size=8, data_on="host", verbose=0)
    np.testing.assert_array_equal(x, X)


def test_lbfgs_takes_all_rows_on_the_device(backend, places, monkeypatch):
    pytest.importorskip("scipy")
    leave(backend, 1, monkeypatch)
    net = nnb.Network([nnb.Dense(2)], backend=backend)
    net.fit(X, TARGETS, optimizer="lbfgs", batch_size=None, epochs=2, verbose=0)
    assert places.seen == ["device"]
