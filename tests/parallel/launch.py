"""Start programs in several processes, and be sure that none of them stays."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
SECONDS = 240.0  # on a machine with more processes than cores
_MARK = "NNBACKEND_TEST_RUN"
_LEAVING = 15.0  # seconds for processes to end whose mpiexec has ended
# Open MPI refuses to run as root, and to start more processes than there are cores.
_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}

needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or shutil.which("mpiexec") is None,
    reason="needs mpi4py and mpiexec: nox -s mpi",
)


@cache
def is_open_mpi() -> bool:
    """Return whether mpiexec is that of Open MPI; else it is MPICH's."""
    done = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True, check=True)
    return "Open MPI" in done.stdout


class Started:
    """A program that runs in several processes.

    Args:
        count: how many.
        command: the program and its arguments, after ``python``.
        more: further variables of the environment.
    """

    def __init__(self, count: int, *command: Any, **more: str) -> None:
        paths = os.pathsep.join([str(ROOT), str(PROGRAMS), os.environ.get("PYTHONPATH", "")])
        self._mark = uuid.uuid4().hex
        own = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        own["PYTHONUNBUFFERED"] = ""  # else a line and its end are written apart, and lines mix
        own |= {_MARK: self._mark} | (_OPEN_MPI if is_open_mpi() else {})
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
        """Wait for the end of all processes; return the code and what was printed."""
        try:
            out, err = self.process.communicate(timeout=seconds)
            until = time.monotonic() + _LEAVING
            while (left := self.left()) and time.monotonic() < until:
                time.sleep(0.05)
        except BaseException:
            self.end()
            raise
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"processes have stayed, of which this ended them: {left}; {err}"
        return subprocess.CompletedProcess("", self.process.returncode, out, err)

    def left(self) -> list[int]:
        """Return the numbers of the processes that are still there, where the system tells."""
        found = []
        for place in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"{_MARK}={self._mark}".encode() in place.read_bytes():
                    found.append(int(place.parent.name))
        return found

    def interrupt(self, first: int) -> None:
        """Do what Ctrl-C does; Open MPI's mpiexec would end all by itself, without their knowing.

        Args:
            first: the number of a process.
        """
        if is_open_mpi():
            os.kill(first, signal.SIGINT)
        else:
            self.process.send_signal(signal.SIGINT)

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
