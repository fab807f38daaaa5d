"""The batch scripts for clusters: they can be read, and what they call exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from parallel.launch import needs_mpi, run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
TRAIN = FOLDER / "train.py"


def digits(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    np.savez(folder / "digits.npz", x=x, y=(x[:, 0] > 0).astype(int))
    return folder / "digits.npz"


def options_of(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


@cache
def known_options() -> set[str]:
    done = subprocess.run(
        [sys.executable, str(TRAIN), "--help"], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return set(re.findall(r"--[a-z-]+", done.stdout))


def commands(script: Path) -> list[list[str]]:
    """Return the words of each command of a script."""
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_scripts_are_sound_shell(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_scripts_give_options_that_exist():
    found = 0
    for words in (words for script in SCRIPTS for words in commands(script)):
        if "train.py" in words:
            given, known = options_of(words[words.index("train.py") :]), known_options()
        elif "nnbackend" in words:
            given = options_of(words[words.index("nnbackend") :])
            known = options_of_train()
        else:
            continue
        found += 1
        assert given
        assert given <= known
    assert found == len(SCRIPTS)


@cache
def options_of_train() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nnbackend", "train", "--help"], capture_output=True, text=True,
        check=True, env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )  # fmt: skip
    return set(re.findall(r"--[a-z-]+", done.stdout))


def test_the_job_of_the_mpi_operator_starts_the_program():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((FOLDER / "mpijob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    launcher, worker = (
        job["spec"]["mpiReplicaSpecs"][name]["template"]["spec"]["containers"][0]
        for name in ("Launcher", "Worker")
    )
    assert launcher["image"] == worker["image"]
    slots = job["spec"]["slotsPerWorker"] * job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"]
    words = [*launcher["command"], *launcher["args"]]
    assert words[:3] == ["mpiexec", "-n", str(slots)]
    assert options_of(words) <= known_options()


@needs_mpi
def test_the_program_runs_alone_and_goes_on_from_its_checkpoints(tmp_path):
    data = digits(tmp_path)
    for epochs in ("2", "3"):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(TRAIN), str(data), "--epochs", epochs,
             "--batch-size", "64", "--checkpoints", "run"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "1 processes, accuracy" in done.stdout
    assert (tmp_path / "model.safetensors").exists()


@needs_mpi
def test_the_program_runs_in_processes(tmp_path):
    data, output = digits(tmp_path), tmp_path / "model.safetensors"
    settings = "--epochs", 2, "--batch-size", 64, "--output", output
    folder = "--checkpoints", tmp_path / "run"
    for more in (folder, folder, ("--local-steps", 2)):
        done = run(2, TRAIN, data, *settings, *more)
        assert done.returncode == 0, done.stderr
        assert "2 processes, accuracy" in done.stdout
        assert output.exists()
