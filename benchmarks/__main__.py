"""Run the benchmark, on the CPU or, with --backend cupy, on a GPU."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nnbackend
from benchmarks import convolution, estimators, gpu, machine, streams, training, use
from benchmarks.timing import Options

SECTIONS = {
    "steps": training.steps,
    "profile": training.profile,
    "tutorial": training.tutorial,
    "fit": training.fit,
    "predict": use.predict,
    "import": use.imports,
    "memory": use.memory,
    "growth": training.growth,
    "estimators": estimators.estimators,
    "streams": streams.streams,
    "convolution": convolution.convolution,
}
RESULTS = Path(__file__).parent / "results"
PARTS = """
On a GPU all of it takes some quarter of an hour, most of that for PyTorch's compiler. Where a job may
run for ten minutes only, do it in parts, which add to the result of the same day:
  --backend cupy --only gpu-steps
  --backend cupy --only gpu-float32,gpu-tf32,gpu-bfloat16
  --backend cupy --only gpu-fit,gpu-predict,crossover,gpu-memory
Without a GPU, --backend torch --quick --only gpu-steps,crossover does the same with less work.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for and store it after every table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=PARTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names, on_gpu = ",".join(SECTIONS), ",".join(gpu.SECTIONS)
    parser.add_argument(
        "--only", help=f"sections, by commas. On the CPU, all: {names}; on a GPU: {on_gpu}"
    )
    parser.add_argument(
        "--backend", help="backends, by commas; default: all that are usable on the CPU"
    )
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        help="where the sections for a GPU compute, peers too; default: cuda with --backend cupy. "
        "On cpu they do less: to try them out without a GPU",
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, to try it out")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs")
    parser.add_argument("--output", type=Path, help="the JSON file; sections in it are replaced")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes most of the card
    try:
        chosen = backends(arguments.backend)
    except (nnbackend.errors.UnknownNameError, nnbackend.errors.BackendUnavailableError) as error:
        parser.error(str(error))
    place = arguments.device or ("cuda" if "cupy" in chosen else "cpu")
    usual = 3 if arguments.quick else 7 if place == "cuda" else 11
    options = Options(chosen, arguments.quick, arguments.rounds or usual, place)
    there = gpu.SECTIONS if options.device == "cuda" else SECTIONS
    sections = arguments.only.split(",") if arguments.only else list(there)
    if unknown := sorted(set(sections) - set(SECTIONS) - set(gpu.SECTIONS)):
        parser.error(f"unknown sections: {', '.join(unknown)}; there are {names},{on_gpu}")
    if misplaced := sorted(set(sections) & set(SECTIONS)) if there is gpu.SECTIONS else []:
        parser.error(f"measured on the CPU: {', '.join(misplaced)}; on a GPU there are {on_gpu}")
    device = cuda = None
    if options.device == "cuda":
        try:
            name = next((name for name in chosen if name in ("cupy", "torch")), "torch")
            on_card = nnbackend.get_backend(name, "cuda")
            device, cuda = on_card.device_name(), on_card.versions()
        except nnbackend.errors.BackendUnavailableError as error:
            parser.error(str(error))
    today = datetime.date.today().isoformat()
    path = arguments.output
    if path is None and not arguments.quick:
        path = RESULTS / f"{today}-{machine.slug(device)}.json"
    facts = machine.describe(device, cuda)
    if (facts["load"] or 0) > 0.5:
        print(f"this machine is busy (load {facts['load']}): the figures will be rough")
    results: dict[str, Any] = {"sections": {}}
    if path is not None and path.exists():
        results = json.loads(path.read_text())
    for section in sections:
        tables: list[dict[str, Any]] = []
        options.left_out = {}
        for table in (SECTIONS | gpu.SECTIONS)[section](options):
            tables.append(table)
            results["sections"][section] = {
                "measured": today,
                "tables": tables,
                "left_out": options.left_out,
            }
            results |= {"schema": 1, "date": today, "quick": arguments.quick}
            facts |= machine.loaded(cuda)  # libraries are loaded as they are needed
            results |= {"backends": options.backends, "machine": facts}
            results["left_out"] = left_out(results["sections"])
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(results, indent=1) + "\n")
    for name, reason in results.get("left_out", {}).items():
        print(f"left out: {name}: {reason}")
    print(f"\nresults: {path}" if path else "\nquick results are not kept without --output")
    if options.failed:
        sys.exit(f"nnbackend failed: {'; '.join(options.failed)}")


def left_out(sections: dict[str, Any]) -> dict[str, str]:
    """Return what was left out in any section, and why: each reason once, as it was first told."""
    joined: dict[str, str] = {}
    for section in sections.values():
        for name, told in section.get("left_out", {}).items():
            if name not in joined:
                joined[name] = told
            elif told.partition(" (in ")[0] not in joined[name]:
                joined[name] += f"; {told}"
    return joined


def backends(wanted: str | None) -> list[str]:
    """Return the backends to measure: those named, or all that are usable here on the CPU.

    array-api-strict is left out unless it is named: it is there to check code, not to be fast.
    """
    if wanted:
        names = wanted.split(",")
        for name in names:
            nnbackend.backends.choose.get_backend(name)  # says why, if it cannot be used
        return names
    usable = [status.name for status in nnbackend.available_backends() if status.usable]
    return [name for name in usable if name not in ("array-api-strict", "cupy")]


if __name__ == "__main__":
    main()
