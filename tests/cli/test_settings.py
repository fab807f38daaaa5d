"""The settings of ``nnbackend train``: columns, layers and optimizers."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.commands import PENGUINS, done, fails, train_json

import nnbackend as nnb


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--l1", "-1", "l1 must be"),
        ("--l2", "nan", "l2 must be"),
        ("--clip-norm", "0", "norm must be above 0"),
        ("--ema", "1", "decay must be"),
        ("--accumulate", "0", "accumulate"),
    ],
)
def test_a_wrong_strength_norm_or_decay_is_a_wrong_call(option, value, words):
    assert words in fails(2, "train", PENGUINS, "--target", "species", option, value)


def test_features_can_be_chosen_and_the_model_linear():
    columns = ["--features", "bill_length_mm, sex", "--hidden", "none"]
    result = train_json(PENGUINS, "--target", "species", *columns, "--init", "zeros")
    assert result["settings"]["features"] == ["bill_length_mm", "sex"]
    network = nnb.load("model.safetensors")
    assert network.state_dict()["0.weight"].shape == (4, 3)
    assert network.input_shape == (4,)
    Path("only.csv").write_text("sex,bill_length_mm\nmale,39\n")
    assert done("predict", "model.safetensors", "only.csv").stdout == "species\nAdelie\n"


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "muon"])
def test_momentum_where_there_is_one(optimizer):
    rates = ["--momentum", "0.8", "--weight-decay", "0.001", "--learning-rate", "0.01"]
    options = ["--optimizer", optimizer, *rates, "--epochs", "2"]
    settings = train_json(PENGUINS, "--target", "species", *options)["settings"]
    assert (settings["momentum"], settings["weight_decay"]) == (0.8, 0.001)


@pytest.mark.parametrize("optimizer", sorted(nnb.optimizers.OPTIMIZERS))
def test_every_optimizer_has_its_name(optimizer):
    pytest.importorskip("scipy")
    options = ["--target", "species", "--optimizer", optimizer, "--epochs", "2"]
    assert train_json(PENGUINS, *options)["settings"]["optimizer"] == optimizer


def test_lbfgs_takes_all_rows_and_ends_when_it_has_converged():
    pytest.importorskip("scipy")
    result = train_json(
        PENGUINS, "--target", "species", "--optimizer", "lbfgs", "--dtype", "float64"
    )
    assert result["settings"]["batch_size"] == result["rows"] - result["validation_rows"]
    assert result["settings"]["learning_rate"] is None
    assert result["epochs"] < 100
    assert result["stopped"].startswith("converged")
    assert result["train"]["accuracy"] == 1.0
    shown = done("train", PENGUINS, "--target", "species", "--optimizer", "lbfgs").stdout
    assert "softmax_cross_entropy, lbfgs" in shown
    assert "learning rate" not in shown
    assert "Stopped early: converged" in shown
