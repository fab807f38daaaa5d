"""What a target calls for: losses and outputs, and the classes that they mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, fails, train_json


def test_classes_from_probabilities():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "5")
    text = done("predict", "model.safetensors", PENGUINS, "--probabilities").stdout
    columns = answers(text)
    names = ["Adelie", "Chinstrap", "Gentoo"]
    assert list(columns) == ["species", *(f"probability_{name}" for name in names)]
    shares = np.array([columns[f"probability_{name}"] for name in names], float)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-6)
    assert [names[i] for i in shares.argmax(axis=0)] == columns["species"]


@pytest.mark.parametrize(
    "options",
    [
        ["--loss", "binary_cross_entropy"],
        ["--loss", "binary_cross_entropy", "--output-activation", "sigmoid"],
        ["--output-activation", "softmax"],
        ["--output-activation", "identity"],
    ],
)
def test_every_way_to_tell_two_classes_apart(options):
    result = train_json(PENGUINS, "--target", "sex", "--seed", "1", *options)
    assert result["validation"]["accuracy"] > 0.8
    assert result["baseline"]["loss"] == pytest.approx(np.log(2), abs=0.01)
    columns = answers(done("predict", "model.safetensors", PENGUINS, "--probabilities").stdout)
    female = np.array(columns["probability_female"], float)
    np.testing.assert_allclose(female + np.array(columns["probability_male"], float), 1, atol=1e-6)
    assert ((female > 0.5) == (np.array(columns["sex"]) == "female")).all()
    figures = json.loads(done("evaluate", "model.safetensors", PENGUINS, "--json").stdout)
    assert figures["rows"] == 333
    assert figures["loss"] == pytest.approx(
        (result["train"]["loss"] * 266 + result["validation"]["loss"] * 67) / 333, rel=1e-4
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--loss", "binary_focal"],
        ["--loss", "binary_focal", "--output-activation", "sigmoid"],
        ["--loss", "softmax_focal", "--output-activation", "softmax"],
        ["--loss", "binary_cross_entropy", "--label-smoothing", "0.1"],
        ["--label-smoothing", "0.1", "--class-weight", "balanced"],
        ["--loss", "hinge"],
        ["--loss", "squared_hinge", "--class-weight", "balanced"],
        ["--loss", "categorical_hinge"],
    ],
)
def test_every_loss_of_classes(options):
    """The figures of train, those of evaluate and the report's say the same of the same rows."""
    columns = ["--target", "sex", "--validation", "0", "--epochs", "40"]
    result = train_json(PENGUINS, *columns, *options, "--report")
    assert result["train"]["accuracy"] > 0.8 > result["baseline"]["accuracy"]
    assert result["train"]["loss"] < result["baseline"]["loss"]
    figures = json.loads(
        done("evaluate", "model.safetensors", PENGUINS, "--report", "--json").stdout
    )
    assert figures["loss"] == pytest.approx(result["train"]["loss"], rel=1e-6)
    assert figures["report"]["classes"] == result["report"]["classes"]
    assert figures["report"]["metrics"] == pytest.approx(result["report"]["metrics"], rel=1e-5)
    assert figures["report"]["metrics"]["accuracy"] == pytest.approx(figures["accuracy"])
    said = answers(done("predict", "model.safetensors", PENGUINS).stdout)["sex"]
    counts = np.array(result["report"]["confusion_matrix"])
    assert counts.sum() == 333
    truth = answers(Path(PENGUINS).read_text())["sex"]
    pairs = [(t, s) for t, s in zip(truth, said, strict=True) if t in ("female", "male")]
    for i, t in enumerate(("female", "male")):
        assert counts[i].tolist() == [pairs.count((t, s)) for s in ("female", "male")]
    if "hinge" in str(options):
        message = fails(2, "predict", "model.safetensors", PENGUINS, "--probabilities")
        assert "gives no probabilities" in message
        assert "log_loss" not in result["report"]["metrics"]
