"""Commands with any options: they work, or end with one message that says what was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from fuzz.judge import folder, part_of_examples, run_command
from hypothesis import given

typer_main = pytest.importorskip("typer.main")
pytest.importorskip("polars")

TABLE = "a,b,y\n" + "".join(f"{i}.5,{'pq'[i % 2]},{i % 3}\n" for i in range(24))
NUMBERS = ["0", "1", "2", "-1", "0.5", "1.5", "nan", "inf", "-inf", "1e999", "1e-320", "1e5", "0x1",
           "1_0", "99999999999999999999", "-99999999999999999999"]  # fmt: skip
TEXTS = ["", " ", "\0", "9" * 400, "x", "none", "auto", "None", "True", "\u00fc", "\u0661", "*", "[",
         "-", ",", "y", "a", "a,b", "a,,b", "64,64", "64,-1", "64,x", "3h", "1.5m", "--epochs", ".",
         "/", "../victim", "new", "new/deep/m.jsonl", "m.safetensors",
         "table.csv", "log.csv", "log.jsonl"]  # fmt: skip
KNOWN = {
    "--loss": ["mse", "hinge", "softmax_cross_entropy", "binary_cross_entropy", "huber"],
    "--optimizer": ["sgd", "adam", "lbfgs", "muon", "lion", "lamb"],
    "--activation": ["tanh", "softmax", "gelu"],
    "--output-activation": ["sigmoid", "softmax", "exponential"],
    "--schedule": ["cosine", "one-cycle", "plateau"],
    "--task": ["regression", "classification"],
    "--class-weight": ["balanced"],
    "--backend": ["numpy", "array-api-strict", "torch"],
    "--precision": ["float16", "bfloat16", "tf32", "float64"],
    "--dtype": ["float64"],
    "--scale": ["max", "none"],
    "--init": ["normal", "orthogonal", "zeros"],
    "--target": ["y", "a", "b"],
    "--hidden": ["2", "none"],
}
LONG = {"--epochs": ["1", "2", "0", "-1", "nan", "x", "", "1.5"]}
"""Values of options of which a large one is a long run, and no mistake."""
COMMANDS = {
    "train": ["table.csv", "--target", "y", "--epochs", "1", "--hidden", "2"],
    "predict": ["m.safetensors", "table.csv"],
    "evaluate": ["m.safetensors", "table.csv"],
    "inspect": ["m.safetensors"],
    "draw": ["m.safetensors"],
    "backends": [],
}


def options_of(command: str) -> dict[str, bool]:
    """Return a command's options by name, and whether each takes a value."""
    from nnbackend.cli.app import app

    found = typer_main.get_command(app).commands[command].params
    return {
        name: not getattr(option, "is_flag", False)
        for option in found
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("-") and name not in ("--help", "--debug")
    }


@st.composite
def calls(draw: st.DrawFn, command: str) -> list[str]:
    """Draw the arguments of a call: some options, most with a value that is not for them."""
    options = options_of(command)
    given: list[str] = []
    names = st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=4, unique=True)
    for name in draw(names) if options else []:
        given.append(name)
        if options[name]:
            values = LONG.get(name) or [*KNOWN.get(name, []), *NUMBERS, *TEXTS]
            given.append(draw(st.sampled_from(values)))
    return given


@pytest.fixture(scope="module")
def model() -> bytes:
    with folder():
        Path("table.csv").write_text(TABLE)
        assert run_command("train", *COMMANDS["train"], "-o", "m.safetensors") == 0
        return Path("m.safetensors").read_bytes()


def try_out(command: str, given: list[str], model: bytes) -> None:
    with folder():
        Path("table.csv").write_text(TABLE)
        Path("m.safetensors").write_bytes(model)
        run_command(command, *COMMANDS[command], *given)
        assert Path("table.csv").read_text() == TABLE


@pytest.mark.parametrize("command", COMMANDS)
@part_of_examples(4)
@given(data=st.data())
def test_options(command, data, model):
    try_out(command, data.draw(calls(command)), model)


@part_of_examples(4)
@given(words=st.lists(st.sampled_from([*COMMANDS, *NUMBERS, *TEXTS, "--target", "-o"]), max_size=5))
def test_any_words(words):
    with folder():
        Path("table.csv").write_text(TABLE)
        run_command(*words)


def pytest_generate_tests(metafunc: Any) -> None:
    if "option" in metafunc.fixturenames:
        cases = [(c, name) for c in COMMANDS for name, takes in options_of(c).items() if takes]
        metafunc.parametrize(("command_of", "option"), cases)


def test_each_option_alone(command_of, option, model):
    """Each option once with a few values that few options take."""
    for value in LONG.get(option, ["", "x", "-1", "nan", "99999999999999999999", "\u0000"]):
        try_out(command_of, [option, value], model)
