"""``nnbackend evaluate``: how good the answers of a model are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.commands import PENGUINS, done, fails, table, train_json


def test_evaluate_for_people_and_for_programs():
    figures = train_json(PENGUINS, "--target", "species", "--validation", "0", "--epochs", "20")[
        "train"
    ]
    result = done("evaluate", "model.safetensors", PENGUINS)
    assert "344 rows" in result.stdout
    assert "accuracy" in result.stdout
    result = done("evaluate", "model.safetensors", PENGUINS, "--json")
    assert result.stderr == ""
    assert json.loads(result.stdout)["loss"] == pytest.approx(figures["loss"])


def test_labels_outside_the_classes_at_evaluation():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "1")
    data = table(Path(PENGUINS).read_text().replace("Gentoo", "Emperor"))
    message = fails(1, "evaluate", "model.safetensors", data)
    assert "'species' holds 'Emperor', which is none of the classes" in message
