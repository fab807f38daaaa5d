"""Checkpoints: what is in the files, and which files are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from saving.mutations import joined, split
from saving.runs import X, Y, network, weights
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Callback, Checkpoint, Lambda
from nnbackend.errors import ModelFileError
from nnbackend.saving import checkpoint as checkpoints


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
        "epoch": 0, "batch": 0, "steps": 0, "first_epoch": 0, "trained": [0, 0], "user": {},
        "learning_rate_factor": 1.0, "history": {"epoch": []}, "callbacks": [],
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
    """Write a checkpoint again with a changed state and the checksum that goes with it."""
    found = checkpoints.load(path)
    net = nnb.load(path)
    state = {name: value for name, value in found.state.items() if name != "format"}
    change(state)
    return checkpoints.save(path, net, net.params, state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("epoch"), "its state lacks epoch"),
        (lambda s: s.update(history=[]), r"its state.history is \[\], not a table"),
        (lambda s: s.update(format=7), "of format 7"),
        (lambda s: s.update(history={"loss": [1.0]}), "its history does not have 2 epochs"),
        (lambda s: s["optimizer"]["slots"].pop("1"), "its optimizer's arrays do not fit: 1.0.bias"),
        (lambda s: s.update(optimizer=None), "its optimizer's state is missing"),
        (lambda s: s.update(batch=2), "its batch is 2, and what came of the steps is missing"),
        (lambda s: s.update(trained=[1]), r"its state.trained is \[1\], not a list of 2 to 2"),
        (
            lambda s: s.update(trained=[2**40, 0]),
            r"its state.trained.0 is 1099.*from 0 to 2147483647",
        ),
        (
            lambda s: s.update(learning_rate_factor=np.inf),
            "learning_rate_factor is inf, not a number",
        ),
        (
            lambda s: s.update(history={"epoch": [1, 2], "loss": [1, "x"]}),
            "history.loss.1 is 'x', not",
        ),
        (lambda s: s.update(steps=True), "its state.steps is True, not a whole number"),
        (lambda s: s.update(callbacks=[{}]), "its state.callbacks.0 lacks name"),
        (lambda s: s.update(task=3), "its state.task is 3, not a table"),
        (lambda s: s.update(task={"seed": np.ones(2)}), r"its state.task.seed is array.*not plain"),
        (lambda s: s.update(user=[1]), r"its state.user is \[1\], not a table"),
        (lambda s: s.update(so_far={"losses": [1.0]}), "its state.so_far lacks masses"),
        (
            lambda s: s.update(raw={"0": {"weight": np.ones(3)}}),
            "its parameters are not this network's",
        ),
        (lambda s: s.update(optimizer=[1]), r"its state.optimizer is \[1\], not"),
        (lambda s: s.update(optimizer={"step": 1}), "its optimizer lacks slots"),
        (
            lambda s: s["optimizer"].update(slots=3),
            "its optimizer.slots is 3, not a table",
        ),
        (
            lambda s: s["optimizer"]["slots"]["1"]["0"].update(weight=np.full((3, 5), np.nan)),
            "its optimizer.slots.1.0.weight holds NaN",
        ),
        (
            lambda s: s["callbacks"][0]["state"].pop("kept"),
            "the state of its Checkpoint lacks kept",
        ),
        (lambda s: s["callbacks"][0]["state"].update(kept=3), "Checkpoint.kept is 3, not a list"),
    ],
)
def test_a_state_that_does_not_hold_together_is_refused(change, words, saved, tmp_path):
    last = copied(saved, tmp_path)[-1]
    rewritten(last, change)
    net = network()
    before = weights(net)
    with pytest.raises(ModelFileError, match=words):
        net.fit(X, Y, epochs=3, batch_size=5, callbacks=[Checkpoint(tmp_path)], resume=last)
    assert_equal(weights(net), before)


def test_a_checkpoint_names_no_file_to_delete_but_those_of_its_folder(saved, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    last = copied(saved, folder)[-1]
    outside = [tmp_path / "victim", tmp_path / "000001-epoch-0001.safetensors"]
    inside = [folder / "notes.txt", folder / ".hidden", folder / "٣-epoch-0001.safetensors"]
    link = folder / "000000-epoch-0000.safetensors"
    link.symlink_to(outside[0])
    for path in (*outside, *inside):
        path.write_text("precious")
    kept = [str(outside[0]), "../victim", f"../{outside[1].name}", f"x/../{outside[1].name}",
            "", ".", "..", "no\0name", 3, None, ["a"], link.name,
            *(path.name for path in inside)]  # fmt: skip
    [entry] = checkpoints.load(last).state["callbacks"]

    def name_others(state):
        own = entry["state"] | {"directory": str(folder), "kept": kept + entry["state"]["kept"]}
        state["callbacks"] = [entry | {"state": own}]

    rewritten(last, name_others)
    net = network()
    net.fit(X, Y, epochs=5, batch_size=5, callbacks=[Checkpoint(folder, keep=1)], resume=folder)
    assert all(path.read_text() == "precious" for path in (*outside, *inside))
    assert link.is_symlink()
    assert [path.name[7:17] for path in checkpoints.files(folder)] == ["epoch-0000", "epoch-0005"]


@pytest.mark.skipif(os.name == "nt", reason="files have no holes there")
@pytest.mark.parametrize(
    "name", ["network/0.weight", "optimizer/slots/0/0/weight", "so_far/losses", "raw/0/weight"]
)
def test_shapes_in_a_checkpoint_are_compared_before_a_tensor_is_read(name, tmp_path):
    stop = Lambda(batch_end=lambda run: run.steps == 3 and run.stop("enough", at_once=True))
    network().fit(X, Y, batch_size=5, optimizer=nnb.optimizers.EMA(nnb.Adam()), metrics=["mae"],
                  callbacks=[stop, Checkpoint(tmp_path)])  # fmt: skip
    path = checkpoints.newest(tmp_path)
    header, tensors = split(path.read_bytes())
    huge = header[name]["data_offsets"] = [len(tensors), len(tensors) + 8 * 2**30]
    header[name].update(dtype="F64", shape=[2**30])
    order = sorted(header.keys() - {"__metadata__"}, key=lambda n: header[n]["data_offsets"])
    kept, start = b"", 0
    for other in order[:-1]:  # without a gap
        begin, end = header[other]["data_offsets"]
        header[other]["data_offsets"] = [start, start + end - begin]
        kept, start = kept + tensors[begin:end], start + end - begin
    header[name]["data_offsets"] = [start, start + huge[1] - huge[0]]
    path.write_bytes(joined(header, kept))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 8 * 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="cannot be resumed from: its"):
            checkpoints.load(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


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
