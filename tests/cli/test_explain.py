"""``nnbackend explain``: one training step of a model on a row of its data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from cli.commands import EXAM, EXAM_OPTIONS, PENGUINS, done, fails

import nnbackend as nnb
from nnbackend.drawing.text import digits

TRAIN_EXAM = ["train", EXAM, "--target", "score", *EXAM_OPTIONS, "--epochs", "5", "--quiet"]


def test_the_exam_model_is_explained_with_the_names_of_its_columns():
    done(*TRAIN_EXAM)
    text = done("explain", "model.safetensors", EXAM).stdout
    assert "loss mse, optimizer SGD with learning rate 5, 1 row" in text
    header = Path(EXAM).read_text().splitlines()[0].split(",")
    assert f"weight from {header[0]} to unit 0 of layer 0" in text
    assert f"target of {header[-1]}" in text
    for words in ("Output error", "Delta output sum", "Hidden error", "Hidden delta", "Adjustment"):
        assert words in text
    model = nnb.tables.load("model.safetensors")
    names = model.encoder.feature_names
    encoded = model.encode(dict(zip(names, [[1.0], [5.0]], strict=True)))
    second = done("explain", "model.safetensors", EXAM, "--row", "2").stdout
    assert re.search(rf"{header[1]} +{re.escape(digits(encoded[0, 1]))}\n", second)
    assert second != text


def test_a_page_is_written():
    done(*TRAIN_EXAM)
    told = done("explain", "model.safetensors", EXAM, "--output", "explain.html").stdout
    assert told == "wrote explain.html: open it in a browser\n"
    page = Path("explain.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "hours_studied" in page


def test_another_optimizer_may_be_asked_for():
    done(*TRAIN_EXAM)
    call = ["explain", "model.safetensors", EXAM]
    text = done(*call, "--optimizer", "adam", "--learning-rate", "0.5").stdout
    assert "optimizer Adam with learning rate 0.5" in text
    assert "--optimizer" in fails(2, *call, "--optimizer", "adm")
    assert "no single step" in fails(2, *call, "--optimizer", "lbfgs")


def test_networks_for_tables_and_images():
    done("train", PENGUINS, "--target", "species", "--epochs", "1", "--quiet")
    text = done("explain", "model.safetensors", PENGUINS, "--row", "5", "-o", "penguins.html")
    assert "wrote penguins.html" in text.stdout
    assert "the update shown is that of plain Adam" in text.stderr
    text = done("explain", "model.safetensors", PENGUINS).stdout
    assert "loss softmax_cross_entropy with label smoothing 0.1" in text
    done("train", PENGUINS, "--target", "species", "--model", "tabm", "--epochs", "1", "--quiet")
    assert "network of members" in fails(1, "explain", "model.safetensors", PENGUINS)
    rng = np.random.default_rng(0)
    np.savez("images.npz", x=rng.normal(size=(30, 8, 8, 1)), y=rng.integers(2, size=30))
    done("train", "images.npz", "--target", "y", "--model", "cnn", "--epochs", "1", "--quiet")
    text = done("explain", "model.safetensors", "images.npz").stdout
    assert "Each output multiplies a window of the image" in text


def test_clear_words():
    done(*TRAIN_EXAM)
    call = ["explain", "model.safetensors", EXAM]
    assert "--row 4: the data have 3 row(s) with a target" in fails(2, *call, "--row", "4")
    assert "ends in .html" in fails(2, *call, "--output", "explain.pdf")
    assert "cannot be written" in fails(2, *call, "--output", "no/explain.html")
    Path("model.html").write_bytes(Path("model.safetensors").read_bytes())
    assert "would overwrite" in fails(2, "explain", "model.html", EXAM, "-o", "model.html")
    Path("rows.csv").write_text("hours_studied,hours_slept\n1,2\n")
    assert "score" in fails(2, "explain", "model.safetensors", "rows.csv")
    nnb.Network([nnb.Dense(2)], input_shape=2).save("plain.safetensors")
    fails(1, "explain", "plain.safetensors", EXAM)
    assert "DATA" in fails(2, "explain", "model.safetensors")


def test_help():
    text = done("explain", "--help").stdout
    for words in ("--row", "--output", "--optimizer", "--learning-rate"):
        assert words in text
