"""Everything besides training: predictions, imports, sizes, memory."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nnbackend
from benchmarks.peers import contestants, entered
from benchmarks.timing import Options, race, summary, table
from benchmarks.work import Task, images, initial, name_of

Tables = list[dict[str, Any]]

_MODULES = {
    "numpy": "numpy",
    "nnbackend": "nnbackend",
    "scikit-learn": "sklearn.neural_network",
    "PyTorch": "torch",
    "JAX": "jax",
    "thinc": "thinc.api",
}
_DISTRIBUTIONS = ("numpy", "nnbackend", "scikit-learn", "torch", "jax", "thinc")
_TIMED_IMPORT = (
    "import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
)


def predict(options: Options) -> Tables:
    """Return the latency of one row, and the time of 100,000 rows."""
    many = 10_000 if options.quick else 100_000
    cases = [
        ("one row", (64, 64, 10), 1, 200 if options.quick else 2000),
        ("one row", (784, 256, 10), 1, 200 if options.quick else 2000),
        (f"{many} rows", (784, 256, 10), many, 1),
    ]
    tables = []
    for what, sizes, rows, calls in cases:
        x, y = images(rows, sizes[0], sizes[-1])
        task = Task(sizes, rows, x, y, initial(sizes), calls=calls)
        found = race(entered("PREDICT", task, options), options, calls)
        key = f"predict/{'one' if rows == 1 else 'many'}/{name_of(sizes)}"
        title = f"Prediction, {what}, {name_of(sizes)}"
        tables.append(table(key, title, "call", found, rows_predicted=rows))
    return tables


def imports(options: Options) -> Tables:
    """Return import times, each in a process of its own, and sizes on disk."""
    modules = {n: m for n, m in _MODULES.items() if importlib.util.find_spec(m.partition(".")[0])}
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for i in range((3 if options.quick else max(9, options.rounds)) + 1):
        for name, module in modules.items():
            printed = python("-c", _TIMED_IMPORT.format(module=module))
            if i > 0:  # the first fills the file cache
                seconds[name].append(float(printed))
    rows = [{"name": name, **summary(samples)} for name, samples in seconds.items()]
    sizes = [
        {"name": name, **summary([_installed_bytes(name)])}
        for name in _DISTRIBUTIONS
        if name == "nnbackend" or _is_installed(name)
    ]
    return [
        table("import", "Import, in a new process", "import", rows),
        table("installed", "Installed size, with dependencies", "B", sizes),
    ]


def _installed_bytes(distribution: str) -> int:
    """Return the size of a distribution and all it depends on, without compiled Python files."""
    from packaging.requirements import Requirement

    seen: set[str] = set()
    todo, total = [distribution], 0
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in seen or not _is_installed(name):
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        files = [Path(str(found.locate_file(file))) for file in found.files or []]
        if name == "nnbackend":  # it may be installed as a link to its source
            files = list(Path(nnbackend.__file__).parent.rglob("*"))
        total += sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file())
        for text in found.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return total


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def memory(options: Options) -> Tables:
    """Return the peak of memory while training, above what there was with libraries and data."""
    sizes, batch = ((784, 256, 256, 10), 256) if options.quick else ((784, 2048, 2048, 10), 1024)
    skip = ("matrix products", "torch.compile", "nnbackend cupy")
    rows = []
    for name in contestants("STEPS", options):
        if name.startswith(skip):
            continue
        arguments = (name, ",".join(options.backends), name_of(sizes), str(batch))
        runs = [
            json.loads(python("-m", "benchmarks.memory", *arguments).splitlines()[-1])
            for _ in range(1 if options.quick else 3)
        ]
        row = {"name": name, **summary(run["training"] for run in runs)}
        rows.append(row | {"building": max(run["building"] for run in runs)})
    numbers = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    counted = {
        "parameters": 4 * numbers,
        "gradients": 4 * numbers,
        "optimizer": 8 * numbers,
        "activations": 4 * batch * sum(sizes[1:]),
    }
    title = f"Peak memory of training {name_of(sizes)}, batch {batch}"
    rows.insert(0, {"name": "counted", **summary([sum(counted.values())])})
    return [table("memory", title, "B", rows, counted=counted)]


def python(*arguments: str) -> str:
    """Run Python in a process of its own with this project on its path; return what it prints."""
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or each import would compile a clone again
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:3])} failed: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()
