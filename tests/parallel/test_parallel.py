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
from parallel.launch import PROGRAMS, Started, is_open_mpi, needs_mpi, run

import nnbackend as nnb

pytestmark = needs_mpi

HAS_ENDED = "process 1 of 3 (pid ", "has ended, and the others wait for it"
# What each says, and with which code all end.
FAULTS: dict[str, tuple[tuple[str, ...], int]] = {
    "callback": (("process 0 of 3 (pid ", "OSError: the disk is full"), 1),
    "nested": ((": RuntimeError: process 0 alone calls callbacks",), 1),
    "layer": (("process 1 of 3 (pid ", "ArithmeticError: wrong"), 1),
    "memory": (("process 1 of 3 (pid ", "OutOfMemoryError: "), 1),
    "beginning": (("ArithmeticError: before MPI",), 1),
    "outside": (("process 1 of 3 (pid ", "ArithmeticError: before the training"), 1),
    "sys.exit 0": (HAS_ENDED, 1),
    "sys.exit 3": (HAS_ENDED, 1),
    "os._exit 0": (HAS_ENDED, 1),
    "os._exit 5": (("process 1 of 3 (pid ", "): os._exit(5)"), 5),
    "os._exit 3": (("process 1 of 3 (pid ", "): os._exit(3)"), 3),  # in a thread
    "moments": (("RuntimeError: an error came to the processes at different moments",), 1),
    "stall": (("no answer for 3 s from process 1 of 3 (pid ",), 1),
    "wrong": (("batch_size is 16 in process 0 and 8 in process 1",), 1),
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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_ends_all_with_one_message(fault):
    words, code = FAULTS[fault]
    done = run(3, "faults.py", fault, 1)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if words[0] in line]
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words)
    assert ("Traceback" in done.stderr) == (fault != "stall" and "exit" not in fault)
    if "Traceback" in done.stderr and fault != "memory":  # which has a cause of its own
        assert done.stderr.count("Traceback") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_ends_alone():
    done = run(2, "faults.py", "child", 1)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_processes_are_not_given_alike_is_refused_in_all_of_them():
    done = run(2, "bad_input.py")
    assert done.returncode == 0, done.stderr
    assert sorted("".join(done.stdout.split())) == ["0", "1"]  # the lines may get mixed


def test_ctrl_c_ends_all_at_the_same_step():
    started = Started(2, PROGRAMS / "faults.py", "interrupt", 1)
    try:
        ready, pid = started.process.stdout.readline().split()
        assert ready == "ready"
        time.sleep(0.5)
        started.interrupt(int(pid))
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == 0, done.stderr
    reasons = sorted(line for line in done.stdout.splitlines() if "interrupted" in line)
    assert [reason[:2] for reason in reasons] == ["0 ", "1 "]
    assert reasons[0][2:] == reasons[1][2:]
    assert done.stderr.count("training was interrupted") == 1


def test_ctrl_c_ends_all_at_once_while_they_wait_for_one_that_has_not_begun():
    started = Started(3, PROGRAMS / "faults.py", "early", 1)
    try:
        assert started.process.stdout.readline().startswith("ready")
        time.sleep(2.0)
        began = time.monotonic()
        started.process.send_signal(signal.SIGINT)
        done = started.finish()
    finally:
        started.end()
    assert done.returncode != 0
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_the_end_of_mpiexec_is_that_of_all(number):
    started = Started(3, PROGRAMS / "faults.py", "interrupt", 1)
    try:
        assert started.process.stdout.readline().startswith("ready")
        started.process.send_signal(number)
        done = started.finish()  # which looks for processes that stay
    finally:
        started.end()
    assert done.returncode != 0


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
        rank = rng.randrange(3)
        os.kill(pids[rank], signal.SIGKILL)
        began = time.monotonic()
        done = started.finish()
    finally:
        started.end()
    assert done.returncode == (128 + 9 if is_open_mpi() else 9)
    assert time.monotonic() - began < 20.0
    said = [line for line in done.stderr.splitlines() if line.startswith("nnbackend: ")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith(f"nnbackend: process {rank} of 3 (pid {pids[rank]} on ")
    assert re.search(r"\) was killed( by signal 9 \(SIGKILL\)|, or has ended)", said[0])
    kept = nnb.checkpoints.files(tmp_path / "run")[-1]
    epoch = int(re.findall(r"epoch-(\d+)", kept.name)[0])
    assert np.isfinite(checkpointed(2, tmp_path / "run", epoch + 2, "resume")).all()
