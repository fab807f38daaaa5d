"""Checkpoints: what is in them, and that a run goes on from them as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    JSONLines,
    Lambda,
    LearningRateLog,
    Run,
    TerminateOnNaN,
)
from nnbackend.errors import DivergenceError, ModelFileError, ResumeError
from nnbackend.saving import checkpoint as checkpoints

X, Y = rows((23, 3)), rows((23, 1), 1)
LABELS = (Y[:, 0] > 0).astype(int)
WEIGHT = np.linspace(0.0, 2.0, 23)


LAYERS = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(1)]


def network(backend="numpy", **given):
    return nnb.Network(LAYERS, backend=backend, input_shape=3, **{"seed": 3, **given})


def weights(net):
    return host(net.backend, net.state_dict())


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


def exact(variant):
    """Whether a library promises the same bits however its steps are divided among programs."""
    return variant.library in ("numpy", "array-api-strict")


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


# ------------------------------------------------------------------------------------- the files


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_files_are_numbered_and_the_newest_are_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new" / "folder", every=2, keep=2)
    network().fit(X, Y, epochs=7, callbacks=[checkpoint])
    # That of the last epoch is written whatever its number.
    assert names(checkpoint.directory) == [
        "000004-epoch-0006.safetensors",
        "000005-epoch-0007.safetensors",
    ]
    assert checkpoint.latest == checkpoints.newest(checkpoint.directory)
    network().fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path / "all", keep=None)])
    assert [name.partition("-")[2] for name in names(tmp_path / "all")] == [
        f"epoch-{n:04}.safetensors" for n in range(3)
    ]


def test_steps_within_an_epoch_are_counted_in_it(tmp_path):
    network().fit(X, Y, epochs=2, batch_size=5,
                  callbacks=[Checkpoint(tmp_path, keep=None, every_steps=2)])  # fmt: skip
    assert [name[7:-12] for name in names(tmp_path)] == [
        "epoch-0000", "epoch-0000-step-000002", "epoch-0000-step-000004", "epoch-0001",
        "epoch-0001-step-000002", "epoch-0001-step-000004", "epoch-0002",
    ]  # fmt: skip


def test_best_only_writes_when_the_figure_is_better_than_ever(tmp_path):
    checkpoint = Checkpoint(tmp_path, best_only=True, keep=None)
    history = network().fit(X, Y, epochs=30, optimizer=nnb.SGD(0.3), batch_size=5,
                            validation_split=0.3, callbacks=[checkpoint])  # fmt: skip
    losses = history["validation_loss"]
    best = [e for e, loss in enumerate(losses, 1) if loss < min([*losses[: e - 1], np.inf])]
    assert 1 < len(best) < 30
    assert [int(name[13:17]) for name in names(tmp_path)] == best


def test_a_new_run_in_the_same_folder_leaves_the_files_of_the_old_one(tmp_path):
    network().fit(X, Y, epochs=5, callbacks=[Checkpoint(tmp_path, keep=1)])
    again = Checkpoint(tmp_path, keep=1)
    network().fit(X, Y, epochs=2, callbacks=[again])
    assert [name[7:17] for name in names(tmp_path)] == ["epoch-0005", "epoch-0002"]
    # The newest is that of the new run; going on with it, its file is replaced and no other.
    network().fit(X, Y, epochs=3, callbacks=[Checkpoint(tmp_path, keep=1)], resume=tmp_path)
    assert [name[7:17] for name in names(tmp_path)] == ["epoch-0005", "epoch-0003"]


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


def test_a_checkpoint_is_a_model_too(backend, tmp_path):
    net = network(backend)
    net.metadata["note"] = "mine"
    net.fit(X, Y, epochs=2, callbacks=[Checkpoint(tmp_path, every_steps=1)], metrics=["mae"])
    loaded = nnb.load(checkpoints.newest(tmp_path), backend=backend)
    assert_equal(weights(loaded), weights(net))
    assert loaded.metadata == {"note": "mine"}
    assert loaded.seed == 3
    assert np.isfinite(host(backend, loaded.predict(X))).all()


def test_a_checkpoint_of_averaged_weights_predicts_with_the_average(backend, tmp_path):
    net = network(backend)
    net.fit(X, Y, epochs=2, optimizer=nnb.optimizers.EMA(nnb.Adam(0.05), decay=0.9),
            callbacks=[Checkpoint(tmp_path)])  # fmt: skip
    loaded = nnb.load(checkpoints.newest(tmp_path), backend=backend)
    assert_equal(weights(loaded), weights(net))
    raw = host(backend, net.raw_params)
    assert not np.array_equal(raw["0"]["weight"], weights(net)["0.weight"])


def test_the_file_is_safetensors_with_json_and_nothing_else(tmp_path):
    network().fit(X, Y, batch_size=5, callbacks=[Checkpoint(tmp_path, every_steps=3)])
    within = next(path for path in checkpoints.files(tmp_path) if "step" in path.name)
    with safetensors.safe_open(within, framework="np") as content:
        assert content.metadata().keys() == {"nnbackend", "checkpoint", "checksum"}
        state = json.loads(content.metadata()["checkpoint"])
        tensors = set(content.keys())
    assert (state["epoch"], state["batch"], state["steps"]) == (0, 3, 3)
    assert {"network/0.weight", "optimizer/slots/1/2/bias", "so_far/losses"} <= tensors
    found = checkpoints.load(within)
    assert found.state["so_far"]["losses"].shape == (3,)
    assert found.params["0.weight"].shape == (3, 5)


def test_any_plain_data_and_arrays_make_a_state(backend, tmp_path):
    net = network(backend)
    array = backend.asarray([[1.5, 2.5]])
    state = {
        "epoch": 0, "batch": 0, "trained": [0, 0], "history": {"epoch": []}, "callbacks": [],
        "mine": {"n": None, "x": np.inf, "i": np.int64(3), "l": [1, "a", {"deep": array}], "e": {}},
        "none": np.zeros((0, 2)), "whole": np.arange(3), "single": np.array(0.1),
    }  # fmt: skip
    path = checkpoints.save(tmp_path / "state", net, net.params, state)
    found = checkpoints.load(path).state
    deep = found["mine"]["l"][2].pop("deep")
    assert found["mine"] == {"n": None, "x": np.inf, "i": 3, "l": [1, "a", {}], "e": {}}
    np.testing.assert_array_equal(deep, [[1.5, 2.5]])
    assert found["none"].shape == (0, 2)
    assert found["whole"].dtype == np.int64
    assert found["single"].shape == ()


@pytest.mark.parametrize(("value", "words"), [(object(), "is <object"), ({1: 2}, "no text: 1")])
def test_a_state_that_cannot_be_kept_is_named(value, words, tmp_path):
    class Odd(Callback):
        def state(self):
            return {"odd": value}

    with pytest.raises(TypeError, match=f"callbacks/0/state.*{words}"):
        network().fit(X, Y, callbacks=[Odd(), Checkpoint(tmp_path)])
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    network().fit(X, Y, epochs=2, batch_size=5, callbacks=[Checkpoint(directory)])
    return directory


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


def test_best_only_leaves_an_epoch_that_is_cut_short_alone(tmp_path):
    stop = Lambda(batch_end=lambda run: run.step == 2 and run.stop("enough", at_once=True))
    network().fit(X, Y, epochs=3, batch_size=5,
                  callbacks=[stop, Checkpoint(tmp_path, best_only=True, monitor="loss")])  # fmt: skip
    assert not names(tmp_path)


def test_callbacks_that_are_gone_are_named(tmp_path):
    stopping = EarlyStopping("loss")
    network().fit(X, Y, epochs=2, callbacks=[stopping, Checkpoint(tmp_path), LearningRateLog()])
    with pytest.warns(UserWarning, match="goes on without EarlyStopping, whose state"):
        network().fit(X, Y, epochs=3, resume=tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*empty"):
        network().fit(X, Y, resume=tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*absent"):
        network().fit(X, Y, resume=tmp_path / "absent.safetensors")
    model = network().save(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="holds a network and no training run"):
        network().fit(X, Y, resume=model)
    (tmp_path / "text").write_text("text")
    with pytest.raises(ModelFileError, match=r"text cannot be resumed from: .*not a safetensors"):
        network().fit(X, Y, resume=tmp_path / "text")
    assert checkpoints.newest(tmp_path / "empty") is None


def test_a_runs_own_folder_may_still_be_empty(tmp_path):
    own = tmp_path / "version-1.2"
    task = {"callbacks": [Checkpoint(own)], "resume": own, "epochs": 2}
    with pytest.warns(UserWarning, match="the run starts at the beginning"):
        network().fit(X, Y, **task)
    assert len(network().fit(X, Y, **task)) == 2


def copied(saved, directory):
    """Return copies of the checkpoints in another folder."""
    paths = []
    for path in checkpoints.files(saved):
        paths.append(directory / path.name)
        paths[-1].write_bytes(path.read_bytes())
    return paths


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def edited(content):
    return content.replace(rb"\"batch\": 0", rb"\"batch\": 1")


@pytest.mark.parametrize("damage", [truncated, flipped, edited, lambda content: b""])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage, saved, tmp_path):
    *_, before, last = copied(saved, tmp_path)
    content = last.read_bytes()
    assert damage(content) != content
    last.write_bytes(damage(content))
    with pytest.raises(ModelFileError, match=last.name):
        checkpoints.load(last)
    net, whole = network(), network()
    with pytest.warns(UserWarning, match=f"{last.name} cannot be .*the one before it is taken"):
        history = net.fit(X, Y, epochs=3, batch_size=5, resume=tmp_path)
    whole.fit(X, Y, epochs=3, batch_size=5)
    assert_equal(weights(net), weights(whole))
    assert len(history) == 3
    before.write_bytes(b"")
    tmp_path.joinpath(checkpoints.files(tmp_path)[0]).write_bytes(b"")
    with pytest.raises(ModelFileError, match=f"no checkpoint in .* can be loaded; .*{last.name}"):
        network().fit(X, Y, epochs=3, batch_size=5, resume=tmp_path)


def rewritten(path, change):
    """Write a checkpoint anew with a changed state and the checksum that goes with it."""
    found = checkpoints.load(path)
    net = network()
    state = {name: value for name, value in found.state.items() if name != "format"}
    change(state)
    return checkpoints.save(path, net, net.params, state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("epoch"), "its epoch is missing or no int"),
        (lambda s: s.update(history=[]), "its history is missing or no dict"),
        (lambda s: s.update(format=7), "of format 7"),
        (lambda s: s.update(history={"loss": [1.0]}), "its history does not have 2 epochs"),
        (lambda s: s["optimizer"]["slots"].pop("1"), "its optimizer's arrays do not fit: 1.0.bias"),
        (lambda s: s.update(optimizer=None), "its optimizer's is missing"),
        (lambda s: s.update(batch=2), "its batch is 2, and what came of the steps is missing"),
    ],
)
def test_a_state_that_does_not_hold_together_is_refused(change, words, saved, tmp_path):
    last = copied(saved, tmp_path)[-1]
    rewritten(last, change)
    net = network()
    before = weights(net)
    with pytest.raises(ModelFileError, match=words):
        net.fit(X, Y, epochs=3, batch_size=5, resume=last)
    assert_equal(weights(net), before)


# ------------------------------------------------------------------------------------- faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_killed_at_any_moment_the_newest_checkpoint_loads_and_nothing_is_lost(library, tmp_path):
    if library != "numpy":
        pytest.skip("it trains on NumPy")
    environment = os.environ | {
        "PYTHONPATH": str(Path(nnb.__file__).parent.parent),
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, str(Path(__file__).parents[1] / "kill.py"), str(tmp_path)],
                          capture_output=True, text=True, timeout=300, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] == 50
    assert result["same"]
    assert result["files"] == 3  # what a killed process left half written is gone
    assert result["places"] > 1


def fills_up(monkeypatch, after):
    """Let the disk be full after some files."""
    count = 0

    def fsync(descriptor):
        nonlocal count
        count += stat.S_ISREG(os.fstat(descriptor).st_mode)  # a folder is flushed, too
        if count > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_ends_the_run_with_a_clear_message(backend, tmp_path, monkeypatch):
    net, whole = network(backend), network(backend)
    whole.fit(X, Y, epochs=5, batch_size=5)
    with monkeypatch.context() as patch:
        fills_up(patch, 3)  # what is written at the start, and after two epochs
        with pytest.raises(OSError, match=r"cannot write .*epoch-0003.*No space left") as caught:
            net.fit(X, Y, epochs=5, batch_size=5, callbacks=[Checkpoint(tmp_path)])
    assert caught.value.__notes__ == [
        "raised by the callback Checkpoint at the epoch end of epoch 3",
        f"the run can be resumed from {checkpoints.newest(tmp_path)}",
    ]
    assert len(names(tmp_path)) == 3
    again = network(backend)
    again.fit(X, Y, epochs=5, batch_size=5, resume=tmp_path)
    assert_equal(weights(again), weights(whole))


def test_a_full_disk_may_cost_no_more_than_a_warning(backend, tmp_path, monkeypatch):
    net, whole = network(backend), network(backend)
    whole.fit(X, Y, epochs=5, batch_size=5)
    with monkeypatch.context() as patch:
        fills_up(patch, 3)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = net.fit(X, Y, epochs=5, batch_size=5,
                              callbacks=[Checkpoint(tmp_path, on_error="warn")])  # fmt: skip
    assert len(history) == 5
    assert_equal(weights(net), weights(whole))
    (warning,) = caught  # once
    assert "the training goes on without" in str(warning.message)
    assert "No space left" in str(warning.message)
    assert "epoch-0002" in str(warning.message)
    assert checkpoints.load(checkpoints.newest(tmp_path)).state["epoch"] == 2


def test_a_disk_that_has_room_again_gets_checkpoints_again(tmp_path, monkeypatch):
    """Also the files that went wrong leave no rests behind."""
    real = os.write, os.fsync
    full = [2, 3]  # in these epochs

    class Fill(Callback):
        def epoch_end(self, run):
            run.full = run.epoch in full
            os.fsync = failing if run.full else real[1]

    def failing(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", real[1])
    with pytest.warns(UserWarning, match="No space left"):
        network().fit(X, Y, epochs=5,
                      callbacks=[Fill(), Checkpoint(tmp_path, keep=None, on_error="warn")])  # fmt: skip
    assert [name[7:17] for name in names(tmp_path)] == [f"epoch-{n:04}" for n in (0, 1, 4, 5)]


FULL = """
import resource, signal, sys, warnings
import numpy as np
import nnbackend as nnb

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = np.linspace(-1, 1, 60).reshape(20, 3)
net = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)])
def limit(run):
    if run.epoch == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
checkpoint = nnb.callbacks.Checkpoint(sys.argv[1], on_error=sys.argv[2])
net.fit(x, x[:, 0], epochs=5, callbacks=[limit, checkpoint])
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_write_that_the_system_cuts_short_leaves_no_part_of_a_file(on_error, tmp_path):
    path = str(Path(nnb.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), on_error],
                          capture_output=True, text=True, timeout=100,
                          env=os.environ | {"PYTHONPATH": path})  # fmt: skip
    assert (done.returncode == 0) == (on_error == "warn")
    assert ("done" in done.stdout) == (on_error == "warn")
    assert "File too large" in done.stderr
    assert [name[7:17] for name in names(tmp_path)] == [f"epoch-{n:04}" for n in range(3)]
    assert all(checkpoints.load(path) for path in checkpoints.files(tmp_path))


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    with pytest.raises(OSError, match="file cannot be a folder of checkpoints: "):
        network().fit(X, Y, callbacks=[Lambda(batch_end=steps.append),
                                       Checkpoint(tmp_path / "file")])  # fmt: skip
    assert not steps


class Odd(Exception):
    pass


def breaks(event, epoch, step=None):
    """Return a callback called Lambda that fails."""

    def fail(run):
        if (run.epoch, run.step if step else None) == (epoch, step):
            raise Odd("by accident")

    return Lambda(**{event: fail})


@pytest.mark.parametrize(
    ("event", "epoch", "step"),
    [
        ("epoch_start", 2, None),
        ("epoch_start", 1, None),
        ("batch_end", 3, 2),
        ("batch_end", 2, 5),
        ("epoch_end", 3, None),
        ("epoch_end", 1, None),
    ],
)
def test_when_a_callback_fails_its_name_is_told_and_its_moment_saved(
    event, epoch, step, backend, variant, tmp_path
):
    """The callbacks after it have had their event, and the run goes on from there exactly."""
    task = {"epochs": 4, "batch_size": 5, "metrics": ["mae"]}
    silent = breaks(event, 9, step)
    whole, net, again = (network(backend) for _ in range(3))
    expected = whole.fit(X, Y, callbacks=[silent], **task)
    log = JSONLines(tmp_path / "log.jsonl")
    checkpoint = Checkpoint(tmp_path / "saved", every=100)
    with pytest.raises(Odd, match="by accident") as caught:
        net.fit(X, Y, callbacks=[breaks(event, epoch, step), log, checkpoint], **task)
    when = f"{event.replace('_', ' ')} of epoch {epoch}"
    notes = caught.value.__notes__
    assert notes[0] == f"raised by the callback Lambda at the {when}"
    assert notes[1:] == [f"the run can be resumed from {checkpoint.latest}"]
    state = checkpoints.load(checkpoint.latest).state
    done = epoch - (event != "epoch_end")
    assert (state["epoch"], state["batch"]) == (done, step or 0)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == done
    assert np.isfinite(host(backend, net.predict(X))).all()
    history = again.fit(X, Y, callbacks=[silent], resume=checkpoint.directory, **task)
    compare = assert_equal if exact(variant) else lambda a, b: assert_close(a, b, 1e-6)
    compare(weights(again), weights(whole))
    compare(np.asarray(history["mae"]), np.asarray(expected["mae"]))


def test_when_two_callbacks_fail_both_are_told():
    with pytest.raises(Odd) as caught:
        network().fit(X, Y, callbacks=[breaks("epoch_end", 1), breaks("stop", 1),
                                       breaks("epoch_end", 1)])  # fmt: skip
    text = "\n".join(caught.value.__notes__)
    assert text.count("raised by the callback Lambda at the epoch end of epoch 1") == 2
    assert "Odd: by accident; raised by the callback Lambda at the stop of epoch 1" in text


def test_a_loss_that_is_no_number_costs_no_checkpoint(tmp_path):
    """Those that would hold NaN are not written, so that they push out no good one."""
    net = network()
    with pytest.raises(DivergenceError), np.errstate(all="ignore"):
        net.fit(X * 1e3, Y, epochs=50, batch_size=5, optimizer=nnb.SGD(1e12),
                callbacks=[Checkpoint(tmp_path, every_steps=1)])  # fmt: skip
    loaded = nnb.load(checkpoints.newest(tmp_path))
    assert all(np.isfinite(w).all() for w in weights(loaded).values())


def test_ctrl_c_leaves_the_last_checkpoint(backend, tmp_path, capsys):
    def press(run):
        if (run.epoch, run.step) == (3, 2):
            raise KeyboardInterrupt

    task = {"epochs": 5, "batch_size": 5}
    whole, net, again = (network(backend) for _ in range(3))
    whole.fit(X, Y, callbacks=[Lambda(batch_end=lambda run: None)], **task)
    net.fit(X, Y, callbacks=[Checkpoint(tmp_path), Lambda(batch_end=press)], **task)
    again.fit(X, Y, callbacks=[Lambda(batch_end=lambda run: None)], resume=tmp_path, **task)
    assert_equal(weights(again), weights(whole))
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_that_is_asked_to_stop_leaves_its_last_moment(at_once, backend, tmp_path):
    def enough(run):
        if (run.epoch, run.step) == (2, 3):
            run.stop("enough", at_once=at_once)

    task = {"epochs": 4, "batch_size": 5}
    nothing = Lambda(batch_end=lambda run: None)
    whole, net, again = (network(backend) for _ in range(3))
    whole.fit(X, Y, callbacks=[nothing], **task)
    checkpoint = Checkpoint(tmp_path, every=100)
    history = net.fit(X, Y, callbacks=[Lambda(batch_end=enough), checkpoint], **task)
    assert history.stopped == "enough"
    assert len(history) == 2 - at_once
    assert checkpoint.latest.name[7:-12] == ("epoch-0001-step-000003" if at_once else "epoch-0002")
    assert_equal(weights(net), weights(nnb.load(checkpoint.latest, backend=backend)))
    again.fit(X, Y, callbacks=[nothing], resume=tmp_path, **task)
    assert_equal(weights(again), weights(whole))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0}, "every must be"),
        ({"keep": 0}, "keep must be"),
        ({"every_steps": 1.5}, "every_steps must be"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'warn'"),
        ({"best_only": True, "every_steps": 3}, "whole epochs"),
        ({"best_only": True, "monitor": "odd"}, "Say mode='min' or mode='max'"),
        ({"best_only": 1}, "best_only must be True or False"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        Checkpoint(tmp_path, **arguments)


# --------------------------------------------------------------------------------- bare loops


def bare_loop(net, epochs, callbacks, resume=None, leave=None):
    """Train in a loop of one's own; return the history."""
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
