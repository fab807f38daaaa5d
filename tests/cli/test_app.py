"""The command line as a program: its version, its exit codes, and wrong calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cli.commands import DATA, PENGUINS, done, fails, program, table

import nnbackend as nnb


def test_version_and_help():
    assert done("--version").stdout == f"nnbackend {nnb.__version__}\n"
    assert "--learning-rate" in done("train", "--help").stdout
    assert "predict" in done("--help").stdout


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_a_pipe_in_the_place_of_a_table_is_a_wrong_call(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("t.csv")
    assert "is not a regular file" in fails(2, "train", "t.csv", "--target", "a", *options)


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


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_way_to_install_it_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import nnbackend.cli as c; c.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == (
        f"nnbackend: {missing} is not installed; run: pip install 'nnbackend[cli]'\n"
    )


@pytest.mark.usefixtures("importable")
def test_a_locale_without_the_characters_of_a_name():
    table("gr\u00f6\u00dfe,\u4e2d\n" + "".join(f"{i},{2 * i}\n" for i in range(20)))
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    train = ["train", "table.csv", "--epochs", "2", "--target", "\u4e2d"]
    for command in (train, ["inspect", "model.safetensors"]):
        result = program(*command, env=env)
        assert result.returncode == 0, result.stderr
        assert "gr\\xf6\\xdfe" in result.stdout
    # Data are UTF-8 whatever the locale is.
    result = program("predict", "model.safetensors", "table.csv", env=env, encoding="utf-8")
    assert result.stdout.startswith("\u4e2d\n")
