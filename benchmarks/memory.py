"""Train in a process of its own and print how much memory that took; see ``use.memory``."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import sys
from pathlib import Path

from benchmarks.peers import contestants
from benchmarks.timing import Options
from benchmarks.work import Task, images, initial

_STATUS = Path("/proc/self/status")


def resident(now: bool) -> int:
    """Return the bytes in memory now, or at the peak. Systems without /proc know only the peak."""
    if not _STATUS.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    match = re.search(rf"{'VmRSS' if now else 'VmHWM'}:\s+(\d+)", _STATUS.read_text())
    assert match is not None
    return int(match[1]) * 1024


def forget_peak() -> None:
    """Let the peak start afresh, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main(name: str, backends: str, network: str, batch: str) -> None:
    """Print the peaks of building and of training as JSON."""
    sizes, rows = tuple(map(int, network.split("-"))), int(batch)
    make = contestants("STEPS", Options(backends.split(",")))[name]
    # A small network first: the code and the buffers of the libraries are not what is measured.
    small = (sizes[0], 8, sizes[-1])
    trial = make(Task(small, 64, *images(128, small[0], small[-1]), initial(small)))
    trial.reset()
    trial.run()
    task = Task(sizes, rows, *images(4 * rows, sizes[0], sizes[-1]), initial(sizes))
    forget_peak()
    before = resident(now=True)
    trial = make(task)
    trial.reset()
    building = resident(now=False) - before
    forget_peak()
    trial.run()
    print(json.dumps({"building": building, "training": resident(now=False) - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
