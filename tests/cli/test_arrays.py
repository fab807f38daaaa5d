"""Images and signals from ``.npz`` files, from training to answers."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cli.commands import PENGUINS, answers, done, fails, table, train_json
from conftest import require

import nnbackend as nnb

pl = pytest.importorskip("polars")

QUICK = ("--epochs", "2", "--hidden", "4", "--batch-size", "16")


def bars(rows=60, shape=(6, 6), dtype=np.uint8, seed=0):
    """Images of which those of class 1 are bright at the top, of class 2 at the bottom."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    x = rng.integers(0, 100, (rows, *shape))
    x[y == 1, : shape[0] // 2] += 150
    x[y == 2, shape[0] // 2 :] += 150
    return x.astype(dtype), y


def saved(path="images.npz", **arrays):
    if not arrays:
        x, y = bars()
        arrays = {"x": x, "y": y}
    np.savez(path, **arrays)
    return path


def test_from_training_to_answers():
    x, y = bars()
    saved("train.npz", x=x, y=y)
    x2, y2 = bars(31, seed=1)
    saved("new.npz", x=x2, y=y2, name=np.array([f"n{i}" for i in range(31)]), one=np.ones(3))
    shown = done("train", "train.npz", "--target", "y", "--epochs", "12", "--report")
    for words in (
        "classification of 'y': 0, 1, 2",
        "x: images of 6 x 6 pixels, 1 channel",
        "cnn: Conv2D(",
        "BatchNorm()",
        "Model written to model.safetensors",
        "true \\ predicted",
    ):
        assert words in " ".join(shown.stdout.split()), words
    assert "the whole numbers 0, 1, 2, which are taken for classes" in shown.stderr
    assert "rows of (6, 6) are taken for images of 6 x 6 pixels, 1 channel" in shown.stderr
    told = json.loads(done("evaluate", "model.safetensors", "new.npz", "--json", "--report").stdout)
    assert told["accuracy"] > 0.9
    assert [line["rows"] for line in told["report"]["classes"]] == [11, 10, 10]
    said = answers(
        done("predict", "model.safetensors", "new.npz", "--probabilities", "--id", "name").stdout
    )
    assert said["name"] == [f"n{i}" for i in range(31)]
    model = nnb.tables.load("model.safetensors")
    predicted = model.predict(x2)
    assert predicted.dtype == np.int64
    assert (predicted == y2).mean() == told["accuracy"]
    assert said["y"] == [str(c) for c in predicted]
    p = model.predict_proba(x2)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(
        p, np.array([said[f"probability_{c}"] for c in "012"], dtype=float).T
    )
    described = done("inspect", "model.safetensors").stdout
    for words in ("images of 6 x 6 pixels, 1 channel: (value - ", "classes: 0, 1, 2"):
        assert words in described
    assert "--id y: a column of the answers" in fails(
        2, "predict", "model.safetensors", "new.npz", "--id", "y"
    )
    assert "lacks 1 column: 'one'" in fails(
        2, "predict", "model.safetensors", "new.npz", "--id", "one"
    )


def test_the_scales_are_those_of_the_training_rows():
    x, y = bars(40)
    saved(x=np.stack([x, x // 2], axis=-1), y=y)
    told = train_json("images.npz", "--target", "y", *QUICK)
    described = nnb.load("model.safetensors").metadata["array"]["features"]
    means = np.stack([x, x // 2], axis=-1).reshape(-1, 2).mean(axis=0)
    assert described["shift"] != means.tolist()  # the validation rows are not in it
    np.testing.assert_allclose(described["shift"], means, rtol=0.1)
    assert told["rows"] - told["validation_rows"] == 32
    everything = train_json("images.npz", "--target", "y", "--validation", "0", *QUICK)
    assert everything["validation"] is None
    features = nnb.load("model.safetensors").metadata["array"]["features"]
    np.testing.assert_allclose(features["shift"], means, rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "options", "layer", "layout"),
    [
        ((4, 4), [], "Conv2D", "images of 4 x 4 pixels, 1 channel"),
        ((3, 5), [], "Conv2D", "images of 3 x 5 pixels, 1 channel"),
        ((9, 17, 3), [], "Conv2D", "images of 9 x 17 pixels, 3 channels (last)"),
        ((1, 7, 7), [], "Conv2D", "images of 7 x 7 pixels, 1 channel (first)"),
        ((3, 8, 20), [], "Conv2D", "images of 8 x 20 pixels, 3 channels (first)"),
        ((1, 1), [], "Conv2D", "images of 1 x 1 pixels, 1 channel"),
        ((40, 3), [], "Conv1D", "signals of 40 steps, 3 channels (last)"),
        ((2, 11), [], "Conv1D", "signals of 11 steps, 2 channels (first)"),
        ((30, 20), ["--channels", "last"], "Conv1D", "signals of 30 steps, 20 channels (last)"),
        ((40, 3), ["--channels", "none"], "Conv2D", "images of 40 x 3 pixels, 1 channel"),
        ((9,), ["--model", "cnn"], "Conv1D", "signals of 9 steps, 1 channel"),
        ((5, 6, 7), [], "Conv3D", "volumes of 5 x 6 x 7 voxels, 1 channel"),
        ((4, 9, 9, 2), [], "Conv3D", "volumes of 4 x 9 x 9 voxels, 2 channels (last)"),
        ((6, 5), ["--model", "mlp", "--channels", "none"], "Flatten", "images of 6 x 5 pixels"),
        ((2, 2, 2, 2, 2), [], "Flatten", "arrays of 2 x 2 x 2 x 2 values, 2 channels (last)"),
    ],
)
def test_the_network_suits_the_shape(shape, options, layer, layout):
    x = np.random.default_rng(0).normal(size=(24, *shape))
    saved(x=x, y=np.arange(24) % 2)
    shown = done("train", "images.npz", "--target", "y", "--epochs", "1", *options)
    text = " ".join(shown.stdout.split())
    assert f"x: {layout}" in text
    assert f": {layer}(" in text
    assert done("predict", "model.safetensors", "images.npz").stdout.count("\n") == 25


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64", "bool", "longdouble"])
def test_arrays_of_every_kind_of_number(dtype):
    x, y = bars(30)
    saved(x=x.astype(dtype) if dtype != "bool" else x > 120, y=y)
    assert train_json("images.npz", "--target", "y", *QUICK)["task"] == "classification"
    assert len(answers(done("predict", "model.safetensors", "images.npz").stdout)["y"]) == 30


@pytest.mark.parametrize(
    ("y", "options", "task", "classes"),
    [
        (np.arange(24) % 3, [], "classification", ["0", "1", "2"]),
        (np.arange(24) % 3 - 1, [], "classification", ["-1", "0", "1"]),
        (np.arange(24) % 3, ["--task", "regression"], "regression", None),
        (np.arange(24), [], "regression", None),
        (np.arange(24) % 3 + 0.5, [], "regression", None),
        (np.arange(24) % 3 + 0.5, ["--task", "classification"], "classification", ["0.5", "1.5", "2.5"]),
        (np.arange(24) % 2 == 0, [], "classification", ["false", "true"]),
        (np.array(["a", "b"] * 12), [], "classification", ["a", "b"]),
        ((np.arange(24) % 3)[:, None], [], "classification", ["0", "1", "2"]),
    ],
)  # fmt: skip
def test_the_task_is_found_in_the_target(y, options, task, classes):
    saved(x=bars(24)[0], y=y)
    told = train_json("images.npz", "--target", "y", *QUICK, *options)
    assert (told["task"], told["classes"]) == (task, classes)
    said = nnb.tables.load("model.safetensors").predict(bars(24)[0])
    if task == "regression":
        assert said.dtype == np.float64
        assert "r2" in json.loads(
            done("evaluate", "model.safetensors", "images.npz", "--json").stdout
        )
    else:
        assert said.dtype == (np.int64 if y.dtype.kind == "i" else object)
        assert {str(c) for c in said} <= set(classes)


def test_regression_is_in_the_units_of_the_target():
    x = np.random.default_rng(0).normal(size=(80, 4, 4))
    y = 1e6 + 1000 * x.mean(axis=(1, 2))
    y[3] = np.nan
    saved(x=x, y=y)
    told = train_json("images.npz", "--target", "y", "--epochs", "30", "--learning-rate", "0.01")
    assert "1 row without a value for the target 'y' dropped" in told["notes"]
    assert told["rows"] == 79
    assert told["train"]["r2"] > 0.9
    said = nnb.tables.load("model.safetensors").predict(x)
    assert np.corrcoef(said[4:], y[4:])[0, 1] > 0.9
    assert abs(said.mean() - 1e6) < 100


def test_settings_and_options_of_the_run_work():
    saved()
    told = train_json(
        "images.npz", "--target", "y", "--epochs", "3", "--hidden", "4,6", "--activation", "tanh",
        "--schedule", "one-cycle", "--optimizer", "sgd", "--momentum", "0.8", "--ema", "0.9",
        "--class-weight", "balanced", "--label-smoothing", "0.1", "--l2", "0.001", "--init",
        "he_normal", "--dropout", "0.5", "--scale", "max", "--patience", "3", "--report",
        "--dtype", "float64",
    )  # fmt: skip
    settings = told["settings"]
    assert settings["hidden"] == [4, 6]
    assert (settings["model"], settings["channels"], settings["dropout"]) == ("cnn", "none", 0.5)
    assert settings["features"] == ["x"]
    assert told["dtype"] == "float64"
    network = nnb.load("model.safetensors")
    assert [p.shape for p in (network.state_dict()[k] for k in ("0.weight", "3.weight"))] == [
        (3, 3, 1, 4), (3, 3, 4, 6),
    ]  # fmt: skip
    assert network.layers.layers[0].regularizer == nnb.regularizers.ElasticNet(0.0, 0.001)
    assert len(told["report"]["confusion_matrix"]) == 3
    assert nnb.load("model.safetensors").metadata["array"]["features"]["scale"] == [249.0]


@pytest.mark.parametrize("names", ["flip", "shift,mixup", "cutmix"])
def test_augmentation_changes_training(names):
    saved()
    task = ("images.npz", "--target", "y", *QUICK, "--dropout", "0")
    plain, other = train_json(*task), train_json(*task, "--augment", names)
    assert other["settings"]["augment"] == names.split(",")
    assert other["history"]["loss"] != plain["history"]["loss"]
    again = train_json(*task, "--augment", names)
    assert again["history"]["loss"] == other["history"]["loss"]


def test_augmentations_have_names_and_are_for_images():
    saved()
    task = ("train", "images.npz", "--target", "y")
    assert "unknown augmentation 'filp'; did you mean 'flip'" in fails(
        2, *task, "--augment", "filp"
    )
    message = fails(2, "train", PENGUINS, "--target", "species", "--augment", "flip")
    assert "--augment is for arrays of images or signals" in message
    saved(x=np.random.default_rng(0).normal(size=(24, 40, 2)), y=np.arange(24) % 2)
    done(*task, "--augment", "shift,mixup", "--epochs", "1", "--hidden", "4")
    saved(x=np.random.default_rng(0).normal(size=(24, 4, 4)), y=np.arange(24) / 3)
    done(*task, "--augment", "shift,mixup", "--epochs", "1", "--hidden", "4")


def test_lbfgs_is_for_an_mlp():
    saved()
    pytest.importorskip("scipy")
    call = ("images.npz", "--target", "y", "--epochs", "2", "--optimizer", "lbfgs")
    assert "the batch normalization of a cnn changes it" in fails(2, "train", *call)
    assert train_json(*call, "--model", "mlp")["settings"]["dropout"] == 0


def test_a_stopped_run_goes_on_to_the_same_bits():
    saved()
    task = ("images.npz", "--target", "y", "--hidden", "4", "--batch-size", "16")
    done("train", *task, "--epochs", "4", "--quiet", "--output", "whole.model")
    done("train", *task, "--epochs", "2", "--quiet", "--checkpoint", "saved")
    done(
        "train", *task, "--epochs", "4", "--quiet", "--resume", "saved", "--output", "resumed.model"
    )
    whole, resumed = (nnb.load(f"{name}.model").state_dict() for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all((whole[name] == resumed[name]).all() for name in whole)
    newest = sorted(Path("saved").glob("*.safetensors"))[-1]
    assert done("predict", newest, "images.npz").stdout.startswith("y\n")


def test_every_backend_gives_the_same_figures(library):
    require(library)
    saved(x=bars(30)[0], y=bars(30)[1])
    task = ("images.npz", "--target", "y", *QUICK)
    expected = train_json(*task)
    result = train_json(*task, "--backend", library, "--output", "other.model")
    assert result["backend"] == library
    for part in ("train", "validation", "baseline"):
        assert result[part] == pytest.approx(expected[part], rel=1e-3)
    said = done("predict", "other.model", "images.npz").stdout
    assert said == done("predict", "other.model", "images.npz", "--backend", library).stdout


def test_one_of_several_arrays_is_chosen():
    x, y = bars()
    saved(x=x, y=y, small=x[:, :4, :4])
    message = fails(1, "train", "images.npz", "--target", "y")
    assert "choose it by --features NAME" in message
    assert "'x' (60, 6, 6) of uint8" in message
    assert train_json("images.npz", "--target", "y", "--features", "small", *QUICK)["rows"] == 60
    assert nnb.tables.load("model.safetensors").encoder.shape == (4, 4)
    done("predict", "model.safetensors", "images.npz")
    assert "no array 'lage'; it holds" in fails(
        1, "train", "images.npz", "--target", "y", "--features", "lage"
    )


def test_arrays_of_one_axis_more_are_tables_still():
    x = np.random.default_rng(0).normal(size=(40, 3))
    saved(x=x, y=np.arange(40) % 2)
    told = train_json("images.npz", "--target", "y", "--epochs", "1")
    assert told["settings"]["features"] == ["x_0", "x_1", "x_2"]
    assert told["settings"]["model"] == "realmlp-simple"
    assert "lacks 3 columns" in fails(2, "predict", "model.safetensors", table("a\n1\n"))


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((9, 4, 4))}, "no array 'y'; it holds 'x' (9, 4, 4) of float64"),
        ({"x": np.zeros((9, 4, 4)), "y": np.arange(8) % 2}, "has 9 rows, and the target 'y' has 8"),
        ({"x": np.zeros((0, 4, 4)), "y": np.zeros(0)}, "images.npz holds no rows"),
        ({"x": np.zeros((9, 0, 4)), "y": np.arange(9) % 2}, "(9, 0, 4) holds no values"),
        ({"x": np.zeros((9, 4, 4)), "y": np.arange(9) % 2}, "has one value only in the training rows"),
        ({"x": np.eye(4)[None] * np.arange(9.0)[:, None, None], "y": np.eye(9)}, "y.argmax(axis=1)"),
        ({"x": np.eye(4)[None] + np.zeros((9, 1, 1)), "y": np.zeros((9, 2)) + 3}, "one value for each"),
        ({"x": np.full((9, 4, 4), 1j), "y": np.arange(9) % 2}, "'x' (complex128) holds no numbers"),
        ({"x": np.full((9, 4, 4), "a"), "y": np.arange(9) % 2}, "'x' (<U1) holds no numbers"),
        ({"x": np.ones((9, 4, 4)), "y": np.array([b"a"] * 9)}, "'y' (|S1) holds neither numbers"),
        ({"x": np.ones((9, 4, 4)), "y": np.ones(9)}, "the target 'y' has one value only"),
        ({"x": np.ones((9, 4, 4)), "y": np.array([None] * 9)}, "'y' of images.npz holds Python objects"),
        ({"x": np.array([[[None]]] * 9), "y": np.arange(9) % 2}, "'x' of images.npz holds Python obj"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(arrays, message):
    saved(**arrays)
    options = [] if len(arrays["x"].shape) > 2 else ["--model", "cnn"]
    assert message in fails(1, "train", "images.npz", "--target", "y", *options)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gaps_in_features_are_named_by_row(value):
    x, y = bars(dtype=np.float32)
    saved(x=x, y=y)
    done("train", "images.npz", "--target", "y", "--quiet", *QUICK)
    x[41, 2, 3] = value
    saved("gaps.npz", x=x, y=y)
    for command in (("train", "gaps.npz", "--target", "y"),
                    ("predict", "model.safetensors", "gaps.npz"),
                    ("evaluate", "model.safetensors", "gaps.npz")):  # fmt: skip
        assert "array 'x' holds NaN or infinity in row 42" in fails(1, *command)
    with pytest.raises(ValueError, match="NaN or infinity in row 42"):
        nnb.tables.load("model.safetensors").predict(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "x"], "--text is for tables, and images.npz holds arrays"),
        (["--exclude", "x"], "--exclude is for tables"),
        (["--stream"], "--stream is for tables"),
        (["--scale", "robust"], "--scale robust is for tables"),
        (["--max-categories", "5"], "--max-categories is for tables"),
        (["--delimiter", ";"], "--delimiter is for tables"),
        (["--missing", "?"], "--missing is for tables"),
        (["--model", "ccn"], "unknown model 'ccn'; did you mean 'cnn'"),
        (["--channels", "frist"], "unknown channels 'frist'; did you mean 'first'"),
        (["--hidden", "none", "--model", "cnn"], "--hidden none is a linear model"),
        (["--hidden", "none"], "--hidden none is a linear model"),
        (["--features", "y"], "'y' is the target and cannot be a feature"),
    ],
)
def test_options_that_do_not_apply_are_wrong_calls(options, message):
    saved()
    assert message in fails(2, "train", "images.npz", "--target", "y", *options)


def test_a_cnn_needs_arrays_and_few_axes():
    for options in (["--model", "cnn"], ["--channels", "last"]):
        message = fails(2, "train", PENGUINS, "--target", "species", *options)
        assert f"{' '.join(options[: 2 if options[1] == 'cnn' else 1])} is for arrays of" in message
    saved(x=np.random.default_rng(0).normal(size=(20, 2, 2, 2, 2, 2)), y=np.arange(20) % 2)
    message = fails(2, "train", "images.npz", "--target", "y", "--model", "cnn")
    assert "a row here has 4; --model mlp takes any shape" in message
    saved(x=np.ones(20), y=np.arange(20) % 2)
    message = fails(1, "train", "images.npz", "--target", "y", "--model", "cnn")
    assert "array 'x' has the shape (20,); images and signals have more than one axis" in message


def test_data_that_a_model_does_not_take():
    saved()
    done("train", "images.npz", "--target", "y", "--quiet", *QUICK)
    done("train", PENGUINS, "--target", "species", "--quiet", *QUICK, "--output", "table.model")
    saved("larger.npz", x=np.ones((2, 7, 6)), y=np.ones(2, int))
    saved("single.npz", x=np.ones((6, 6)))
    saved("other.npz", image=np.ones((2, 6, 6)))
    for command in ("predict", "evaluate"):
        message = fails(1, command, "model.safetensors", "larger.npz")
        assert "array 'x' has the shape (2, 7, 6), and the model takes (rows, 6, 6)" in message
        assert "no array 'x'; it holds 'image'" in fails(
            1, command, "model.safetensors", "other.npz"
        )
        message = fails(1, command, "model.safetensors", PENGUINS)
        assert "penguins.csv is no .npz file, and images and signals are read from" in message
        assert "lacks" in fails(2, command, "table.model", "images.npz")
        message = fails(2, command, "model.safetensors", "images.npz", "--decimal", ",")
        assert "--decimal is for tables, and the model takes images or signals" in message
    assert "a stack of one row is array[None]" in fails(
        1, "predict", "model.safetensors", "single.npz"
    )
    assert "no array 'y'" in fails(1, "evaluate", "model.safetensors", "single.npz")
    x, y = bars()
    saved("new.npz", x=x, y=y + 5)
    assert "which is none of the classes of training" in fails(
        1, "evaluate", "model.safetensors", "new.npz"
    )
    network = nnb.load("model.safetensors")
    for raw in (x[..., None], x[..., None] > 100):
        with pytest.raises(ValueError, match=r"nnb\.tables\.load\(path\) predicts from the array"):
            network.predict(raw)
    assert network.predict(x[..., None] / 255.0).shape == (60, 3)


def write_lie(path, shape, data=b"\0" * 64):
    """Write an archive with an array that says to have another shape than it has bytes for."""
    header = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(8) % 2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", array)
        archive.writestr("y.npy", buffer.getvalue())


def test_a_file_that_lies_about_its_shapes_is_refused_before_memory_is_taken():
    for shape in ((8, 10**6, 10**6), (8, 2**40, 2**40), (8, 1, 2)):
        write_lie("images.npz", shape)
        message = fails(1, "train", "images.npz", "--target", "y")
        assert "is not a readable .npz file: array 'x'" in message
        assert "has 64 bytes" in message


def test_more_than_the_memory_takes_is_refused(monkeypatch):
    saved(x=np.zeros((50, 100, 100), dtype=np.uint8), y=np.arange(50) % 2)
    np.savez_compressed("bomb.npz", x=np.zeros((50, 100, 100), dtype=np.uint8), y=np.arange(50) % 2)
    assert Path("bomb.npz").stat().st_size < 10_000
    monkeypatch.setattr("nnbackend.tables.limits.memory_limit", lambda: 1_000_000)
    for path in ("images.npz", "bomb.npz"):
        message = fails(1, "train", path, "--target", "y")
        assert "in memory, and the limit is half of what is free, 1 MB" in message
        assert "--stream" not in message


@pytest.mark.parametrize("kind", ["text", "member", "cut", "records", "empty"])
def test_files_that_are_no_arrays(kind):
    path = Path("images.npz")
    if kind == "text":
        path.write_text("x,y\n1,2\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../evil.txt", "x")
    elif kind == "records":
        saved(x=np.zeros((9, 2, 2), dtype=[("a", "f4")]), y=np.arange(9) % 2)
    else:
        saved()
        path.write_bytes(path.read_bytes()[:-30])
    message = fails(1, "train", path, "--target", "y", "--model", "cnn")
    assert "images.npz" in message or "holds no numbers" in message
    assert not Path("../evil.txt").exists()
