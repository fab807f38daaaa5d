"""``nnbackend train``: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cli.commands import (
    DATA,
    EXAM,
    EXAM_OPTIONS,
    PENGUINS,
    answers,
    done,
    fails,
    run,
    table,
    train_json,
)
from conftest import require
from fake_cupy import Machine

import nnbackend as nnb


def test_penguins_with_nothing_but_a_target():
    result = done("train", PENGUINS, "--target", "species")
    for words in (
        "classification of 'species': Adelie, Chinstrap, Gentoo",
        "344: 275 train, 69 validate",
        "7 columns, 9 inputs",
        "realmlp-simple (for classes of up to 2,000 rows; --model realmlp takes the whole recipe) "
        "with hidden layers of 256, 256, 256; 134,924 parameters",
        "softmax_cross_entropy with label smoothing 0.1",
        "bill_length_mm, bill_depth_mm, flipper_length_mm, body_mass_g, year",
        "island (3), sex (2)",
        "Best epoch: ",
        "Temperature by which logits are divided: ",
        "(always Adelie, on validation rows)",
        "Model written to model.safetensors",
        "nnbackend predict model.safetensors DATA",
    ):
        assert words in " ".join(result.stdout.split())
    assert "missing numbers filled with the median" in result.stderr
    assert Path("model.safetensors").exists()
    saved = json.loads(done("inspect", "model.safetensors", "--json").stdout)["metadata"]
    assert saved["training"]["validation"]["accuracy"] >= 0.95


@pytest.mark.parametrize("seed", range(5))
def test_penguins_reach_95_percent_in_validation(seed):
    result = train_json(PENGUINS, "--target", "species", "--seed", seed, "--model", "mlp")
    assert result["validation"]["accuracy"] >= 0.95
    assert result["baseline"]["accuracy"] == pytest.approx(0.44, abs=0.02)
    assert result["validation"]["loss"] < result["baseline"]["loss"]


def test_training_is_what_the_library_does_with_the_same_choices():
    """Penalties, clipping, an average and accumulation, each of which changes the weights."""
    task = [PENGUINS, "--target", "species", "--epochs", "3", "--hidden", "8", "--batch-size", "50"]
    task += ["--model", "mlp"]
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


def test_json_says_all_there_is():
    task = [PENGUINS, "--target", "species", "--epochs", "3", "--model", "mlp"]
    result = train_json(*task, "--output", "p.model")
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
    assert len([note for note in result["notes"] if "worse than" not in note]) == 1


@pytest.mark.parametrize("model", ["mlp", "realmlp-simple"])
def test_regression_is_in_the_units_of_the_data(model):
    result = train_json(PENGUINS, "--target", "body_mass_g", "--model", model, "--epochs", "60")
    assert result["task"] == "regression"
    assert result["rows"] == 342
    assert "2 rows without a value for the target 'body_mass_g' dropped" in result["notes"]
    assert result["validation"].keys() == {"loss", "rmse", "r2"}
    assert 200 < result["validation"]["rmse"] < 500 < result["baseline"]["rmse"] < 1200
    assert result["validation"]["r2"] > 0.7 > abs(result["baseline"]["r2"])
    mass = answers(done("predict", "model.safetensors", PENGUINS).stdout)["body_mass_g"]
    assert len(mass) == 344
    assert all(2000 < float(value) < 7000 for value in mass)


def test_the_figures_say_of_what_they_are():
    result = done("train", EXAM, "--target", "score", "--epochs", "2")
    assert "scaled loss" in result.stdout
    assert "on training rows)" in result.stdout
    assert "scaled loss" in done("evaluate", "model.safetensors", EXAM).stdout
    for plain in ([EXAM, "--target", "score", "--scale", "none"], [PENGUINS, "--target", "sex"]):
        assert "scaled loss" not in done("train", *plain, "--epochs", "2").stdout
        assert "scaled loss" not in done("evaluate", "model.safetensors", plain[0]).stdout


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


def test_numbers_are_classes_when_asked():
    data = table("x,digit\n" + "".join(f"{i % 3},{[7, 9, 10][i % 3]}\n" for i in range(60)))
    few = ["--target", "digit", "--epochs", "30"]
    result = train_json(data, *few, "--task", "classification")
    assert result["classes"] == ["7", "9", "10"]
    assert result["validation"]["accuracy"] == 1
    assert train_json(data, *few)["task"] == "regression"
    by_loss = train_json(data, *few, "--loss", "softmax_cross_entropy")
    assert by_loss["task"] == "classification"


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_0_and_1_are_classes_unless_they_are_to_be_numbers(ending, stream):
    polars = pytest.importorskip("polars")
    x = np.arange(40.0)
    columns = {"x": x, "y": (x > 19).astype(int)}
    path = f"data.{ending}"
    if ending == "npz":
        if stream:
            pytest.skip("streams are of tables")
        np.savez(path, **columns)
    elif ending == "csv":
        polars.DataFrame(columns).write_csv(path)
    else:
        polars.DataFrame(columns).write_parquet(path)
    result = train_json(path, "--target", "y", *stream)
    assert result["classes"] == ["0", "1"]
    assert "holds 0 and 1, which are taken for two classes" in " ".join(result["notes"])
    assert set(answers(done("predict", "model.safetensors", path).stdout)["y"]) == {"0", "1"}
    assert "accuracy" in done("evaluate", "model.safetensors", path).stdout
    for choice in (("--task", "regression"), ("--loss", "mae")):
        result = train_json(path, "--target", "y", "--epochs", "2", *choice, *stream)
        assert result["task"] == "regression"
        assert not any("holds 0 and 1" in note for note in result["notes"])


def test_a_seed_fixes_everything_and_another_one_changes_it():
    runs = [
        train_json(PENGUINS, "--target", "species", "--epochs", "5", "--seed", seed)["history"]
        for seed in (3, 3, 4)
    ]
    assert runs[0]["loss"] == runs[1]["loss"] != runs[2]["loss"]


def test_the_plan_says_how_the_learning_rate_changes():
    shown = done("train", PENGUINS, "--target", "species", "--epochs", "2", "--schedule", "cosine",
                 "--warmup", "0.05").stdout  # fmt: skip
    # Lines are as wide as the terminal, wherever the tests run.
    assert "learning rate 0.001, cosine, warm-up in 5% of the steps" in " ".join(shown.split())


def test_a_card_trains_predicts_and_evaluates(monkeypatch):
    machine = Machine()
    machine.install(monkeypatch)
    where = ["--backend", "cupy", "--device", "cuda:1"]
    task = [PENGUINS, "--target", "species", "--epochs", "3"]
    text = done("train", *task, *where).stdout
    assert "cupy on Make-Believe 9000 (cuda:1), float32" in text
    assert re.search(r"3 epochs in .* s on Make-Believe 9000 \(cuda:1\), peak memory .* MB", text)
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
    assert failed.exit_code == 2
    assert "there is no CUDA device 7: this machine has 2" in failed.stderr
    nnb.backends.choose._status.cache_clear()


def test_quiet_is_quiet():
    assert done("train", PENGUINS, "--target", "species", "--quiet", "--epochs", "2").output == ""


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
        (
            ["--hidden", "64,x"],
            "--hidden takes widths like 64,64 of at most 16777216, or none; got '64,x'",
        ),
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
        (["--epochs", "99999999999999999999"], "epochs"),
        (["--accumulate", "99999999999999999999"], "accumulate"),
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
        (["--seed", "99999999999999999999"], "seed must be a whole number from 0 to 2**64 - 1"),
        (["--hidden", ""], "--hidden takes widths"),
        (["--hidden", "99999999999999999999"], "--hidden takes widths like 64,64 of at most"),
        (["--threads", "99999999999999999999"], "--threads"),
        (["--device", "cuda:9"], "--device cuda:9"),
        (["--output", "a" * 300], "cannot be written: File name too long"),
        (["--output", PENGUINS], "would overwrite what is read"),
        (["--output", "model.parquet"], "names a table, and a model is written"),
        (["--output", "model.CSV"], "names a table, and a model is written"),
        (["--output", "no/such/folder/model"], "No such file or directory"),
        (["--output", "."], "is not a regular file"),
        (["--output", os.devnull], "is not a regular file"),
    ],
)
def test_wrong_calls_of_train(options, message):
    assert message in fails(2, "train", PENGUINS, "--target", "species", *options)


def test_an_unwritable_folder_is_found_before_training(monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(nnb.Network, "fit", None)
    message = fails(2, "train", PENGUINS, "--target", "species")
    assert "--output model.safetensors cannot be written: Permission denied" in message


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
    assert "no model was written" in message
    assert "weights" not in message


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
    for command in ("predict", "evaluate"):
        message = fails(2, command, "model.safetensors", PENGUINS, "--precision", "tf32")
        assert "tf32 is a mode of NVIDIA GPUs" in message
        for wrong in (["--precision", "x"], ["--device", "cuda:9"], ["--backend", "x"]):
            assert wrong[1] in fails(2, command, "model.safetensors", PENGUINS, *wrong)
