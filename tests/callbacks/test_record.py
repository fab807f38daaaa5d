"""What is recorded while a network learns."""

from __future__ import annotations

import numpy as np
import pytest
from callbacks.runs import X, Y, network
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, Lambda, Record, Run
from nnbackend.core.tree import flatten


def test_the_parameters_of_each_moment_are_those_of_the_network(backend):
    seen = []

    def look(run):
        seen.append(host(run.network.backend, flatten(run.network.params)))

    record = Record(every=2)
    net = network(backend)
    first = host(net.backend, net.state_dict())
    history = net.fit(X, Y, epochs=5, batch_size=5, callbacks=[record, look])
    assert record.steps.tolist() == [0, 4, 8]
    assert record.epochs.tolist() == [0, 2, 4]
    assert np.isnan(record.loss[0])
    assert record.loss[1:].tolist() == history["loss"][1::2]
    assert list(record.parameters) == ["0.weight", "0.bias"]
    for i, expected in enumerate([first, seen[1], seen[3]]):
        assert_equal({name: a[i] for name, a in record.parameters.items()}, expected)
    assert record.gradient_norms == {}
    assert np.isnan(record.probe_loss).all()


def test_gradients_are_those_of_the_probe_at_the_parameters_of_the_moment(backend):
    net = nnb.Network(
        [nnb.Dense(3, "tanh"), nnb.Dropout(0.4), nnb.Dense(1)], backend=backend, input_shape=3
    )
    record = Record(probe=(X[:4], Y[:4]))
    net.fit(X, Y, loss="mae", epochs=3, callbacks=[record])
    for i in range(4):
        other = nnb.Network(net.layers, backend=net.backend, input_shape=3)
        other.load_state_dict({name: a[i] for name, a in record.parameters.items()})
        step = int(record.steps[i])
        y, backward = other.forward(X[:4], training=True, step=step)
        with other.backend.scope():
            loss, dy = nnb.losses.mae(y, other.backend.asarray(Y[:4]))
        grads = host(other.backend, flatten(backward(dy)[1]))
        assert record.probe_loss[i] == float(loss)
        for name, values in grads.items():
            wide = values.astype(np.float64)
            assert_close(record.gradient_norms[name][i], np.linalg.norm(wide), 1e-12)
            expected = np.quantile(wide, [0, 0.25, 0.5, 0.75, 1])
            assert_equal(record.gradient_quantiles[name][i], expected)
    weights = record.parameters["0.weight"].reshape(4, -1).astype(np.float64)
    ends = np.stack([weights.min(axis=1), weights.max(axis=1)], axis=1)
    assert_equal(record.weight_quantiles["0.weight"][:, [0, -1]], ends)
    assert_close(record.weight_norms["0.weight"], np.linalg.norm(weights, axis=1), 1e-12)


def test_it_only_watches():
    plain, watched = network(), network()
    expected = plain.fit(X, Y, epochs=4, batch_size=3)
    found = watched.fit(X, Y, epochs=4, batch_size=3, callbacks=[Record(probe=(X, Y))])
    assert found["loss"] == expected["loss"]
    assert_equal(watched.state_dict(), plain.state_dict())


def test_steps_within_an_epoch():
    record = Record(every_steps=2)
    network().fit(X, Y, epochs=2, batch_size=2, callbacks=[record])
    assert record.steps.tolist() == [0, 2, 4, 7, 9]  # blocks of steps begin with the epoch
    assert record.epochs.tolist() == [0, 1, 1, 2, 2]
    assert np.isfinite(record.loss[1:]).all()


def test_the_moments_are_bounded_and_evenly_apart():
    record = Record(most=6)
    network().fit(X, Y, epochs=100, batch_size=None, callbacks=[record])
    assert record.interval == 32
    assert record.steps.tolist() == [0, 32, 64, 96]
    assert len(record) == 4


def test_of_many_parameters_only_statistics_are_kept():
    record = Record(max_parameters=3)
    network().fit(X, Y, epochs=2, callbacks=[record])
    assert record.parameters == {}
    assert "of 4 parameters only norms and quantiles are kept" in record.note
    assert record.weight_norms["0.weight"].shape == (3,)
    record = Record(max_parameters=4)
    network().fit(X, Y, epochs=2, callbacks=[record])
    assert record.note == ""
    assert record.parameters["0.bias"].shape == (3, 1)


def test_a_second_run_starts_anew():
    record = Record()
    net = network()
    net.fit(X, Y, epochs=3, callbacks=[record])
    net.fit(X, Y, epochs=2, callbacks=[record])
    assert record.epochs.tolist() == [0, 1, 2]


def test_a_resumed_run_goes_on_with_its_record(tmp_path):
    whole = Record(most=4, probe=(X, Y))
    network().fit(X, Y, epochs=9, callbacks=[whole])
    fail = Lambda(epoch_start=lambda run: 1 / (run.epoch - 6))
    with pytest.raises(ZeroDivisionError):
        network().fit(
            X, Y, epochs=9, callbacks=[Record(most=4, probe=(X, Y)), Checkpoint(tmp_path), fail]
        )
    resumed = Record(most=4, probe=(X, Y))
    network().fit(X, Y, epochs=9, callbacks=[resumed], resume=tmp_path)
    assert_equal(resumed.state(), whole.state())


def test_in_a_loop_of_your_own():
    net, record = network(), Record(probe=(X, Y), loss="mse")
    optimizer = nnb.SGD(0.1)
    with Run(net, epochs=2, callbacks=[record]) as run:
        state = optimizer.init(net.params)
        for _ in run:
            y, backward = net.forward(X, training=True)
            loss, dy = nnb.losses.mse(y, net.backend.asarray(Y))
            net.params, state = optimizer.update(net.params, backward(dy)[1], state)
            run.batch_end(loss)
            run.epoch_end(loss=float(loss))
    assert record.steps.tolist() == [0, 1, 2]
    assert record.probe_loss[0] == run.history["loss"][0]


def test_what_it_refuses():
    with pytest.raises(ValueError, match=r"probe must be rows and their targets, \(x, y\)"):
        Record(probe=X)
    with pytest.raises(ValueError, match="loss is that of the probe"):
        Record(loss="mse")
    with pytest.raises(ValueError, match="most"):
        Record(most=1)
    with pytest.raises(ValueError, match="every"):
        Record(every=0)
    with pytest.raises(ValueError, match="shape") as caught:
        network().fit(X, Y, callbacks=[Record(probe=(X[:, :2], Y))])
    assert "raised by the callback Record" in caught.value.__notes__[0]
