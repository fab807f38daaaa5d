"""Several processes train one network as one does, and none waits for another without end."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from parallel.launch import PROGRAMS, Started, needs_mpi, run

import nnbackend as nnb

pytestmark = needs_mpi

FAULTS = {
    "callback": "process 0 of 3 (pid ",
    "nested": ": RuntimeError: process 0 alone calls callbacks",
    "layer": "process 1 of 3 (pid ",
    "beginning": "ArithmeticError: before MPI",
    "outside": "process 1 of 3 (pid ",
    "exit": "has ended, and the others wait for it",
    "stall": "no answer for 3 s from process 1 of 3 (pid ",
    "wrong": "batch_size is 16 in process 0 and 8 in process 1",
}


@pytest.mark.parametrize("count", [2, 4])
def test_processes_train_as_one_does(count, tmp_path):
    done = run(count, "same_network.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "errors_of_all"


def test_processes_share_the_reading_of_datasets(tmp_path):
    pytest.importorskip("pyarrow")
    done = run(3, "shares.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "other_backends"


def test_several_networks_backends_and_groups():
    done = run(3, "several.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "groups"


@pytest.mark.parametrize(("fault", "message"), FAULTS.items(), ids=FAULTS)
def test_a_fault_of_one_ends_all_with_one_message(fault, message):
    done = run(3, "faults.py", fault, 1)
    assert done.returncode == 1
    assert done.stderr.count(message) == 1
    assert done.stderr.count("Traceback") == (fault not in ("stall", "exit"))


def test_what_processes_are_not_given_alike_is_refused_in_all_of_them():
    done = run(2, "bad_input.py")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0", "1"]


def test_ctrl_c_ends_all_at_the_same_step():
    started = Started(2, PROGRAMS / "faults.py", "interrupt", 1)
    try:
        assert started.process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        started.process.send_signal(signal.SIGINT)
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == 0, done.stderr
    reasons = sorted(line for line in done.stdout.splitlines() if "interrupted" in line)
    assert [reason[:2] for reason in reasons] == ["0 ", "1 "]
    assert reasons[0][2:] == reasons[1][2:]
    assert done.stderr.count("training was interrupted") == 1


def checkpointed(count: int, folder: Path, epochs: int, *resume: str) -> np.ndarray:
    result = folder.parent / "result.npy"
    done = run(count, "checkpoints.py", folder, epochs, result, *resume)
    assert done.returncode == 0, done.stderr
    return np.load(result)


def test_a_run_goes_on_with_as_many_processes_bit_for_bit_and_with_others_to_rounding(tmp_path):
    whole = checkpointed(2, tmp_path / "whole", 4)
    checkpointed(2, tmp_path / "parts", 2)
    assert np.array_equal(checkpointed(2, tmp_path / "parts", 4, "resume"), whole)
    checkpointed(3, tmp_path / "others", 2)
    found = checkpointed(1, tmp_path / "others", 4, "resume")
    np.testing.assert_allclose(found, whole, rtol=0.0, atol=1e-12 * np.abs(whole).max())


@pytest.mark.parametrize("seed", range(int(os.environ.get("NNBACKEND_KILLS", "3"))))
def test_killed_processes_end_all_and_the_run_goes_on(seed, tmp_path):
    rng = random.Random(seed)
    command = PROGRAMS / "checkpoints.py", tmp_path / "run", 10**6, tmp_path / "none.npy"
    started = Started(3, *command)
    try:
        pids = [int(word) for word in started.process.stdout.readline().split()]
        assert len(pids) == 3
        time.sleep(rng.uniform(0.0, 0.5))
        os.kill(rng.choice(pids), signal.SIGKILL)
        began = time.monotonic()
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == 9
    assert time.monotonic() - began < 20.0
    assert "Killed (signal 9)" in done.stdout + done.stderr
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    kept = nnb.checkpoints.files(tmp_path / "run")[-1]
    epoch = int(re.findall(r"epoch-(\d+)", kept.name)[0])
    assert np.isfinite(checkpointed(2, tmp_path / "run", epoch + 2, "resume")).all()
