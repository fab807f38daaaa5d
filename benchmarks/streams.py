"""Data that stream: how fast they train, how long training waits for them, and how much memory it takes.

Each contestant runs in a process of its own: ``python -m benchmarks.streams WAY FOLDER ROWS BACKEND``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import nnbackend as nnb
from benchmarks.memory import forget_peak, resident
from benchmarks.timing import Options, summary, table
from benchmarks.use import python

Tables = list[dict[str, Any]]

_FEATURES, _HIDDEN, _BATCH = 100, 256, 256
_PART = 50_000  # rows of a file
_BUFFER = 16_384
_MOST_AS_TEXT = 200_000  # rows of CSV files, which take long to write
_WAYS = ("arrays", "memory map", "memory map, shuffled", "Parquet", "Parquet, shuffled",
         "Parquet, shuffled, no thread", "CSV, shuffled", "generator")  # fmt: skip


def streams(options: Options) -> Tables:
    """Return, for each way of giving data, time, share of waiting and memory; of few rows, and many."""
    counts = (50_000, 100_000) if options.quick else (100_000, 1_000_000)
    possible = [way for way in _WAYS if _possible(way, options)]
    tables = []
    for rows in counts:
        ways = [way for way in possible if rows <= _MOST_AS_TEXT or not way.startswith("CSV")]
        folder = Path(tempfile.mkdtemp(prefix="nnbackend-streams-"))
        try:
            _write(folder, rows, ways)
            # What reading costs is the same on every backend: one shows it.
            tables += _measured(options, folder, rows, options.backends[0], ways)
        finally:
            shutil.rmtree(folder)
    return tables


def _possible(way: str, options: Options) -> bool:
    if way.startswith(("Parquet", "CSV")) and importlib.util.find_spec("pyarrow") is None:
        options.left_out[f"streams from {way}"] = "not installed (pyarrow)"
        return False
    return True


def _measured(options: Options, folder: Path, rows: int, backend: str, ways: list[str]) -> Tables:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(1 if options.quick else 3):
        for way in ways:
            arguments = (way, str(folder), str(rows), backend)
            printed = python("-m", "benchmarks.streams", *arguments)
            found[way].append(json.loads(printed.splitlines()[-1]))
    steps = -(-rows // _BATCH)
    times, peaks = [], []
    for way, runs in found.items():
        waiting = [run["waiting"] / run["seconds"] for run in runs]
        row = {"name": way, **summary(run["seconds"] / steps for run in runs)}
        times.append(row | {"waiting": summary(waiting)["median"]})
        peaks.append({"name": way, **summary(run["memory"] for run in runs)})
    size = 4 * rows * (_FEATURES + 1)
    title = f"{rows:,} rows of {_FEATURES} features ({size / 1e6:.0f} MB), {backend}"
    key = f"streams/{backend}/{rows}"
    made = [
        table(f"{key}/time", f"Streaming {title}", "step", times, rows_read=rows, bytes=size),
        table(f"{key}/memory", f"Peak memory, {title}", "B", peaks, rows_read=rows, bytes=size),
    ]
    for row in times:
        print(f"  {row['name']:<30} {row['waiting']:>12.1%} of the time waiting for data")
    return made


def _write(folder: Path, rows: int, ways: list[str]) -> None:
    """Write the same rows in each format; many files of the same content are as good as others."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((min(rows, _PART), _FEATURES), dtype=np.float32)
    y = (x[:, :3] ** 2).sum(axis=1, keepdims=True)
    if any(way.startswith("memory map") for way in ways):
        shape = (rows, _FEATURES + 1)
        mapped = np.memmap(folder / "rows.bin", dtype=np.float32, mode="w+", shape=shape)
        for start in range(0, rows, len(x)):
            part = mapped[start : start + len(x)]
            part[:, :-1], part[:, -1:] = x[: len(part)], y[: len(part)]
        mapped.flush()
    if not any(way.startswith(("Parquet", "CSV")) for way in ways):
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    columns = pa.table({**{f"x{i}": x[:, i] for i in range(_FEATURES)}, "y": y[:, 0]})
    for i in range(rows // len(x)):
        parquet.write_table(columns, folder / f"{i:04}.parquet", row_group_size=10_000)
        if any(way.startswith("CSV") for way in ways):
            csv.write_csv(columns, folder / f"{i:04}.csv")


def _source(way: str, folder: Path, rows: int) -> Any:
    """Return what fit is given, and whether it shuffles."""
    ahead = 0 if "no thread" in way else 2
    if way.startswith(("memory map", "arrays", "generator")):
        shape = (rows, _FEATURES + 1)
        mapped = np.memmap(folder / "rows.bin", dtype=np.float32, mode="r", shape=shape)
        x, y = mapped[:, :-1], mapped[:, -1:]
        if way == "arrays":
            return np.array(x), np.array(y)
        if way == "generator":
            parts = [slice(i, i + _BATCH) for i in range(0, rows, _BATCH)]
            return (lambda: ((np.array(x[p]), np.array(y[p])) for p in parts),)
        return (nnb.data.MemoryMap(x, y, shuffle_buffer=_BUFFER, prefetch=ahead),)
    ending = "csv" if way.startswith("CSV") else "parquet"
    return (
        nnb.data.Dataset(
            folder / f"*.{ending}", target="y", shuffle_buffer=_BUFFER, prefetch=ahead
        ),
    )


def main(way: str, folder: str, rows: str, backend: str) -> None:
    """Train one epoch; print its seconds, those spent waiting, and the peak above the start."""
    layers = [nnb.Dense(_HIDDEN, activation="relu"), nnb.Dense(1)]
    network = nnb.Network(layers, backend=backend, input_shape=_FEATURES)
    warm = np.zeros((4 * _BATCH, _FEATURES), np.float32)
    # What is compiled, imported and allocated once is not what is measured.
    nnb.Network(layers, backend=backend).fit(warm, warm[:, :1], batch_size=_BATCH, verbose=0)
    if way.startswith(("Parquet", "CSV")):
        import pyarrow.csv
        import pyarrow.parquet  # noqa: F401
    forget_peak()
    before = resident(now=True)
    given = _source(way, Path(folder), int(rows))
    shuffle = way == "arrays" or "shuffled" in way
    batch = {} if way == "generator" else {"batch_size": _BATCH}
    history = network.fit(*given, shuffle=shuffle, verbose=0, **batch)
    waiting = history["waiting"][0] if "waiting" in history else 0.0
    memory = resident(now=False) - before
    print(json.dumps({"seconds": history["seconds"][0], "waiting": waiting, "memory": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
