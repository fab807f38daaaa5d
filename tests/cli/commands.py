"""Run commands of the command line in tests."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

testing = pytest.importorskip("typer.testing")
pytest.importorskip("polars")

DATA = Path(__file__).parents[2] / "examples" / "data"
PENGUINS = str(DATA / "penguins.csv")
EXAM = str(DATA / "exam_scores.csv")
EXAM_OPTIONS = shlex.split(
    "--hidden 3 --activation sigmoid --output-activation sigmoid --no-bias --init normal "
    "--scale max --loss mse --optimizer sgd --learning-rate 5 --epochs 3000 --validation 0"
)


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


def program(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nnbackend", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **options)


def ended(process):
    """Return what a process printed, and its errors, when it has ended; it does not outlive the test."""
    try:
        return process.communicate(timeout=100)
    finally:
        process.kill()
