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


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Four Parquet files of uneven row groups; some have a color that no other has."""
    polars, rng = pytest.importorskip("polars"), np.random.default_rng(0)
    pytest.importorskip("pyarrow")
    folder, count = tmp_path_factory.mktemp("rows"), 3000
    size, color = rng.normal(size=count), rng.choice(["red", "green", "blue"], count)
    color[[250, 1000, 2000, -1]] = "black", "brown", "white", "cyan"
    frame = polars.DataFrame({"size": size, "color": color, "kind": np.where(size > 0, "a", "b")})
    for i, (first, last) in enumerate([(0, 20), (20, 2700), (2700, 2710), (2710, count)]):
        frame[first:last].write_parquet(folder / f"{i}.parquet", row_group_size=200)
    return folder


def test_each_process_reads_its_share_of_a_stream(rows, tmp_path):
    """All rows in one step: the model of one process, if each row counts once."""
    options = (
        "sample",
        300,
        "train",
        rows,
        "--target",
        "kind",
        "--stream",
        "--model",
        "mlp",
        "--dtype",
        "float64",
    )
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "share", "all")]
    for count, file, more in zip((1, 2, 2), files, ([], [], ["--reads", "all"]), strict=True):
        batch = 100 if more else 10**6
        words = *options, "--epochs", 2, "--batch-size", batch, *more, "--output", file
        done = run(count, "command.py", *words)
        assert done.returncode == 0, done.stderr
        reading = "reads its share of the rows" if not more else "reads all rows"
        assert " ".join(done.stdout.split()).count(reading) == (count > 1)
        for rare in ("black", "brown", "white", "cyan"):  # whoever has read it
            assert done.stderr.count(rare) == 1, done.stderr
        assert done.stdout.count("Model written to") == 1
    one, two = (nnb.load(file).state_dict() for file in files[:2])
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=0.0, atol=1e-9 * np.abs(array).max())


def test_files_are_written_once_and_a_run_goes_on_elsewhere(rows, tmp_path):
    options = (
        "sample",
        300,
        "train",
        rows,
        "--target",
        "kind",
        "--stream",
        "--model",
        "mlp",
        "--patience",
        5,
    )
    output, log, page = (tmp_path / name for name in ("m.safetensors", "log.jsonl", "page.html"))
    folder = tmp_path / "run"
    files = "--checkpoint", folder, "--log", log, "--html", page, "--output", output
    done = run(2, "command.py", *options, *files, "--epochs", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == len(log.read_text().splitlines()) == 1
    assert page.exists()
    done = run(3, "command.py", *options, *files, "--epochs", 2, "--resume", folder, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["epochs"] == 2
    assert sum("were read in 2 shares" in note for note in found["notes"]) == 1


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
        ([*TRAIN, "--model", "mlp", "--optimizer", "lbfgs"], 2, "or say --parallel none"),
        (["without", *TRAIN], 1, "training in several processes needs mpi4py: pip install"),
        (["at", 1, "--quiett", *TRAIN], 2, "process 1 of 2 (pid "),
        (["at", 1, "--class-weight=x", *TRAIN], 2, "process 1 of 2 (pid "),
    ],
    ids=["file", "target", "parallel", "lbfgs", "mpi4py", "one option", "one value"],
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
