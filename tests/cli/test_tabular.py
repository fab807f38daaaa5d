"""``nnbackend train`` with the networks of tables: RealMLP and TabM."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, fails, table, train_json

import nnbackend as nnb

TASK = [PENGUINS, "--target", "species"]
SMALL = ["--epochs", "2", "--hidden", "8"]


def homes(rows: int = 120, seed: int = 0) -> Path:
    """Write a table with a column of many categories, one of free text and one with a heavy tail."""
    rng = np.random.default_rng(seed)
    lines = ["id,area,street,advert,kind,price"]
    words = ["bright", "quiet", "large", "sunny", "old", "new", "near", "park", "lake", "station"]
    for i in range(rows):
        area = rng.uniform(20, 200)
        text = " ".join(rng.choice(words, 5))
        price = np.exp(area / 25 + rng.normal() / 10)
        kind = ["flat", "house"][int(area > 110)]
        lines.append(f"{i},{area:.1f},street {i % 20:02d},{text},{kind},{price:.2f}")
    return table("\n".join(lines) + "\n", "homes.csv")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--folds", "3"],
        ["--model", "tabm"],
        ["--model", "tabm", "--folds", "2"],
        ["--preset", "fast"],
        ["--validation", "0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", ["kind", "price"])
def test_every_command_takes_every_network(target, options):
    data = homes()
    result = train_json(data, "--target", target, *options, *SMALL, "--report")
    metrics = json.loads(done("evaluate", "model.safetensors", data, "--json", "--report").stdout)
    said = answers(done("predict", "model.safetensors", data).stdout)[target]
    truth = answers(data.read_text())[target]
    if target == "kind":
        assert metrics["accuracy"] == np.mean(np.array(said) == np.array(truth))
        p = answers(done("predict", "model.safetensors", data, "--probabilities").stdout)
        chosen = [float(p[f"probability_{name}"][i]) for i, name in enumerate(truth)]
        assert metrics["loss"] == pytest.approx(-np.mean(np.log(chosen)), rel=1e-4)
        assert metrics["report"]["metrics"]["log_loss"] == pytest.approx(metrics["loss"], rel=1e-4)
    else:
        errors = np.array(said, float) - np.array(truth, float)
        assert metrics["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    folds = int(options[-1]) if "--folds" in options else 1
    assert len(result["networks"]) == folds
    assert result["rows"] == 120
    text = " ".join(done("inspect", "model.safetensors").stdout.split())
    assert "left out: whole numbers" in text or "left out: identifier" in text
    assert "text: words hashed to 64 columns" in text
    if "--validation" in options:
        assert result["validation"] is None
        assert result["validation_rows"] == 0
    elif folds > 1:
        assert result["report"]["rows"] == result["validation_rows"] == 120
        assert "history" not in result
    else:
        assert result["report"]["rows"] == result["validation_rows"] == 24


def test_json_says_all_of_a_network_for_tables():
    data = homes()
    result = train_json(data, "--target", "price", "--model", "realmlp", *SMALL)
    assert result["settings"] == {
        **result["settings"],
        "model": "realmlp", "preset": "default", "folds": 1, "epochs": 2, "batch_size": 64,
        "hidden": [8], "loss": "mse", "learning_rate": 0.2, "label_smoothing": 0.0, "members": None,
        "max_categories": 1000, "validation": 0.2, "seed": 0,
    }  # fmt: skip
    assert not {"activation", "optimizer", "scale", "channels"} & result["settings"].keys()
    columns = {row["column"]: row for row in result["columns"]}
    assert list(columns) == ["area", "advert", "kind", "street", "id", "price"]
    assert columns["id"]["kind"] == "left out"
    assert columns["street"]["done"].endswith("(index for an embedding)")
    (network,) = result["networks"]
    assert network["epochs"] == 2
    losses = network["history"]["validation_loss"]
    assert network["best_epoch"] == 1 + int(np.argmin(losses))
    assert result["history"] == network["history"]
    assert result["target_scale"] in ("standard", "log")
    assert ("heavy tail" in " ".join(result["notes"])) == (result["target_scale"] == "log")


def test_the_mean_of_a_target_whose_logarithm_is_learned_is_that_of_its_values():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = np.exp(3 * x)
    data = table("x,y\n" + "".join(f"{a},{b}\n" for a, b in zip(x, y, strict=True)))
    result = train_json(data, "--target", "y", "--epochs", "2", "--hidden", "16")
    assert result["target_scale"] == "log"
    assert "heavy tail" in " ".join(result["notes"])
    mean = float(result["baseline_answer"].removeprefix("always the mean, "))
    assert mean == pytest.approx(y.mean(), rel=0.4)  # the geometric mean is about 1
    shown = done("train", data, "--target", "y", "--epochs", "2", "--hidden", "16").stdout
    assert "The target's logarithm was learned" in shown


def test_options_of_the_plain_network_take_it_and_say_so():
    result = train_json(*TASK, "--epochs", "2", "--activation", "relu", "--l2", "0.001")
    assert result["settings"]["model"] == "mlp"
    assert result["notes"][0].startswith(
        "--activation, --l2 belong to the plain network, which is taken: --model mlp"
    )
    assert "preset" not in result["settings"]
    same = train_json(
        *TASK, "--epochs", "2", "--activation", "relu", "--l2", "0.001", "--model", "mlp"
    )
    assert same["history"]["loss"] == result["history"]["loss"]
    assert not any("plain network" in note for note in same["notes"])
    usual = train_json(*TASK, *SMALL, "--loss", "softmax_cross_entropy")
    assert usual["settings"]["model"] == "realmlp-simple"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "realmlp", "--activation", "relu"], "--activation is for --model mlp"),
        (["--model", "realmlp", "--bias"], "--bias is for --model mlp"),
        (["--model", "tabm", "--no-bias"], "--no-bias is for --model mlp"),
        (["--model", "realmlp-simple", "--loss", "softmax_focal"], "--loss softmax_focal is for"),
        (["--model", "realmlp", "--stream"], "--stream is for --model mlp"),
        (["--model", "realmlp", "--hidden", "none"], "--hidden none is for --model mlp"),
        (["--model", "mlp", "--folds", "3"], "--folds is for the models realmlp, realmlp-simple, tabm"),
        (["--preset", "fast", "--dropout", "0.1"], "it does not go with --dropout"),
        (["--preset", "fats"], "unknown preset 'fats'; did you mean 'fast'"),
        (["--model", "realmpl"], "unknown model 'realmpl'; did you mean 'realmlp'"),
        (["--folds", "0"], "folds"),
        (["--folds", "2", "--checkpoint", "c"], "--checkpoint is of one network, and 2 are trained"),
        (["--preset", "best", "--log", "l.csv"], "--log is of one network, and 5 are trained"),
        (["--folds", "2", "--profile"], "--profile is of one network"),
        (["--patience", "3", "--validation", "0"], "--patience watches the validation loss"),
        (["--target", "year", "--label-smoothing", "0.1"], "the loss mse has no label smoothing"),
        (["--target", "year", "--class-weight", "balanced"], "--class-weight needs classes"),
        (["--loss", "mse"], "the loss mse does not suit a classification"),
    ],
)  # fmt: skip
def test_wrong_calls(options, message):
    assert message in fails(2, "train", *TASK, *options)


def test_few_rows_have_the_simple_variant_and_more_the_whole_one():
    for rows, model, limit in ((2_000, "realmlp-simple", 100), (2_001, "realmlp", 1000)):
        data = table("x,y\n" + "".join(f"{i % 7},{'ab'[i % 2]}\n" for i in range(rows)))
        settings = train_json(data, "--target", "y", *SMALL)["settings"]
        assert (settings["model"], settings["max_categories"]) == (model, limit)
    said = (
        "realmlp-simple (for classes of up to 2,000 rows; --model realmlp takes the whole recipe)"
    )
    assert said in " ".join(done("train", *TASK, *SMALL).stdout.split())
    assert said not in " ".join(done("train", *TASK, *SMALL, "--preset", "fast").stdout.split())


def test_a_run_is_gone_on_with_exactly_and_its_checkpoints_predict():
    for model in ("realmlp", "tabm"):
        call = ["train", *TASK, *SMALL[2:], "--epochs", "4", "--model", model]
        done(*call, "--checkpoint", model, "--output", "whole.model")
        files = nnb.checkpoints.files(model)
        done(*call, "--resume", files[-2], "--output", "resumed.model")
        whole, resumed = (nnb.load(f"{n}.model").state_dict() for n in ("whole", "resumed"))
        assert all((whole[name] == resumed[name]).all() for name in whole)
        text = done("predict", files[-1], PENGUINS, "--probabilities").stdout
        p = [np.array(column, float) for name, column in answers(text).items() if "_" in name]
        np.testing.assert_allclose(sum(p), 1, atol=1e-6)
        assert "of another run" in fails(1, *call, "--hidden", "9", "--resume", model)
    call[call.index("tabm")] = "realmlp"  # whose schedules are made for the number of epochs
    message = fails(1, *call, "--epochs", "5", "--resume", "realmlp")
    assert "or repeat the options of the run that wrote it, --epochs among them" in message


def test_a_time_limit_holds_for_all_folds():
    result = train_json(*TASK, "--epochs", "100000", "--folds", "2", "--max-time", "1s")
    assert result["seconds"] < 1.5
    assert len(result["networks"]) == 2
    (said,) = [note for note in result["notes"] if "epochs" in note]  # once
    assert said.startswith("in 1 s there is time for")


def test_more_categories_are_taken_where_they_are_embedded():
    lines = "".join(f"c{i % 150},{i % 7},{'ab'[i % 2]}\n" for i in range(600))
    data = table("city,x,y\n" + lines)
    result = train_json(data, "--target", "y", *SMALL, "--model", "realmlp")
    assert result["settings"]["features"] == ["x", "city"]
    for options in ([], ["--model", "tabm"], ["--model", "realmlp", "--max-categories", "100"]):
        result = train_json(data, "--target", "y", *SMALL, *options)
        assert result["settings"]["features"] == ["x"]
        assert any("--max-categories takes more" in note for note in result["notes"])
    only = train_json(data, "--target", "y", *SMALL, "--features", "city")
    assert only["settings"]["features"] == ["city"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n" + "".join(f"{i},a\n" for i in range(20)), "has one value only"),
        ("x,y\n" + "".join(f"{i},{'abc'[i]}\n" for i in range(3)), "3 classes in 3 rows"),
        ("x,y\n" + "".join(f"1,{'ab'[i % 2]}\n" for i in range(20)), "no column to predict 'y' from"),
        ("x,y\n" + "".join(f"n{i},{'ab'[i % 2]}\n" for i in range(40)), "no column to predict 'y' from"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_learned_from(text, message):
    assert message in fails(1, "train", table(text), "--target", "y")


def test_rare_classes_are_trained_and_said():
    lines = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(60)) + "61,c\n62,d\n63,d\n"
    data = table("x,y\n" + lines)
    for options in ([], ["--folds", "3"]):
        result = train_json(data, "--target", "y", *SMALL, *options)
        assert result["classes"] == ["a", "b", "c", "d"]
        columns = answers(done("predict", "model.safetensors", data, "--probabilities").stdout)
        assert all(0 < float(p) < 1 for p in columns["probability_c"])


def test_thousands_of_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1500))
    np.savez("wide.npz", x=x, y=np.array(["a", "b"])[(x[:, 0] > 0).astype(int)])
    result = done("train", "wide.npz", "--target", "y", *SMALL)
    assert "1500 columns, 1500 inputs" in result.stdout
    assert "x_0, x_1" in result.stdout
    assert len(result.stdout) < 4000
    done("predict", "model.safetensors", "wide.npz")


def test_dates_as_a_target_are_classes_aloud():
    data = table("x,y\n" + "".join(f"{i},2024-01-0{1 + i % 3}\n" for i in range(30)))
    notes = train_json(data, "--target", "y", *SMALL)["notes"]
    assert any("'y' holds dates, which are taken for classes" in note for note in notes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1e308, -1e308, *range(28)], "are too large: divide them"),
        ([i * 1e-200 for i in range(30)], "lie too close together: multiply them"),
    ],
)
def test_a_target_whose_squares_float64_does_not_have_is_refused(values, message):
    data = table("x,y\n" + "".join(f"{i},{y}\n" for i, y in enumerate(values)))
    for model in ("realmlp", "mlp"):
        said = fails(1, "train", data, "--target", "y", *SMALL, "--model", model)
        assert f"the numbers of the target 'y' {message}" in said


def test_a_time_in_which_no_epoch_fits_is_named_as_it_was_given():
    rng = np.random.default_rng(0)
    np.savez("many.npz", x=rng.normal(size=(40_000, 20)), y=rng.normal(size=40_000))
    call = ["train", "many.npz", "--target", "y", "--max-time", "0.001s"]
    assert "no epoch could be done in the time of 0.001 s" in fails(1, *call)


def test_what_is_done_to_free_text_is_printed():
    shown = done("train", homes(), "--target", "price", *SMALL).stdout
    assert "advert (words hashed to 64 columns)" in shown
    assert "words hashed to 64 columns" in done("inspect", "model.safetensors").stdout


def test_few_rows_and_gaps_everywhere():
    data = table("x,y\n1,a\n,b\n3,a\n,b\n5,a\n,b\n")
    result = train_json(data, "--target", "y", *SMALL)
    assert result["validation"] is None
    assert any("too few" in note for note in result["notes"])
    done("predict", "model.safetensors", data)
