"""Options are declared once: what the command takes are the fields of its settings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import pytest
from cli.commands import done, train_json  # skips without typer

from nnbackend.cli.call import Call
from nnbackend.cli.options import build_from_options, data_option, run_option, takes_options
from nnbackend.cli.settings import Settings
from nnbackend.cli.train import train


def read_numbers(text):
    numbers = [int(number) for number in text.split(",")]
    if not numbers:
        raise ValueError("no numbers")
    return numbers


@dataclass(frozen=True)
class Some:
    numbers: Sequence[int] = run_option((1, 2), "Numbers.", read=read_numbers)
    word: str | None = data_option(None, "A word.")


@takes_options(Some)
def command(**options):
    return build_from_options(Some, options)


def test_a_dataclass_is_what_a_command_takes():
    taken = inspect.signature(command).parameters
    assert list(taken) == ["word", "numbers"]  # the data come before the run
    assert {name: parameter.default for name, parameter in taken.items()} == {
        "word": None, "numbers": "1,2",
    }  # fmt: skip
    assert command(word="a", numbers="1,2") == Some([1, 2], "a")
    assert command(word=None, numbers=None) == Some(None)
    with pytest.raises(ValueError, match="invalid literal"):
        command(word=None, numbers="one")


def test_train_takes_all_fields_of_its_settings():
    taken = set(inspect.signature(train).parameters) - {"context"}
    declared = [field.name for cls in (Call, Settings) for field in fields(cls)]
    assert sorted(taken) == sorted(declared)


def test_settings_without_options_are_those_of_the_command(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(40)))
    plain = ["--target", "b", "--epochs", "1", "--model", "mlp"]
    told = train_json(tmp_path / "table.csv", *plain)["settings"]
    resolved = ("features", "task", "loss", "batch_size", "learning_rate", "weight_decay", "epochs",
                "max_categories", "label_smoothing", "preset", "folds", "members", "quantiles",
                "model", "hidden", "dropout")  # fmt: skip
    default = {name: value for name, value in asdict(Settings()).items() if name not in resolved}
    assert {name: told[name] for name in default} == default
    assert {name: told[name] for name in resolved[-3:]} == {
        "model": "mlp", "hidden": [64], "dropout": 0.0,
    }  # fmt: skip


def test_the_help_explains_every_option_and_shows_its_default():
    text = done("train", "--help").stdout.replace("│", " ")
    text = " ".join(text.split())
    for words in (
        "Widths of the hidden layers, 64,32; none: a linear model. Of a cnn the channels of its "
        "convolutions. [default: (the model's: 256,256,256 of realmlp, 512,512,512 of tabm, 64 of mlp)]",
        "Stop after a time: 90 (seconds), 15m, 2h. [default: (all epochs)]",
        "Rows of a step. [default: (by rows)]",
        "a column of more is left out. [default: (100; of realmlp 1,000)]",
    ):
        assert words in text
