"""How a run of ``nnbackend train`` is watched, ended and resumed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cli.commands import PENGUINS, answers, done, fails, train_json

import nnbackend as nnb


def checkpoint_names(folder: str = "saved") -> list[str]:
    return sorted(path.name[7:-12] for path in Path(folder).iterdir())


def test_a_run_is_gone_on_with_exactly():
    short = ["train", PENGUINS, "--target", "species", "--dropout", "0.2", "--checkpoint", "saved"]
    first = done(*short, "--epochs", "3", "--log", "log.csv", "--output", "short.safetensors")
    assert checkpoint_names() == ["epoch-0001", "epoch-0002", "epoch-0003"]
    assert "Go on" not in first.stdout
    done(*short, "--epochs", "6", "--resume", "saved", "--log", "log.csv", "--output", "resumed")
    done(*short[:6], "--epochs", "6", "--output", "whole")
    resumed, whole = (nnb.load(name).state_dict() for name in ("resumed", "whole"))
    assert all((resumed[name] == whole[name]).all() for name in whole)
    rows = answers(Path("log.csv").read_text())
    assert rows["epoch"] == ["1", "2", "3", "4", "5", "6"]
    assert checkpoint_names() == ["epoch-0004", "epoch-0005", "epoch-0006"]
    # A checkpoint is a model like any other.
    newest = nnb.checkpoints.newest("saved")
    assert done("predict", newest, PENGUINS).stdout == done("predict", "whole", PENGUINS).stdout
    history = train_json(*short[1:], "--epochs", "6", "--resume", newest)["history"]
    assert [str(loss) for loss in history["loss"]] == rows["loss"]


def test_patience_stops_early_with_the_best_weights_and_says_so():
    result = done("train", PENGUINS, "--target", "species", "--patience", "3", "--epochs", "5000",
                  "--learning-rate", "0.01", "--log", "log.jsonl", "--model", "mlp")  # fmt: skip
    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 3
    assert f"Stopped early: validation_loss was best in epoch {best}" in result.stdout
    figures = json.loads(done("evaluate", "model.safetensors", PENGUINS, "--json").stdout)
    assert figures  # the model is there
    saved = json.loads(done("inspect", "model.safetensors", "--json").stdout)["metadata"]
    assert abs(saved["training"]["validation"]["loss"] - min(losses)) < 1e-6


def test_a_time_limit_ends_the_run_and_leaves_it_to_be_gone_on_with():
    result = done("train", PENGUINS, "--target", "species", "--max-time", "0.2s",
                  "--epochs", "10000000", "--checkpoint", "saved")  # fmt: skip
    assert "Stopped early: the time of 0.2 s is up" in result.stdout
    assert "Go on with the same command and --resume saved" in result.stdout
    found = nnb.checkpoints.load(nnb.checkpoints.newest("saved")).state
    assert found["epoch"] > 0


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("1.5h", 5400), ("2m", 120), ("1d", 86400)]
)
def test_times_are_written_with_a_unit(text, value):
    from nnbackend.cli.call import read_seconds as seconds

    assert seconds(text) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-time", "soon"], "--max-time takes a time like 90"),
        (["--log", "log.txt"], "--log writes .jsonl or .csv, not 'log.txt'"),
        (["--log", "missing/log.csv"], "--log missing/log.csv cannot be written"),
        (["--log", "own.csv"], "--log own.csv would overwrite what is read"),
        (["--patience", "3", "--validation", "0"], "--patience watches the validation loss"),
        (["--patience", "0"], "--patience"),
        (["--resume", "absent"], "--resume absent: there is no such checkpoint"),
        (["--checkpoint", PENGUINS], "--checkpoint takes a folder"),
        (["--checkpoint", os.devnull], "--checkpoint takes a folder"),
        (["--checkpoint", ""], "--checkpoint takes a path, got ''"),
        (["--resume", " "], "--resume takes a path, got ' '"),
    ],
)
def test_wrong_calls_of_what_watches_a_run(options, message):
    own = Path(shutil.copy(PENGUINS, "own.csv"))  # a copy: one of the calls would overwrite it
    content = own.read_bytes()
    assert message in fails(2, "train", own, "--target", "species", *options)
    assert own.read_bytes() == content


def test_a_checkpoint_of_another_command_is_refused():
    options = ["train", PENGUINS, "--target", "species", "--epochs", "2", "--model", "mlp"]
    done(*options, "--checkpoint", "saved")
    message = fails(1, *options, "--resume", "saved", "--hidden", "32", "--optimizer", "sgd")
    assert "network layers 0 out_features is 64 in the checkpoint and 32 here" in message
    assert 'optimizer is "adamw" in the checkpoint and "sgd" here' in message
    assert "no training run" in fails(1, *options, "--resume", "model.safetensors")


def test_an_empty_folder_of_its_own_is_a_new_run():
    options = ["train", PENGUINS, "--target", "species", "--epochs", "2", "--checkpoint", "saved"]
    result = done(*options, "--resume", "saved")
    assert (
        "note: there is no checkpoint in saved yet: the run starts at the beginning"
        in result.stderr
    )
    assert "starts at the beginning" not in done(*options, "--resume", "saved").stderr


def test_lbfgs_is_not_advised_to_be_resumed_which_it_cannot_be():
    call = [
        "train",
        PENGUINS,
        "--target",
        "species",
        "--optimizer",
        "lbfgs",
        "--checkpoint",
        "saved",
    ]
    assert "Go on" not in done(*call, "--epochs", "300", "--max-time", "0.001s").stdout
    assert "SciPy keeps" in fails(1, *call, "--epochs", "500", "--resume", "saved")
