"""Resumed runs end as if nothing had happened, in ``fit`` and in users' loops."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from saving.runs import LAYERS, X, Y, exact, network, weights
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import (
    Checkpoint,
    EarlyStopping,
    JSONLines,
    Lambda,
    LearningRateLog,
    Run,
    TerminateOnNaN,
)
from nnbackend.errors import ResumeError
from nnbackend.saving import checkpoint as checkpoints
from nnbackend.saving import model_file
from nnbackend.saving.model_file import describe_network

LABELS = (Y[:, 0] > 0).astype(int)
WEIGHT = np.linspace(0.0, 2.0, 23)


def without_seconds(history):
    timed = ("seconds", "waiting")
    return {name: column for name, column in history.to_dict().items() if name not in timed}


class Cut(Exception):
    """Ends a run in the middle."""


def cut(epoch, step=None):
    """Return a callback that ends the run after an epoch, or a step of the next one."""

    def check(run):
        if (run.epoch, run.step if step else None) == (epoch, step):
            raise Cut

    return Lambda(batch_end=check) if step else Lambda(epoch_end=check)


def same_as_uninterrupted(backend, where, directory, exact, make=network, x=X, y=Y, **task):
    """Assert that a run which was cut and goes on ends as the one that was not."""
    task = {"epochs": 5, "batch_size": 5, "optimizer": nnb.Adam(0.02), **task}
    callbacks = task.pop("callbacks", list)
    whole, first, second = make(backend), make(backend), make(backend)

    def watching(folder, *others):
        # On a library with static shapes the last bits depend on which steps are run together.
        checkpoint = Checkpoint(directory / folder, every_steps=1 if where[1] else None)
        return [*callbacks(), checkpoint, *others]

    expected = whole.fit(x, y, callbacks=watching("whole"), **task)
    with pytest.raises(Cut):
        first.fit(x, y, callbacks=watching("cut", cut(*where)), **task)
    history = second.fit(x, y, callbacks=watching("cut"), resume=directory / "cut", **task)
    compare = assert_equal if exact else lambda a, b: assert_close(a, b, 1e-6)
    compare(weights(second), weights(whole))
    got, wanted = without_seconds(history), without_seconds(expected)
    assert got.keys() == wanted.keys()
    for name in wanted:
        compare(np.asarray(got[name]), np.asarray(wanted[name]))
    assert history.stopped == expected.stopped
    # The networks go on alike, too: with the same masks and orders.
    again = {**task, "epochs": 1}
    second.fit(x, y, **again), whole.fit(x, y, **again)
    compare(weights(second), weights(whole))


PLACES = [(2, None), (3, 2), (1, 1), (2, 4)]


@pytest.mark.parametrize("where", PLACES, ids=str)
def test_a_run_goes_on_as_if_nothing_had_happened(where, backend, variant, tmp_path):
    same_as_uninterrupted(
        backend, where, tmp_path, exact(variant), metrics=["mae"], validation_split=0.2
    )


TASKS = {
    "sgd": {"optimizer": nnb.SGD(0.05)},
    "momentum": {"optimizer": nnb.SGD(0.05, momentum=0.9)},
    "rmsprop": {"optimizer": "rmsprop"},
    "adamw": {"optimizer": "adamw"},
    "schedule": {"optimizer": nnb.Adam(lambda step: 0.05 / (1 + step))},
    "average": {"optimizer": nnb.optimizers.EMA(nnb.Adam(0.02), decay=0.9)},
    "clipped": {"optimizer": nnb.optimizers.Clipped(nnb.SGD(0.1, momentum=0.9), norm=0.5)},
    "accumulated": {"accumulate": 2, "metrics": ["mae"]},
    "matrices": {"optimizer": nnb.Muon(0.01)},
    "weights": {"sample_weight": WEIGHT, "metrics": ["r2"]},
    "in order": {"shuffle": False, "metrics": ["mae"]},
    "one batch": {"batch_size": None},
    "classes": {"y": LABELS, "loss": "binary_cross_entropy", "metrics": ["accuracy"]},
    "validation data": {"validation_data": (X[:5], Y[:5])},
    "callbacks": {
        "validation_split": 0.3,
        "optimizer": nnb.SGD(1.0, momentum=0.9),
        "epochs": 12,
        "callbacks": lambda: [EarlyStopping(patience=4), LearningRateLog()],
    },
    "factor": {
        "callbacks": lambda: [
            Lambda(epoch_end=lambda run: setattr(run, "learning_rate_factor", 0.5**run.epoch))
        ]
    },
}


@pytest.mark.parametrize("task", TASKS)
def test_whatever_is_trained(task, backend64, variant, tmp_path):
    where = (2, None) if task == "one batch" else (3, 1)
    same_as_uninterrupted(backend64, where, tmp_path, exact(variant), **TASKS[task])


def test_a_finished_run_that_is_resumed_does_nothing_more_or_goes_on_for_longer(tmp_path):
    task = {"batch_size": 5, "optimizer": "adam"}
    first, second, longer, whole = (network() for _ in range(4))
    first.fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path)], **task)
    history = second.fit(X, Y, epochs=3, resume=tmp_path, **task)
    assert len(history) == 3
    assert history.stopped is None
    assert_equal(weights(second), weights(first))
    longer.fit(X, Y, epochs=6, resume=tmp_path, **task)
    whole.fit(X, Y, epochs=6, **task)
    assert_equal(weights(longer), weights(whole))


def test_a_network_that_was_fitted_before_goes_on_alike(tmp_path):
    """Its orders and masks go on from those of the first fit."""
    task = {"epochs": 4, "batch_size": 5}
    whole, cut_off = network(), network()
    for net in (whole, cut_off):
        net.fit(X, Y, epochs=2, batch_size=5)
    whole.fit(X, Y, **task)
    with pytest.raises(Cut):
        cut_off.fit(X, Y, callbacks=[Checkpoint(tmp_path), cut(2)], **task)
    fresh = network()
    fresh.fit(X, Y, resume=tmp_path, **task)
    assert_equal(weights(fresh), weights(whole))
    assert fresh.trained == whole.trained == (30, 6)


def test_early_stopping_goes_on_where_it_was(tmp_path):
    task = {"epochs": 60, "batch_size": 5, "validation_split": 0.3,
            "optimizer": nnb.SGD(0.5, momentum=0.9)}  # fmt: skip
    whole = network()
    expected = whole.fit(X, Y, callbacks=[EarlyStopping(patience=6)], **task)
    assert 6 < len(expected) < 60
    for last in (3, len(expected) - 1, len(expected)):
        net, again = network(), network()
        checkpoint = Checkpoint(tmp_path / str(last))
        with pytest.raises(Cut):
            net.fit(X, Y, callbacks=[checkpoint, EarlyStopping(patience=6), cut(last)], **task)
        found = again.fit(
            X, Y, callbacks=[EarlyStopping(patience=6)], resume=checkpoint.directory, **task
        )
        assert found.stopped == expected.stopped
        assert len(found) == len(expected)
        assert_equal(weights(again), weights(whole))  # the best ones


def test_a_run_goes_on_on_another_backend_to_rounding(backend64, tmp_path):
    task = {"epochs": 4, "batch_size": 5, "optimizer": "adam", "metrics": ["mae"]}
    numpy = nnb.get_backend("numpy", dtype="float64")
    whole, first, second = network(numpy), network(numpy), network(backend64)
    expected = whole.fit(X, Y, **task)
    with pytest.raises(Cut):
        first.fit(X, Y, callbacks=[Checkpoint(tmp_path, every_steps=2), cut(2, 2)], **task)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = second.fit(X, Y, resume=tmp_path, **task)
    elsewhere = [w for w in caught if "elsewhere" in str(w.message)]
    assert len(elsewhere) == (backend64.description != numpy.description)
    assert_close(weights(second), weights(whole), 1e-10)
    np.testing.assert_allclose(history["mae"], expected["mae"], rtol=1e-10)


def test_the_learning_rates_of_all_steps_are_there(backend, tmp_path):
    task = {"epochs": 3, "batch_size": 5, "optimizer": nnb.SGD(lambda step: 1.0 / (step + 1))}
    log = LearningRateLog()
    with pytest.raises(Cut):
        network(backend).fit(X, Y, callbacks=[LearningRateLog(), Checkpoint(tmp_path), cut(2)],
                             **task)  # fmt: skip
    network(backend).fit(X, Y, callbacks=[log], resume=tmp_path, **task)
    assert log.steps == [*range(1, 16)]
    assert log.rates == [1.0 / step for step in log.steps]
    third = LearningRateLog(every=3)
    network(backend).fit(X, Y, callbacks=[third], **task)
    assert third.steps == [3, 6, 9, 12, 15]


def test_an_older_checkpoint_can_be_gone_back_to(tmp_path):
    network().fit(X, Y, epochs=4, callbacks=[Checkpoint(tmp_path, keep=None)])
    second = next(path for path in checkpoints.files(tmp_path) if "epoch-0002" in path.name)
    net, whole = network(), network()
    net.fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path, keep=None)], resume=second)
    whole.fit(X, Y, epochs=3)
    assert_equal(weights(net), weights(whole))
    assert checkpoints.load(checkpoints.newest(tmp_path)).state["epoch"] == 3


def test_one_callback_object_serves_several_runs(tmp_path):
    checkpoint, stopping = Checkpoint(tmp_path), EarlyStopping("loss", patience=2)
    for _ in range(2):
        net = network()
        history = net.fit(X, Y, epochs=4, batch_size=5, callbacks=[stopping, checkpoint])
        assert checkpoint.latest == checkpoints.newest(tmp_path)
        assert stopping.best == min(history["loss"])


OTHERS = {
    "network": ({"make": lambda: nnb.Network([nnb.Dense(4, "tanh"), *LAYERS[1:]], seed=3)},
                "network layers 0 out_features is 5 in the checkpoint and 4 here"),
    "layers": ({"make": lambda: nnb.Network(LAYERS[::2], seed=3)},
               r"layers is \[Dense\(.*, Dropout.*, Dense\(.* and \[Dense\([^]]*, Dense\([^]]*\] here"),
    "seed": ({"make": lambda: network(seed=4)}, "seed is 3 in the checkpoint and 4 here"),
    "dtype": ({"make": lambda: network(dtype="float64")},
              'dtype is "float32" in the checkpoint and "float64" here'),
    "optimizer": ({"optimizer": "sgd"}, 'optimizer is "adam" in the .* and "sgd" here'),
    "learning rate": ({"optimizer": nnb.Adam(0.5)}, "optimizer learning_rate is 0.001 .* 0.5 here"),
    "schedule": ({"optimizer": nnb.Adam(lambda step: 0.001)}, "learning_rate is 0.001 .*<lambda>"),
    "loss": ({"loss": "mae"}, 'loss is "mse" in the checkpoint and "mae" here'),
    "rows": ({"x": X[1:], "y": Y[1:]}, "rows is 23 in the checkpoint and 22 here"),
    "columns": ({"x": X[:, :2], "make": lambda: nnb.Network(LAYERS, seed=3)}, "input_shape 0 is 3 .* 2"),
    "values": ({"x": X[::-1].copy()}, "data .a checksum. is"),
    "batch size": ({"batch_size": 6}, "batch_size is 5 in the checkpoint and 6 here"),
    "order": ({"shuffle": False}, "shuffle is true in the checkpoint and false here"),
    "weights": ({"sample_weight": WEIGHT}, "weights is false in the checkpoint and true here"),
    "metrics": ({"metrics": ["mae"]}, "metrics mae is null in the checkpoint"),
    "validation": ({"validation_split": 0.2}, "validation rows is null in the checkpoint and 5"),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_saying_what_differs(other, saved):
    changes, words = OTHERS[other]
    task = {"epochs": 3, "batch_size": 5, "make": network, "x": X, "y": Y, **changes}
    net = task.pop("make")()
    before = None if net.input_shape is None else weights(net)
    with pytest.raises(ResumeError, match=words):
        net.fit(task.pop("x"), task.pop("y"), resume=saved, **task)
    assert (before is None) == (net.input_shape is None)  # nothing has changed
    if before is not None:
        assert_equal(weights(net), before)


def test_a_checkpoint_of_another_version_is_refused(saved, monkeypatch):
    monkeypatch.setattr("nnbackend.callbacks.run.__version__", "9.9.9")
    with pytest.raises(ResumeError, match=r'nnbackend is "0.1.0" in .* and "9.9.9" here'):
        network().fit(X, Y, epochs=3, batch_size=5, resume=saved)


def test_measuring_a_resumed_run_changes_nothing(tmp_path):
    net, whole = network(), network()
    net.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path)], profile=True, verbose=0)
    whole.fit(X, Y, epochs=4)
    again = network()
    history = again.fit(X, Y, epochs=4, resume=tmp_path, profile=True, verbose=0)
    assert history.profile is not None
    assert_equal(weights(again), weights(whole))
    assert len(network().fit(X, Y, epochs=4, resume=tmp_path)) == 4


def test_callbacks_that_are_gone_are_named(tmp_path):
    stopping = EarlyStopping("loss")
    network().fit(X, Y, epochs=2, callbacks=[stopping, Checkpoint(tmp_path), LearningRateLog()])
    with pytest.warns(UserWarning, match="is resumed without EarlyStopping, whose state"):
        network().fit(X, Y, epochs=3, resume=tmp_path)


def test_a_runs_own_folder_may_still_be_empty(tmp_path):
    own = tmp_path / "version-1.2"
    task = {"callbacks": [Checkpoint(own)], "resume": own, "epochs": 2}
    with pytest.warns(UserWarning, match="the run starts at the beginning"):
        network().fit(X, Y, **task)
    assert len(network().fit(X, Y, **task)) == 2


def bare_loop(net, epochs, callbacks, resume=None, leave=None):
    """Train in a user's loop; return the history."""
    optimizer = nnb.Adam(0.02)
    x, y = net.backend.asarray(X), net.backend.asarray(Y)
    net.load_state_dict(net.state_dict())  # arrays of its own, which the optimizer may change
    with Run(net, epochs, callbacks=callbacks, steps_per_epoch=5, resume=resume) as run:
        state = run.optimizer_state or optimizer.init(net.params)
        for epoch in run:
            losses = run.user_state.get("losses", [])
            for step in range(run.step, 5):
                rows = slice(5 * step, min(5 * step + 5, 23))
                prediction, backward = net.forward(x[rows, ...], training=True)
                loss, dy = nnb.losses.mse(prediction, y[rows, ...])
                net.params, state = optimizer.update(net.params, backward(dy)[1], state)
                run.optimizer_state = state
                losses = [*losses, float(loss)]
                run.user_state["losses"] = losses
                if run.batch_end(loss, learning_rate=0.02):
                    break
            run.user_state["losses"] = []
            run.epoch_end(loss=float(np.mean(losses)), mine=epoch)
    return run.history


def test_callbacks_work_in_a_loop_of_ones_own(backend, tmp_path):
    rates, stopping = LearningRateLog(), EarlyStopping("loss", patience=3)
    net = network(backend)
    log = JSONLines(tmp_path / "log.jsonl")
    history = bare_loop(net, 4, [rates, stopping, log, TerminateOnNaN()])
    assert history["mine"] == [1, 2, 3, 4]
    assert rates.rates == [0.02] * 20
    assert rates.steps == [*range(1, 21)]
    assert stopping.best == min(history["loss"])
    assert [json.loads(line)["loss"] for line in log.path.read_text().splitlines()] == history[
        "loss"
    ]
    assert history.stopped is None


@pytest.mark.parametrize("where", [(2, None), (3, 2), (1, 1)], ids=str)
def test_a_loop_of_ones_own_goes_on_exactly(where, backend, tmp_path):
    whole, net, again = (network(backend) for _ in range(3))
    expected = bare_loop(whole, 4, [])
    with pytest.raises(Cut):
        bare_loop(net, 4, [Checkpoint(tmp_path, every_steps=1), cut(*where)])
    history = bare_loop(again, 4, [], resume=tmp_path)
    assert_equal(weights(again), weights(whole))
    assert without_seconds(history) == without_seconds(expected)


def test_a_run_left_within_an_epoch_goes_on_in_another_folder_with_metrics(backend, tmp_path):
    whole, net, again = (network(backend) for _ in range(3))
    given = {"epochs": 3, "batch_size": 5, "metrics": ["mae"], "verbose": 0}
    expected = whole.fit(X, Y, **given)
    stop = Lambda(batch_end=lambda run: run.steps == 8 and run.stop("enough", at_once=True))
    net.fit(X, Y, callbacks=[stop, Checkpoint(tmp_path / "one")], **given)
    history = again.fit(
        X, Y, callbacks=[Checkpoint(tmp_path / "two")], resume=tmp_path / "one", **given
    )
    assert_close(weights(again), weights(whole), 1e-5)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)


@nnb.register_layer
@dataclass(frozen=True)
class Sum(nnb.layers.Parameterless):
    """The sum of two inputs, a tuple or a dictionary."""

    def output_shape(self, input_shape):
        return next(iter(input_shape.values())) if isinstance(input_shape, dict) else input_shape[0]

    def apply(self, x, ctx):
        if isinstance(x, dict):
            return x["a"] + x["b"], lambda dy: {"a": dy, "b": dy}
        return x[0] + x[1], lambda dy: (dy, dy)


@pytest.mark.parametrize("x", [(X, X[::-1]), {"a": X, "b": X[::-1]}], ids=["tuple", "dictionary"])
def test_a_run_with_several_inputs_goes_on(x, backend, tmp_path):
    whole, net, again, other = (
        nnb.Network([Sum(), nnb.Dense(1)], backend=backend, seed=1) for _ in range(4)
    )
    expected = whole.fit(x, Y, epochs=3, batch_size=5)
    net.fit(x, Y, epochs=2, batch_size=5, callbacks=[Checkpoint(tmp_path)])
    history = again.fit(x, Y, epochs=3, batch_size=5, resume=tmp_path)
    assert without_seconds(history) == without_seconds(expected)
    assert_equal(weights(again), weights(whole))
    assert nnb.load(tmp_path / "000003-epoch-0002.safetensors").input_shape == again.input_shape
    narrow = {k: a[:, :2] for k, a in x.items()} if isinstance(x, dict) else (X[:, :2], X[:, :2])
    with pytest.raises(ResumeError, match="input_shape"):
        other.fit(narrow, Y, epochs=3, batch_size=5, resume=tmp_path)


@nnb.register_layer
@dataclass(frozen=True)
class Twins:
    """A layer with two outputs, which are equal."""

    def init(self, input_shape, rng):
        params, shape = nnb.Dense(2).init(input_shape, rng)
        return params, (shape, {"second": shape})

    def forward(self, params, x, ctx):
        y, inner = nnb.Dense(2).forward(params, x, ctx)
        return (y, {"second": y}), lambda dy, input_grad=True: inner(
            dy[0] + dy[1]["second"], input_grad=input_grad
        )


def test_a_run_with_several_outputs_and_metrics_goes_on_within_an_epoch(backend, tmp_path):
    def squares(prediction, target, weight=None):
        first, d_first = nnb.losses.mse(prediction[0], target[0])
        second, d_second = nnb.losses.mse(prediction[1]["second"], target[1]["second"])
        return first + second, (d_first, {"second": d_second})

    def error(prediction, target, weight=None):
        return nnb.losses.mse(prediction[1]["second"], target[1]["second"])[0]

    given = {
        "epochs": 3,
        "batch_size": 5,
        "loss": squares,
        "metrics": {"error": error},
        "verbose": 0,
    }
    y = (Y.repeat(2, axis=1), {"second": -Y.repeat(2, axis=1)})
    whole, net, again = (
        nnb.Network([Twins()], backend=backend, input_shape=3, seed=1) for _ in range(3)
    )
    expected = whole.fit(X, y, **given)
    stop = Lambda(batch_end=lambda run: run.steps == 8 and run.stop("enough", at_once=True))
    net.fit(X, y, callbacks=[stop, Checkpoint(tmp_path)], **given)
    history = again.fit(X, y, resume=tmp_path, **given)
    np.testing.assert_allclose(history["error"], expected["error"], rtol=1e-5)
    assert_close(weights(again), weights(whole), 1e-5)


def test_a_loop_of_ones_own_gets_all_arrays_of_its_optimizer_on_its_backend(backend, tmp_path):
    net = network(backend)
    arrays = backend.asarray([1.5]), backend.asarray([2.5])
    with Run(net, 1, callbacks=[Checkpoint(tmp_path)]) as run:
        for _ in run:
            run.optimizer_state = {"pair": arrays, "count": 3}
            run.epoch_end(loss=1.0)
    with Run(net, 2, resume=tmp_path) as run:
        found = run.optimizer_state
    assert found["count"] == 3
    assert [type(array) for array in found["pair"]] == [type(array) for array in arrays]
    assert [host(backend, array).tolist() for array in found["pair"]] == [[1.5], [2.5]]


def test_a_loop_of_ones_own_can_be_asked_to_stop():
    stop = Lambda(batch_end=lambda run: run.step == 3 and run.stop("enough", at_once=True))
    history = bare_loop(network(), 4, [stop])
    assert (len(history), history.stopped) == (0, "enough")
    history = bare_loop(network(), 4, [lambda run: run.stop("enough")])
    assert (len(history), history.stopped) == (1, "enough")


def test_a_loop_of_ones_own_tells_what_is_missing():
    events = []
    stop = Lambda(stop=lambda run: events.append("stop"))
    with (
        pytest.raises(RuntimeError, match=r"must call run\.epoch_end"),
        Run(network(), 2, callbacks=stop) as run,
    ):
        for _ in run:
            pass
    assert events == ["stop"]


def test_a_checkpoint_of_fit_goes_on_in_a_loop_of_ones_own(tmp_path):
    net = network()
    net.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path)])
    with Run(network(), 3, resume=tmp_path) as run:
        assert run.optimizer_state["step"] == 2
        assert run.optimizer_state["slots"]["1"]["0"]["weight"].shape == (3, 5)
        assert_equal(weights(run.network), weights(net))
        assert [epoch for epoch in run if run.epoch_end(loss=1.0) is None] == [3]


def test_counters_of_training_travel_with_the_network(tmp_path):
    """They number orders of rows and masks: training that goes on must not draw the first ones again."""
    task = {"batch_size": 5, "optimizer": nnb.SGD(0.1), "verbose": 0}
    net = network()
    net.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path)], **task)
    assert net.trained == (10, 2)
    net.save(tmp_path / "model")
    twins = [
        nnb.load(tmp_path / "model"),
        nnb.load(checkpoints.files(tmp_path)[-1]),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
        net.to(dtype="float64").to(dtype="float32"),
    ]
    net.fit(X, Y, **task)
    for twin in twins:
        assert twin.trained == (10, 2)
        twin.fit(X, Y, **task)
        assert_equal(weights(twin), weights(net))


def test_a_network_in_an_older_file_was_not_trained(tmp_path, monkeypatch):
    net = network()
    net.fit(X, Y, verbose=0)
    text = describe_network(net)
    monkeypatch.setattr(model_file, "describe_network", lambda _: older(text))
    net.save(tmp_path / "old")
    assert nnb.load(tmp_path / "old").trained == (0, 0)


def older(text):
    """Return a description as versions without counters wrote it."""
    description = json.loads(text)
    del description["trained"]
    return json.dumps(description)


def test_a_run_that_fails_has_counted_its_epochs():
    net = network()
    with pytest.raises(Cut):
        net.fit(X, Y, epochs=5, batch_size=5, callbacks=[cut(3)], verbose=0)
    assert net.trained == (15, 3)


def test_a_pickle_of_an_older_version_keeps_its_counters():
    state = network().__getstate__()
    del state["trained"], state["_state"]
    found = nnb.Network.__new__(nnb.Network)
    found.__setstate__(state | {"_steps": 7, "_epochs": 2})
    assert found.trained == (7, 2)
    assert found.state == {}
