"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require
from fake_cupy import Machine

import nnbackend as nnb
from nnbackend.tables.encoding import Classes, Number, TableEncoder

testing = pytest.importorskip("typer.testing")
pytest.importorskip("polars")

DATA = Path(__file__).parents[2] / "examples" / "data"
PENGUINS = str(DATA / "penguins.csv")
EXAM = str(DATA / "exam_scores.csv")
EXAM_OPTIONS = shlex.split(
    "--hidden 3 --activation sigmoid --output-activation sigmoid --no-bias --init normal "
    "--scale max --loss mse --optimizer sgd --learning-rate 5 --epochs 3000 --validation 0"
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str | Path) -> Any:
    from nnbackend.cli.app import app

    return testing.CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> Any:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fails(code: int, *arguments: str | Path) -> str:
    """Run a command that has to fail, with one readable message and no file; return the message."""
    before = sorted(Path().iterdir())
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert sorted(Path().iterdir()) == before
    return result.stderr


def train_json(*arguments: str | Path) -> dict:
    result = done("train", *arguments, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def answers(text: str) -> dict[str, list[str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    return {name: [row[name] for row in rows] for name in rows[0]}


def table(text: str, name: str = "table.csv") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


# --------------------------------------------------------------------------------------- it works


def test_penguins_with_nothing_but_a_target():
    result = done("train", PENGUINS, "--target", "species")
    for words in (
        "classification of 'species': Adelie, Chinstrap, Gentoo",
        "344: 275 train, 69 validate",
        "Dense(64, relu), Dense(3, identity); 963 parameters",
        "(always Adelie)",
        "Model written to model.safetensors",
        "nnbackend predict model.safetensors DATA",
    ):
        assert words in result.stdout
    assert "missing numbers filled with the median" in result.stderr
    assert Path("model.safetensors").exists()


@pytest.mark.parametrize("seed", range(5))
def test_penguins_reach_95_percent_in_validation(seed):
    result = train_json(PENGUINS, "--target", "species", "--seed", seed)
    assert result["validation"]["accuracy"] >= 0.95
    assert result["baseline"]["accuracy"] == pytest.approx(0.44, abs=0.02)
    assert result["validation"]["loss"] < result["baseline"]["loss"]


def test_training_is_what_the_library_does_with_the_same_choices():
    """Penalties, clipping, an average and accumulation, each of which changes the weights."""
    task = [PENGUINS, "--target", "species", "--epochs", "3", "--hidden", "8", "--batch-size", "50"]
    options = {"--l1": 0.001, "--l2": 0.02, "--clip-norm": 0.1, "--ema": 0.9, "--accumulate": 3}
    plain = train_json(*task, "--output", "plain.model")
    for name, value in options.items():
        other = train_json(*task, name, value)
        assert other["settings"][name.strip("-").replace("-", "_")] == value
        same = other["train"]["loss"] == pytest.approx(plain["train"]["loss"], rel=1e-6)
        assert same == (name == "--accumulate"), name
    result = train_json(*task, *(word for pair in options.items() for word in pair))
    net = nnb.load("model.safetensors")
    assert net.layers.layers[0].regularizer == nnb.regularizers.ElasticNet(0.001, 0.02)
    assert net.layers.layers[1].regularizer == net.layers.layers[0].regularizer
    assert result["history"]["learning_rate"] == [0.001] * 3


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


def test_json_says_all_there_is():
    result = train_json(PENGUINS, "--target", "species", "--epochs", "3", "--output", "p.model")
    assert {
        "task": "classification",
        "target": "species",
        "classes": ["Adelie", "Chinstrap", "Gentoo"],
        "backend": "numpy",
        "device": "cpu",
        "dtype": "float32",
        "rows": 344,
        "validation_rows": 69,
        "epochs": 3,
        "stopped": None,
        "model": "p.model",
    }.items() <= result.items()
    for part in ("train", "validation", "baseline"):
        assert result[part].keys() == {"loss", "accuracy"}
    assert result["seconds"] > 0
    assert result["settings"]["batch_size"] == 32
    assert result["settings"]["learning_rate"] == 1e-3
    assert len(result["history"]["validation_accuracy"]) == 3
    assert len(result["notes"]) == 1


def test_regression_is_in_the_units_of_the_data():
    result = train_json(PENGUINS, "--target", "body_mass_g")
    assert result["task"] == "regression"
    assert result["rows"] == 342
    assert "2 row(s) without a value for the target 'body_mass_g' dropped" in result["notes"]
    assert result["validation"].keys() == {"loss", "rmse", "r2"}
    assert 200 < result["validation"]["rmse"] < 500 < result["baseline"]["rmse"] < 1200
    assert result["validation"]["r2"] > 0.7 > abs(result["baseline"]["r2"])
    mass = answers(done("predict", "model.safetensors", PENGUINS).stdout)["body_mass_g"]
    assert len(mass) == 344
    assert all(2000 < float(value) < 7000 for value in mass)


def test_the_exam_scores():
    result = train_json(EXAM, "--target", "score", *EXAM_OPTIONS)
    loss = result["history"]["loss"]
    assert loss[-1] < loss[0] / 1000
    assert result["validation"] is None
    assert result["train"]["rmse"] < result["baseline"]["rmse"]
    text = done("predict", "model.safetensors", DATA / "exam_question.csv").stdout
    assert text.startswith("score\n")
    assert 85 < float(answers(text)["score"][0]) < 92


def test_every_backend_gives_the_same_figures(library):
    require(library)
    arguments = (PENGUINS, "--target", "species", "--epochs", "20", "--dropout", "0.1")
    expected = train_json(*arguments)
    result = train_json(*arguments, "--backend", library, "--output", "other.model")
    assert result["backend"] == library
    for part in ("train", "validation", "baseline"):
        assert result[part] == pytest.approx(expected[part], rel=1e-3)
    other = done("predict", "other.model", PENGUINS).stdout
    assert other == done("predict", "other.model", PENGUINS, "--backend", library).stdout
    done("evaluate", "model.safetensors", PENGUINS, "--backend", library)


def test_classes_from_probabilities():
    done("train", PENGUINS, "--target", "species", "--quiet")
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


def test_a_report_for_people():
    result = done("train", PENGUINS, "--target", "species", "--report", "--epochs", "5")
    for words in ("Report on 69 rows that validate", "balanced_accuracy", "precision", "Gentoo"):
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


def test_numbers_are_classes_when_asked():
    data = table("x,digit\n" + "".join(f"{i % 3},{[7, 9, 10][i % 3]}\n" for i in range(60)))
    result = train_json(data, "--target", "digit", "--task", "classification")
    assert result["classes"] == ["7", "9", "10"]
    assert result["validation"]["accuracy"] == 1
    assert train_json(data, "--target", "digit")["task"] == "regression"
    by_loss = train_json(data, "--target", "digit", "--loss", "softmax_cross_entropy")
    assert by_loss["task"] == "classification"


def test_features_can_be_chosen_and_the_model_linear():
    columns = ["--features", "bill_length_mm, sex", "--hidden", "none"]
    result = train_json(PENGUINS, "--target", "species", *columns, "--init", "zeros")
    assert result["settings"]["features"] == ["bill_length_mm", "sex"]
    network = nnb.load("model.safetensors")
    assert network.state_dict()["0.weight"].shape == (4, 3)
    assert network.input_shape == (4,)
    Path("only.csv").write_text("sex,bill_length_mm\nmale,39\n")
    assert done("predict", "model.safetensors", "only.csv").stdout == "species\nAdelie\n"


def test_a_seed_fixes_everything_and_another_one_changes_it():
    runs = [
        train_json(PENGUINS, "--target", "species", "--epochs", "5", "--seed", seed)["history"]
        for seed in (3, 3, 4)
    ]
    assert runs[0]["loss"] == runs[1]["loss"] != runs[2]["loss"]


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


# The learning rates after 1, 2, ... of 8 epochs of one step each, from a rate of 1.
RATES_OVER_A_RUN = {
    "constant": [1.0] * 8,
    "cosine": [0.5 + 0.5 * math.cos(math.pi * step / 8) for step in range(8)],
    "exponential": [0.01 ** (step / 8) for step in range(8)],
    "inverse-square-root": [(1 + step) ** -0.5 for step in range(8)],
    "linear": [1 - step / 8 for step in range(8)],
    "one-cycle": [nnb.schedules.OneCycle(1.0, 8)(step) for step in range(8)],
    "plateau": [1.0] * 8,
    "step": [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01],
}
ONE_STEP_AN_EPOCH = ["--target", "score", "--validation", "0", "--optimizer", "sgd", "--scale", "max",
                     "--learning-rate", "0.001", "--epochs", "8"]  # fmt: skip


def test_every_schedule_has_its_rates_in_a_test():
    from nnbackend.cli.schedule import NAMES

    assert set(NAMES) == set(RATES_OVER_A_RUN)


@pytest.mark.parametrize("schedule", RATES_OVER_A_RUN)
def test_a_schedule_lasts_as_long_as_the_run(schedule):
    result = train_json(EXAM, *ONE_STEP_AN_EPOCH, "--schedule", schedule)
    rates = np.divide(result["history"]["learning_rate"], 0.001)
    np.testing.assert_allclose(rates, RATES_OVER_A_RUN[schedule], rtol=1e-12)
    assert result["settings"]["schedule"] == schedule


def test_a_warm_up_is_a_share_of_the_run():
    def rates(*options):
        result = train_json(EXAM, *ONE_STEP_AN_EPOCH, *options)
        return np.divide(result["history"]["learning_rate"], 0.001)

    up = [0.25, 0.4375, 0.625, 0.8125]
    np.testing.assert_allclose(rates("--warmup", "0.5"), [*up, 1, 1, 1, 1])
    linear = rates("--warmup", "0.5", "--schedule", "linear")
    np.testing.assert_allclose(linear, [*up, 1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(rates("--warmup", "0"), np.ones(8))
    one_cycle = rates("--warmup", "0.5", "--schedule", "one-cycle")
    assert np.argmax(one_cycle) == 3


def test_a_plateau_lowers_the_learning_rate():
    options = ["--target", "species", "--optimizer", "sgd", "--learning-rate", "0", "--epochs", "13",
               "--schedule", "plateau"]  # fmt: skip
    assert train_json(PENGUINS, *options)["history"]["learning_rate"] == [0.0] * 13
    options[options.index("0")] = "1e-12"
    rates = train_json(PENGUINS, *options)["history"]["learning_rate"]
    np.testing.assert_allclose(rates, [1e-12] * 11 + [1e-13] * 2)


def test_the_plan_says_how_the_learning_rate_changes():
    shown = done("train", PENGUINS, "--target", "species", "--epochs", "2", "--schedule", "cosine",
                 "--warmup", "0.05").stdout  # fmt: skip
    # Lines are as wide as the terminal, wherever the tests run.
    assert "learning rate 0.001, cosine, warm-up in 5% of the steps" in " ".join(shown.split())


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


def test_a_batch_larger_than_the_data_is_one_batch():
    result = train_json(EXAM, "--target", "score", "--batch-size", "9999", "--epochs", "2")
    assert result["settings"]["batch_size"] == 3


def test_too_few_rows_to_validate_is_said():
    result = done("train", EXAM, "--target", "score", "--epochs", "2")
    assert "3 rows are too few to set some aside" in result.stderr
    assert "3: 3 train, 0 validate" in result.stdout


def test_predictions_go_to_a_file():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "2")
    result = done("predict", "model.safetensors", EXAM, "--output", "answers.csv")
    assert result.output == ""
    assert Path("answers.csv").read_text().count("\n") == 4


def test_unseen_categories_are_reported_and_predicted_all_the_same():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2")
    text = Path(PENGUINS).read_text().replace("Torgersen", "Atlantis")
    result = done("predict", "model.safetensors", table(text))
    assert "note: column 'island': 52 row(s) with a category that training has not seen: 'At" in (
        result.stderr
    )
    assert result.stdout.count("\n") == 345


def test_evaluate_for_people_and_for_programs():
    figures = train_json(PENGUINS, "--target", "species", "--validation", "0")["train"]
    result = done("evaluate", "model.safetensors", PENGUINS)
    assert "344 rows" in result.stdout
    assert "accuracy" in result.stdout
    result = done("evaluate", "model.safetensors", PENGUINS, "--json")
    assert result.stderr == ""
    assert json.loads(result.stdout)["loss"] == pytest.approx(figures["loss"])


def test_inspect_shows_network_columns_and_training():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2")
    text = done("inspect", "model.safetensors").stdout
    for words in (
        "Dense(64, relu)",
        "island          ",
        "category: Biscoe, Dream, Torgersen",
        "category: female, male, (missing)",
        "44.5 where missing",
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


def test_backends_are_listed_with_reasons():
    text = " ".join(done("backends").stdout.split())
    statuses = json.loads(done("backends", "--json").stdout)["backends"]
    assert statuses[0]["name"] == "numpy"
    assert statuses[0]["usable"]
    for status in statuses:
        if status["usable"]:
            assert f"{status['name']} {status['version']} {status['devices'][0]['name']}" in text
        else:
            assert f"{status['name']} is not usable: {status['reason']}" in text
            assert status["devices"] == []


def test_backends_show_the_cards_of_a_machine(monkeypatch):
    machine = Machine(total=80_000_000_000)
    machine.install(monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    machine.held[1] = 60_000_000_000
    lines = [line.split() for line in done("backends").stdout.splitlines()]
    card, size = ["Make-Believe", "9000"], ["of", "80", "GB"]
    versions = ["9.0", "driver", "12.4,", "runtime", "12.9"]
    assert ["cupy", "cuda:0", *card, "80", "GB", *size, *versions] in lines
    assert ["cuda:1", *card, "20", "GB", *size, "9.0"] in lines
    cupy = json.loads(done("backends", "--json").stdout)["backends"][1]
    assert cupy["devices"][1] == {"name": "cuda:1", "model": "Make-Believe 9000", "total": 80 * 10**9,
                                  "free": 20 * 10**9, "compute_capability": "9.0"}  # fmt: skip
    assert cupy["versions"] == {"driver": "CUDA 12.4", "runtime": "CUDA 12.9"}
    nnb.backends.choose._status.cache_clear()


def test_a_card_trains_predicts_and_evaluates(monkeypatch):
    machine = Machine()
    machine.install(monkeypatch)
    where = ["--backend", "cupy", "--device", "cuda:1"]
    task = [PENGUINS, "--target", "species", "--epochs", "3"]
    text = done("train", *task, *where).stdout
    assert "cupy on Make-Believe 9000 (cuda:1), float32" in text
    assert re.search(r"3 epochs in .* s on Make-Believe 9000 \(cuda:1\), peak memory .* kB", text)
    result = json.loads(done("train", *task, *where, "--json").stdout)
    assert result["device"] == "Make-Believe 9000 (cuda:1)"
    assert result["peak_memory"] == machine.held[1]
    done("predict", "model.safetensors", PENGUINS, *where)
    done("evaluate", "model.safetensors", PENGUINS, *where)
    assert set(machine.made) == {1}
    machine.total = 4096
    failed = run("train", *task, *where)
    assert failed.exit_code == 1
    assert "error: Make-Believe 9000 (cuda:1) has too little memory for" in failed.stderr
    failed = run("train", *task, "--backend", "cupy", "--device", "7")
    assert failed.exit_code == 1
    assert "there is no CUDA device 7: this machine has 2" in failed.stderr
    nnb.backends.choose._status.cache_clear()


def test_version_and_help():
    assert done("--version").stdout == f"nnbackend {nnb.__version__}\n"
    assert "--learning-rate" in done("train", "--help").stdout
    assert "predict" in done("--help").stdout


def test_quiet_is_quiet():
    assert done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2").output == ""


def test_control_characters_do_not_reach_the_terminal():
    data = table('"a\x1b[31m",b\n1,2\n2,3\n3,5\n')
    result = done("train", data, "--target", "b", "--epochs", "1")
    assert "\x1b" not in result.output
    assert r"a\x1b[31m" in result.stdout
    assert "\x1b" not in done("inspect", "model.safetensors").stdout


# ----------------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "specis"], "unknown column 'specis'; did you mean 'species'"),
        (["--features", "sex,ilsand"], "unknown column 'ilsand'; did you mean 'island'"),
        (["--features", "sex,species"], "'species' is the target"),
        (["--features", ","], "--features takes names of columns"),
        (["--task", "regresion"], "unknown task 'regresion'; did you mean 'regression'"),
        (["--activation", "rleu"], "unknown activation 'rleu'; did you mean 'relu'"),
        (["--output-activation", "sofmax"], "did you mean 'softmax'"),
        (["--init", "he_nromal"], "did you mean 'he_normal'"),
        (["--loss", "msee"], "unknown loss 'msee'; did you mean 'mse'"),
        (["--optimizer", "adamm"], "unknown optimizer 'adamm'; did you mean 'adam"),
        (["--scale", "maximum"], "unknown scale 'maximum'"),
        (["--backend", "nunpy"], "unknown backend 'nunpy'; did you mean 'numpy'"),
        (["--dtype", "float16"], "dtype must be one of 'float32', 'float64'"),
        (["--precision", "half"], "precision must be one of 'float64', 'float32', 'tf32'"),
        (["--precision", "bfloat16"], "'bfloat16' is not possible on numpy: it has no bfloat16"),
        (["--precision", "float16", "--dtype", "float64"], "contradict each other"),
        (["--hidden", "64,x"], "--hidden takes widths like 64,64, or none; got '64,x'"),
        (["--hidden", "0"], "--hidden takes widths"),
        (["--hidden", "-5"], "--hidden takes widths"),
        (["--dropout", "1"], "--dropout must be from 0 to below 1, got 1.0"),
        (["--dropout", "-0.1"], "--dropout must be from 0"),
        (["--learning-rate", "-1"], "learning_rate must be a number"),
        (["--learning-rate", "nan"], "learning_rate must be a number"),
        (["--momentum", "0.9"], "unknown argument of optimizer 'adamw': 'momentum'"),
        (["--optimizer", "sgd", "--momentum", "1"], "momentum must be a number"),
        (["--weight-decay", "-1"], "weight_decay must be a number"),
        (["--schedule", "cosin"], "unknown schedule 'cosin'; did you mean 'cosine'"),
        (["--warmup", "1"], "warmup must be a number, from 0 to below 1"),
        (["--warmup", "-0.1"], "warmup must be a number, from 0 to below 1"),
        (["--optimizer", "lbfgs", "--schedule", "step"], "lbfgs has no learning rate"),
        (["--optimizer", "lbfgs", "--warmup", "0.1"], "lbfgs has no learning rate"),
        (["--optimizer", "lbfgs", "--dropout", "0.1"], "goes without --dropout"),
        (["--optimizer", "lbfgs", "--batch-size", "8"], "leave out --batch-size"),
        (["--optimizer", "lbfgs", "--learning-rate", "1"], "argument of optimizer 'lbfgs'"),
        (["--validation", "1"], "validation must be from 0 to below 1"),
        (["--validation", "nan"], "validation must be from 0 to below 1"),
        (["--epochs", "0"], "epochs"),
        (["--batch-size", "0"], "batch-size"),
        (["--batch-size", "many"], "batch-size"),
        (["--seed", "-1"], "seed"),
        (["--loss", "mse"], "loss mse does not suit a classification"),
        (["--loss", "binary_cross_entropy"], "for two classes, and 'species' has 3"),
        (["--loss", "hinge"], "hinge is for two classes, and 'species' has 3"),
        (["--loss", "hinge", "--output-activation", "sigmoid"], "for two classes"),
        (["--loss", "categorical_hinge", "--output-activation", "softmax"], "is none, not softmax"),
        (["--label-smoothing", "1"], "label_smoothing must be a number, from 0 to below 1"),
        (["--loss", "softmax_focal", "--label-smoothing", "0.1"], "has no label smoothing"),
        (["--target", "year", "--label-smoothing", "0.1"], "the loss mse has no label smoothing"),
        (["--class-weight", "balance"], "unknown class weight 'balance'; did you mean 'balanced'"),
        (["--target", "year", "--class-weight", "balanced"], "--class-weight needs classes"),
        (["--class-weight", "balanced", "--stream"], "--stream does not see them"),
        (["--output-activation", "tanh"], "the output activation is softmax or none, not tanh"),
        (["--target", "year", "--output-activation", "softmax"], "always 1"),
        (["--output", PENGUINS], "would overwrite what is read"),
        (["--output", "no/such/folder/model"], "No such file or directory"),
        (["--output", "."], "is not a regular file"),
        (["--output", os.devnull], "is not a regular file"),
    ],
)
def test_wrong_calls_of_train(options, message):
    assert message in fails(2, "train", PENGUINS, "--target", "species", *options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "DATA"),
        (["train", PENGUINS], "--target"),
        (["train", "nothing.csv", "--target", "a"], "does not exist"),
        (["train", DATA.parent, "--target", "a"], "there is no table in"),
        (["trian", PENGUINS], "trian"),
        (["predict", PENGUINS], "DATA"),
        (["predict", "nothing.safetensors", PENGUINS], "does not exist"),
        (["evaluate", PENGUINS, "nothing.csv"], "does not exist"),
        (["inspect", "nothing.safetensors"], "does not exist"),
    ],
)
def test_wrong_calls(arguments, message):
    assert message in fails(2, *arguments)


def test_probabilities_of_numbers():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    message = fails(2, "predict", "model.safetensors", EXAM, "--probabilities")
    assert "--probabilities needs classes" in message


@pytest.mark.parametrize("victim", ["model.safetensors", "data.csv"])
def test_predictions_overwrite_no_input(victim):
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    shutil.copy(EXAM, "data.csv")
    message = fails(2, "predict", "model.safetensors", "data.csv", "--output", victim)
    assert "would overwrite what is read" in message


def test_an_unwritable_folder_is_found_before_training(monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(nnb.Network, "fit", None)
    message = fails(2, "train", PENGUINS, "--target", "species")
    assert "--output model.safetensors cannot be written: Permission denied" in message


# ---------------------------------------------------------------------------------- failing work


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv is empty"),
        ("a,b\n", "holds no rows"),
        ("a,b\n1,2\n", "at least two rows with a target 'b'"),
        ("a,b\n1,5\n2,5\n", "target 'b' has one value only, 5"),
        ("a,b\n1,\n2,\n", "no row has a value for the target 'b'"),
        ("a,b\n1,1\n1,2\n", "no column to predict 'b' from"),
        ("b\n1\n2\n", "no column to predict 'b' from"),
        ("a,b\n1,2\n2,3\nx,4\n", "column 'a' holds numbers, but row 3 holds 'x'"),
        ("a,b\n1,2\n2,3\n4,x\n", "column 'b' holds numbers, but row 3 holds 'x'"),
        ("a,b\n1,2\ninf,3\n", "column 'a' is infinite in row 2"),
        ("a,b\n1,2,3\n", "not a readable .csv file"),
        ("a,b,b\n1,2,3\n", "more than one column is named 'b'"),
    ],
)
def test_tables_that_cannot_be_learned_from(text, message):
    assert message in fails(1, "train", table(text), "--target", "b")


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".jsonl", ".csv.gz", ".xlsx", ""])
def test_files_that_are_not_what_their_ending_says(ending):
    path = Path(f"table{ending}")
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe")
    assert str(path) in fails(1, "train", path, "--target", "b")


def test_text_in_a_target_of_numbers():
    message = fails(1, "train", PENGUINS, "--target", "species", "--task", "regression")
    assert "column 'species' holds numbers, but row 1 holds 'Adelie'" in message


def test_an_unusable_backend_says_why():
    name = next((s.name for s in nnb.available_backends() if not s.usable), None)
    if name is None:
        pytest.skip("every backend is usable here")
    message = fails(1, "train", PENGUINS, "--target", "species", "--backend", name)
    assert f"backend {name!r} cannot be used" in message
    assert "Usable here: numpy" in message


def test_a_diverging_training_leaves_no_model():
    options = ["--optimizer", "sgd", "--learning-rate", "1e38", "--epochs", "5"]
    message = fails(1, "train", PENGUINS, "--target", "species", *options)
    assert "no longer a finite number in epoch 1" in message
    assert "smaller learning rate" in message


@pytest.mark.parametrize("command", ["train", "predict"])
def test_a_full_disk_leaves_no_partial_file(command, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    done("train", EXAM, "--target", "score", "--epochs", "1", "--quiet", "--output", "old.model")
    monkeypatch.setattr("os.fsync", fail)
    if command == "train":
        message = fails(1, "train", EXAM, "--target", "score", "--epochs", "1", "--quiet")
    else:
        message = fails(1, "predict", "old.model", EXAM, "--output", "answers.csv")
    assert "cannot write" in message
    assert "No space left on device" in message


def test_missing_columns_at_prediction_are_named():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "1")
    data = table("island,bill_length,bill_depth_mm\nDream,40,18\n")
    message = fails(2, "predict", "model.safetensors", data)
    assert "unknown column 'bill_length_mm'; did you mean 'bill_length'" in message


def test_text_instead_of_a_number_at_prediction():
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1")
    data = table("hours_studied,hours_slept\n4,eight\n")
    message = fails(1, "predict", "model.safetensors", data)
    assert "column 'hours_slept' holds numbers, but row 1 holds 'eight'" in message


def test_labels_outside_the_classes_at_evaluation():
    done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "1")
    data = table(Path(PENGUINS).read_text().replace("Gentoo", "Emperor"))
    message = fails(1, "evaluate", "model.safetensors", data)
    assert "'species' holds 'Emperor', which is none of the classes" in message


def saved_model(**metadata) -> Path:
    """Write a model for a table of one number, whose metadata may be anything."""
    encoder = TableEncoder((Number("x", 0.0, 0.0, 1.0),), Classes("y", ("a", "b")))
    network = nnb.Network([nnb.Dense(2)], input_shape=1)
    network.metadata = {
        "table": encoder.to_dict(),
        "loss": "softmax_cross_entropy",
        "output_activation": None,
    } | metadata
    return network.save("hostile.safetensors")


def test_the_model_that_the_hostile_ones_are_made_from_is_fine():
    assert done("predict", saved_model(), table("x\n1\n2\n")).stdout.startswith("y\n")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"table": {}}, "description of its table is damaged"),
        ({"table": None}, "description of its table is damaged"),
        ({"loss": "mse"}, "names a loss that does not belong to classification"),
        ({"loss": ["softmax_cross_entropy"]}, "names a loss that does not belong"),
        ({"loss": "binary_cross_entropy"}, "do not belong together"),
        ({"label_smoothing": 2}, "a loss that cannot be"),
        ({"label_smoothing": [0.1]}, "a loss that cannot be"),
        (
            {
                "table": TableEncoder(
                    (Number("x", 0.0, 0.0, 1.0),), Classes("y", tuple("abc"))
                ).to_dict()
            },
            "do not belong together",
        ),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_hostile_models_are_refused(metadata, message, command):
    model, data = saved_model(**metadata), table("x,y\n1,a\n2,b\n")
    assert message in fails(1, command, model, data)


def test_models_without_a_table_are_refused():
    path = nnb.Network([nnb.Dense(2)], input_shape=1).save("bare.safetensors")
    message = fails(1, "predict", path, PENGUINS)
    assert "does not describe a table: it was not written by 'nnbackend train'" in message


@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect"])
@pytest.mark.parametrize("kind", ["foreign", "empty", "truncated"])
def test_files_that_are_no_models_are_refused(command, kind):
    content = saved_model().read_bytes()
    path = Path("no.safetensors")
    path.write_bytes({"foreign": b"a,b\n1,2\n", "empty": b"", "truncated": content[:-5]}[kind])
    message = fails(1, command, path, *([] if command == "inspect" else [PENGUINS]))
    assert "no.safetensors cannot be loaded" in message


def test_debug_shows_where_an_error_comes_from():
    result = run("train", table("a,b\n1,5\n2,5\n"), "--target", "b", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "error: the target 'b' has one value only" in result.stderr


def test_an_error_nobody_thought_of_is_one_message_too(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(nnb.Network, "fit", fail)
    message = fails(1, "train", EXAM, "--target", "score", "--quiet")
    assert message == "error: ZeroDivisionError: division by zero (--debug shows where)\n"


def test_an_interruption_outside_training_is_one_message(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnbackend.cli.training.read_table", interrupt)
    assert fails(1, "train", EXAM, "--target", "score") == "error: interrupted\n"


# ------------------------------------------------------------------------------- as a program


def program(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nnbackend", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **options)


@pytest.fixture
def importable(monkeypatch):
    """Let programs started from another folder find the package when it is not installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(nnb.__file__).parent.parent))


@pytest.mark.usefixtures("importable")
def test_the_module_is_a_program_with_exit_codes():
    result = program("train", PENGUINS, "--target", "species", "--json", "--epochs", "2")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["epochs"] == 2
    result = program("predict", "model.safetensors", PENGUINS)
    assert result.returncode == 0
    assert result.stdout.count("\n") == 345
    result = program("train", PENGUINS, "--target", "nothing")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown column 'nothing'")
    result = program("inspect", PENGUINS)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr


def ended(process):
    """Return what a process printed, and its errors, when it has ended; it does not outlive the test."""
    try:
        return process.communicate(timeout=100)
    finally:
        process.kill()


@pytest.mark.usefixtures("importable")
def test_ctrl_c_keeps_the_epochs_done():
    command = [sys.executable, "-m", "nnbackend", "train", PENGUINS, "--target", "species"]
    process = subprocess.Popen(
        [*command, "--epochs", "10000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:  # the last line that is printed before the training starts
        if line.startswith("backend"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, errors = ended(process)
    assert process.returncode == 1
    assert "interrupted in epoch" in errors
    assert "Traceback" not in errors
    assert "Model written to model.safetensors" in output
    saved = json.loads(done("inspect", "model.safetensors", "--json").stdout)["metadata"]
    assert 0 < saved["training"]["epochs"] < 10000000


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_way_to_install_it_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import nnbackend.cli as c; c.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        f"nnbackend: {missing} is not installed; run: pip install 'nnbackend[cli]'\n"
    )


def test_profile_shows_where_the_time_goes(tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    options = ["--epochs", "2", "--profile", "--threads", "1", "--output", str(out)]
    result = run("train", PENGUINS, "--target", "species", *options)
    assert result.exit_code == 0, result.output
    assert "optimizer, data, the rest" in result.stderr
    as_json = run("train", PENGUINS, "--target", "species", *options, "--json")
    profile = json.loads(as_json.stdout)["profile"]
    assert profile["seconds"] >= sum(
        t["forward"] + t["backward"] for t in profile["layers"].values()
    )


def test_threads_are_those_of_blas():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    from nnbackend.cli.common import thread_limit

    def pools():
        found = threadpoolctl.threadpool_info()
        return [pool["num_threads"] for pool in found if pool["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2):
        before = pools()
        if not before:
            pytest.skip("threadpoolctl knows no BLAS here")
        with thread_limit(1):
            assert set(pools()) == {1}
        with thread_limit(None):
            assert pools() == before


def test_a_table_of_several_files_trains_as_one_file_does(tmp_path):
    lines = Path(EXAM).read_text().splitlines()
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, row in enumerate(lines[1:]):
        (folder / f"{i}.csv").write_text(f"{lines[0]}\n{row}\n")
    whole = run("train", EXAM, "--target", "score", "--epochs", "3", "--json")
    for data in (folder, folder / "*.csv"):
        parts = run("train", data, "--target", "score", "--epochs", "3", "--json")
        assert parts.exit_code == 0, parts.output
        loss = [json.loads(r.stdout)["history"]["loss"] for r in (whole, parts)]
        assert loss[0] == loss[1]
    fails(2, "train", folder / "*.csv", "--target", "score", "--output", folder / "0.csv")


# -------------------------------------------------------------------- checkpoints, logs and ends


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
                  "--learning-rate", "0.01", "--log", "log.jsonl")  # fmt: skip
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
    from nnbackend.cli.running import read_seconds as seconds

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
    ],
)
def test_wrong_calls_of_what_watches_a_run(options, message):
    own = Path(shutil.copy(PENGUINS, "own.csv"))  # a copy: one of the calls would overwrite it
    content = own.read_bytes()
    assert message in fails(2, "train", own, "--target", "species", *options)
    assert own.read_bytes() == content


def test_a_checkpoint_of_another_command_is_refused():
    options = ["train", PENGUINS, "--target", "species", "--epochs", "2"]
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


@pytest.mark.usefixtures("importable")
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from():
    options = ["train", PENGUINS, "--target", "species", "--epochs", "10000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nnbackend", *options, "--checkpoint", "saved"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(nnb.checkpoints.files("saved")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = ended(process)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "Go on with the same command and --resume saved" in output
    epochs = nnb.checkpoints.load(nnb.checkpoints.newest("saved")).state["epoch"]
    more = str(epochs + 2)
    history = train_json(*options[1:-1], more, "--resume", "saved")["history"]
    assert len(history["loss"]) == epochs + 2


def test_precision_is_chosen_in_training_and_again_in_prediction():
    few = ["--epochs", "3", "--hidden", "8", "--precision", "float16"]
    told = json.loads(done("train", PENGUINS, "--target", "species", *few, "--json").stdout)
    assert (told["dtype"], told["precision"]) == ("float32", "float16")
    assert "mixed float16" in done("inspect", "model.safetensors").stdout
    same = done("evaluate", "model.safetensors", PENGUINS, "--json").stdout
    wide = ["--precision", "float64", "--json"]
    exact = done("evaluate", "model.safetensors", PENGUINS, *wide).stdout
    losses = [json.loads(text)["loss"] for text in (same, exact)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    done("predict", "model.safetensors", PENGUINS, "--precision", "float32")
    message = fails(1, "predict", "model.safetensors", PENGUINS, "--precision", "tf32")
    assert "tf32 is a mode of NVIDIA GPUs" in message
