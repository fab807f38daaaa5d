"""``nnbackend inspect``: what a model file holds."""

from __future__ import annotations

import json

from cli.commands import PENGUINS, done, table, train_json

import nnbackend as nnb


def test_inspect_shows_network_columns_and_training():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2", "--model", "mlp")
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


def test_inspect_says_what_is_done_to_each_column():
    rows = "".join(
        f"{i},{i % 7 or ''},{'ab'[i % 2]},2024-{1 + i % 12:02d}-{1 + i % 28:02d},{i * 1.5}\n"
        for i in range(60)
    )
    path = table("id,x,c,day,y\n" + rows)
    for scale, expected in (
        ("standard", "number: (value - "),
        ("robust", "clipped smoothly to 3, 0 where missing"),
    ):
        told = train_json(
            path, "--target", "y", "--scale", scale, "--epochs", "2", "--validation", "0"
        )
        assert told["settings"]["features"][-1] == {"standard": "day", "robust": "c"}[scale]
        assert any("count the rows (identifiers) left out: id" in note for note in told["notes"])
        text = " ".join(done("inspect", "model.safetensors").stdout.split())
        assert expected in text
        assert "; 9 missing, 6 different" in text
        assert "date: days, month sine, month cosine, day sine" in text
        answers = done("predict", "model.safetensors", path).stdout
        assert len(answers.splitlines()) == 61
