"""Start programs in several processes, and be sure that none of them stays."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
SECONDS = 240.0  # on a machine with more processes than cores

needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or shutil.which("mpiexec") is None,
    reason="needs mpi4py and mpiexec: nox -s mpi",
)


class Started:
    """A program that runs in several processes.

    Args:
        count: how many.
        command: the program and its arguments, after ``python``.
        more: further variables of the environment.
    """

    def __init__(self, count: int, *command: Any, **more: str) -> None:
        paths = os.pathsep.join([str(ROOT), str(PROGRAMS), os.environ.get("PYTHONPATH", "")])
        own = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        words = ["mpiexec", "-n", str(count), sys.executable, "-W", "error", *map(str, command)]
        self.process = subprocess.Popen(
            words,
            env=os.environ | own | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Wait for the end; return the code and what was printed."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except BaseException:
            self.end()
            raise
        return subprocess.CompletedProcess("", self.process.returncode, out, err)

    def end(self) -> None:
        """End mpiexec, which ends its processes; then by force."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    continue


def run(count: int, *command: Any, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this folder, or another by its path, to its end."""
    first, *arguments = command
    program = first if str(first).startswith("-") else PROGRAMS / first
    return Started(count, program, *arguments, **more).finish()
