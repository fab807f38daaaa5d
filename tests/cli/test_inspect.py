"""``nnbackend inspect``: what a model file holds."""

from __future__ import annotations

import json

from cli.commands import PENGUINS, done

import nnbackend as nnb


def test_inspect_shows_network_columns_and_training():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2")
    text = done("inspect", "model.safetensors").stdout
    for words in (
        "Dense(64, relu)",
        "island          ",
        "category: Biscoe, Dream, Torgersen",
        "category: female, male, (missing)",
        "44.4 where missing",
        "classes: Adelie, Chinstrap, Gentoo",
        "optimizer adamw",
    ):
        assert words in text
    saved = json.loads(done("inspect", "model.safetensors", "--json").stdout)["metadata"]
    assert saved["task"] == "classification"
    assert saved["training"]["epochs"] == 2


def test_inspect_shows_networks_without_a_table():
    nnb.Network([nnb.Dense(2)], input_shape=3).save("bare.safetensors")
    assert "8 parameters" in done("inspect", "bare.safetensors").stdout
