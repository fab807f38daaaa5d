"""``mpiexec -n 2 nnbackend train`` trains one network, and says things once."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from parallel.launch import PROGRAMS, Started, needs_mpi, run

import nnbackend as nnb

pytest.importorskip("typer")
pytest.importorskip("polars")
pytestmark = needs_mpi
PENGUINS = Path(__file__).parents[2] / "examples" / "data" / "penguins.csv"
TRAIN = "train", PENGUINS, "--target", "species"


@pytest.mark.parametrize("model", ["realmlp-simple", "mlp"])
def test_the_model_is_that_of_one_process(model, tmp_path):
    more = "--model", model, "--epochs", 3, "--dtype", "float64"
    files = [tmp_path / f"{count}.safetensors" for count in (1, 2)]
    printed = []
    for count, file in enumerate(files, 1):
        done = run(count, "command.py", *TRAIN, *more, "--output", file)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert "processes over MPI" not in printed[0]
    assert printed[1].count("2 processes over MPI (0: pid ") == 1
    assert printed[1].count("Model written to") == 1
    one, two = (nnb.load(file).state_dict() for file in files)
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=0.0, atol=1e-9 * np.abs(array).max())


def test_a_time_limit_and_json(tmp_path):
    more = "--max-time", "3s", "--json", "--output", tmp_path / "m.safetensors"
    done = run(2, "command.py", *TRAIN, *more)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] >= 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "nowhere.csv", "--target", "y"], 2, "nowhere.csv"),
        (["train", PENGUINS, "--target", "age"], 2, "age"),
        ([*TRAIN, "--parallel", "both"], 2, "--parallel takes mpi or none, got 'both'"),
        (["without", *TRAIN], 1, "training in several processes needs mpi4py: pip install"),
        (["at", 1, "--quiett", *TRAIN], 2, "process 1 of 2 (pid "),
        (["at", 1, "--class-weight=x", *TRAIN], 2, "process 1 of 2 (pid "),
    ],
    ids=["file", "target", "parallel", "mpi4py", "one option", "one value"],
)
def test_what_is_wrong_is_said_once(words, code, message, tmp_path):
    done = run(2, "command.py", *words, "--output", tmp_path / "m.safetensors")
    assert done.returncode == code
    assert done.stderr.count(message) == 1, done.stderr
    assert "Traceback" not in done.stderr


def started_training(folder: Path) -> tuple[Started, int]:
    """Start a long training; return it with the number of process 0, when all have begun."""
    more = "--model", "mlp", "--epochs", 10**6, "--log", folder / "log.jsonl"
    output = "--output", folder / "m.safetensors"
    started = Started(2, PROGRAMS / "command.py", *TRAIN, *more, *output)
    found = re.search(r"0: pid (\d+)", started.process.stdout.readline())
    if found is None:
        started.end()
    assert found is not None
    return started, int(found[1])


def test_ctrl_c_ends_all_with_a_model_of_whole_epochs(tmp_path):
    started, first = started_training(tmp_path)
    try:
        log = tmp_path / "log.jsonl"
        while started.process.poll() is None and not (log.exists() and log.read_text()):
            pass
        started.interrupt(first)
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == 130
    assert done.stderr.count("training was interrupted") == 1
    assert nnb.load(tmp_path / "m.safetensors").trained[1] >= 1


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_ctrl_c_before_the_first_step_is_said_once(seconds, tmp_path):
    started, first = started_training(tmp_path)
    try:
        time.sleep(seconds)
        started.interrupt(first)
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("interrupted") == 1, done.stderr
