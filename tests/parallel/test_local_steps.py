"""Processes that take steps alone and average what came of them."""

from __future__ import annotations

import pytest
from parallel.launch import needs_mpi, run

pytestmark = needs_mpi


@pytest.mark.parametrize("count", [2, 3])
def test_processes_take_steps_alone_and_meet(count, tmp_path):
    done = run(count, "local_steps.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "refused"
