"""Measure several processes on this machine, store the result, and write it into docs/cluster.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.parallel import report
from benchmarks.parallel.links import shaped_links
from benchmarks.timing import summary
from benchmarks.work import NETWORKS, name_of

RESULTS = Path(__file__).parents[1] / "results"
WORK = NETWORKS[1:4]
COUNTS = (1, 2, 4)
ELEMENTWISE = (64, 128, 128, 10), 1024
STEPS = {32: 200, 128: 64, 256: 32, 1024: 32}  # of an epoch, by the rows of a batch
TWO_THREADS = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
EPOCHS = 4
MEGABITS = (1000.0, 100.0)
WAYS: dict[str, dict[str, Any]] = {
    "every step": {},
    "every step, 16 bits": {"compress": "float16"},
    "local_steps=16": {"local_steps": 16},
}
PARTS = "constants", "speed", "links"
SHORT, LONG = 8, 1 << 22  # bytes of messages
ALONE = [sys.executable]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, or report on what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parallel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs; default 3")
    parser.add_argument("--report", type=Path, help="report on this result, without measuring")
    parser.add_argument(
        "--only",
        default=",".join(PARTS),
        help=f"parts, by commas, of {', '.join(PARTS)}; default all",
    )
    parser.add_argument("--output", type=Path, help="the JSON file")
    parser.add_argument("--page", type=Path, default=report.PAGE, help="the page of the tables")
    arguments = parser.parse_args(argv)
    only = arguments.only.split(",")
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"unknown parts: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    path = arguments.report
    if path is None:
        path = arguments.output or RESULTS / f"{datetime.date.today().isoformat()}-parallel.json"
        measure(path, arguments.rounds, only)
    results = json.loads(path.read_text())
    if missing := [part for part in PARTS if part not in results]:
        sys.exit(f"no page without {', '.join(missing)}: measure that, too, with the same --output")
    report.write(results, arguments.page)


def measure(path: Path, rounds: int, only: Sequence[str]) -> None:
    """Measure some parts; write them to a file after each, beside those that it has."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"schema": 1}
    results |= {"date": datetime.date.today().isoformat(), "machine": machine.describe()}
    parts = {"constants": constants, "speed": speed, "links": links}
    for name in only:
        results[name] = parts[name](rounds)
        results["load after"] = machine.load()
        path.write_text(json.dumps(results, indent=1) + "\n")


def speed(rounds: int) -> list[dict[str, Any]]:
    """Return what a step takes one, two and four processes, for each network."""
    rows = []
    for sizes, batch in (*WORK, ELEMENTWISE):
        single = batch == ELEMENTWISE[1]
        job = {"sizes": sizes, "batch": batch, "steps": STEPS[batch], "epochs": EPOCHS}
        job["elementwise"] = single
        starts = {str(n): (started(n), {**job, "together": n > 1}, {}) for n in COUNTS}
        starts["1 with 2 threads"] = ALONE, {**job, "together": False}, TWO_THREADS
        name = name_of(sizes) + (" with LayerNorm, GELU, dropout" if single else "")
        for count, row in alternately(starts, rounds).items():
            rows.append({"network": name, "batch": batch, "processes": count, **row})
    return rows


def constants(rounds: int) -> dict[str, Any]:
    """Return the seconds of messages, and of steps of one process with all rows and with a quarter."""
    job = {"bytes": [SHORT, LONG], "times": [1000, 50]}
    found: dict[str, Any] = {"messages": {"memory": run(started(2), job, {})}}
    try:
        with shaped_links(2, None) as (start, variables):
            found["messages"]["TCP"] = run([*start, *ALONE], job, variables)
    except OSError as error:
        found["without links"] = str(error)
    found["steps"] = []
    for sizes, batch in WORK:
        job = {"sizes": sizes, "epochs": EPOCHS, "together": False}
        starts = {
            str(rows): (ALONE, {**job, "batch": rows, "steps": STEPS[batch]}, {})
            for rows in (batch, batch // 4)
        }
        for count, row in alternately(starts, rounds).items():
            found["steps"].append({"network": name_of(sizes), "batch": batch, "rows": count, **row})
    return found


def links(rounds: int) -> list[dict[str, Any]]:
    """Return what a step takes processes with links of a limited rate."""
    rows = []
    for megabits in MEGABITS:
        for count in COUNTS[1:]:
            try:
                with shaped_links(count, megabits) as (start, variables):
                    rows += _over_links(start, variables, megabits, count, rounds)
            except OSError as error:
                print(f"left out: {megabits:g} Mbit/s: {error}")
    return rows


def _over_links(
    start: list[str], variables: dict[str, str], megabits: float, count: int, rounds: int
) -> list[dict[str, Any]]:
    """Return what a step takes processes that are started so."""
    rows = []
    for sizes, batch in WORK[2:]:
        job = {"sizes": sizes, "batch": batch, "steps": 16, "epochs": 1, "together": True}
        starts = {way: ([*start, *ALONE], job | more, variables) for way, more in WAYS.items()}
        named = {
            "network": name_of(sizes),
            "batch": batch,
            "processes": count,
            "megabits": megabits,
        }
        rows += [{**named, "way": way, **row} for way, row in alternately(starts, rounds).items()]
    return rows


def alternately(
    starts: dict[str, tuple[list[str], dict[str, Any], dict[str, str]]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Run each in turn, so many times; return medians, and the processor's time where it was least.

    Others that use the caches of a core make that longer, never shorter.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in starts}
    for _ in range(rounds):
        for name, start in starts.items():
            found[name].append(run(*start))
    rows = {}
    for name, several in found.items():
        rows[name] = summary(one["step"] for one in several)
        rows[name]["cpu"] = min(one["cpu"] for one in several)
        rows[name]["waiting"] = summary(one["waiting"] for one in several)["median"]
        print(name, rows[name], flush=True)
    return rows


def started(count: int) -> list[str]:
    """Return how Python is started in so many processes."""
    return [*([] if count == 1 else ["mpiexec", "-n", str(count)]), *ALONE]


def run(start: list[str], job: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """Run the program of a process; return what it prints. Each process has one thread.

    Raises:
        RuntimeError: it failed.
    """
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    words = [*start, "-m", "benchmarks.parallel.process", json.dumps(job)]
    done = subprocess.run(
        words, env=os.environ | threads | variables, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
