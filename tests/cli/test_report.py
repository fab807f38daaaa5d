"""``--report``: all metrics of a task, and the confusion matrix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, table, train_json

import nnbackend as nnb


def test_a_report_agrees_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    columns = ["--target", "species", "--features", "bill_length_mm,year", "--epochs", "30"]
    train_json(PENGUINS, *columns, "--validation", "0")
    report = json.loads(
        done("evaluate", "model.safetensors", PENGUINS, "--report", "--json").stdout
    )
    report = report["report"]
    columns = answers(done("predict", "model.safetensors", PENGUINS, "--probabilities").stdout)
    names = ["Adelie", "Chinstrap", "Gentoo"]
    said, p = columns["species"], np.array([columns[f"probability_{n}"] for n in names], float).T
    p /= p.sum(axis=1, keepdims=True)
    truth = answers(Path(PENGUINS).read_text())["species"]
    expected = {
        "accuracy": sk.accuracy_score(truth, said),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
        "f1_macro": sk.f1_score(truth, said, average="macro"),
        "recall_weighted": sk.recall_score(truth, said, average="weighted"),
        "log_loss": sk.log_loss(truth, p),
        "roc_auc": sk.roc_auc_score(truth, p, multi_class="ovr"),
        "average_precision": sk.average_precision_score(truth, p),
    }
    for name, value in expected.items():
        assert report["metrics"][name] == pytest.approx(value, rel=1e-5), name
    assert 0.6 < report["metrics"]["accuracy"] < 1
    assert report["confusion_matrix"] == sk.confusion_matrix(truth, said).tolist()
    by_class = sk.classification_report(truth, said, output_dict=True)
    for line in report["classes"]:
        own = by_class[line["class"]]
        assert line["rows"] == own["support"]
        assert line["f1"] == pytest.approx(own["f1-score"])
        assert line["precision"] == pytest.approx(own["precision"])
        assert line["recall"] == pytest.approx(own["recall"])


@pytest.mark.parametrize(
    ("ending", "loss"),
    [("sigmoid", "binary_cross_entropy"), ("softmax", "softmax_cross_entropy")],
)
def test_a_report_ranks_rows_whose_probabilities_are_rounded_to_one(ending, loss):
    table("x,y\n" + "".join(f"{i},{'ab'[i > 9]}\n" for i in range(20)), "a.csv")
    train_json("a.csv", "--target", "y", "--hidden", "none", "--loss", loss,
               "--output-activation", ending, "--epochs", "1", "--validation", "0")  # fmt: skip
    net = nnb.load("model.safetensors")
    sign = [[50.0]] if ending == "sigmoid" else [[-50.0, 50.0]]
    net.load_state_dict(
        {"0.weight": sign, "0.bias": [50.0] if ending == "sigmoid" else [0.0, 50.0]}
    )
    net.save("model.safetensors")
    figures = json.loads(
        done("evaluate", "model.safetensors", "a.csv", "--report", "--json").stdout
    )
    found = figures["report"]["metrics"]
    assert found["roc_auc"] == found["average_precision"] == 1
    assert found["log_loss"] == pytest.approx(figures["loss"])


def test_a_report_for_people():
    result = done("train", PENGUINS, "--target", "species", "--report", "--epochs", "5")
    for words in ("Report on 69 validation rows", "balanced_accuracy", "precision", "Gentoo"):
        assert words in result.stdout
    assert r"true \ predicted  Adelie  Chinstrap  Gentoo" in result.stdout
    result = done("evaluate", "model.safetensors", PENGUINS, "--report")
    assert "Report on 344 rows" in result.stdout


def test_a_report_of_numbers_is_in_the_units_of_the_data():
    result = train_json(PENGUINS, "--target", "body_mass_g", "--loss", "log_cosh", "--report")
    assert result["report"].keys() == {"rows", "metrics"}
    figures = result["report"]["metrics"]
    assert figures.keys() == {"mae", "mse", "rmse", "r2", "mape"}
    assert figures["rmse"] == pytest.approx(result["validation"]["rmse"])
    assert figures["mse"] == pytest.approx(figures["rmse"] ** 2)
    assert 0.02 < figures["mape"] < 0.2


def test_what_is_not_defined_is_said_so():
    """There is no area under a curve where all rows are of one class."""
    done("train", PENGUINS, "--target", "sex", "--quiet", "--epochs", "2")
    lines = Path(PENGUINS).read_text().splitlines()
    only = table("\n".join([lines[0], *(line for line in lines if ",male," in line)]) + "\n")
    result = json.loads(done("evaluate", "model.safetensors", only, "--report", "--json").stdout)
    assert result["report"]["metrics"]["roc_auc"] is None
    assert result["report"]["classes"][0]["rows"] == 0
    assert "not defined here" in done("evaluate", "model.safetensors", only, "--report").stdout


def test_a_report_of_many_classes():
    lines = "".join(f"{i % 25},{i % 25:02d}x\n" for i in range(250))
    done("train", table("x,y\n" + lines), "--target", "y", "--quiet", "--epochs", "2")
    text = done("evaluate", "model.safetensors", "table.csv", "--report").stdout
    assert "top_5_accuracy" in text
    assert "matrix of 25 classes is too wide: see it with --json" in text
