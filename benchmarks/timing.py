"""Interleaved rounds: in each one every contestant runs once, in an order that changes."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Row = dict[str, Any]


class Contestant(Protocol):
    """One way to do a piece of work. It may have ``notes``, a dict that goes into the results."""

    def reset(self) -> None:
        """Go back to the start; not timed."""

    def run(self) -> float:
        """Do the work and wait for it; return a number that shows what was computed: the loss."""


@dataclass
class Options:
    """What the command line asked for, and what had to be left out."""

    backends: list[str]
    quick: bool = False
    rounds: int = 11
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether peers should use the GPU too."""
        return "cupy" in self.backends


# Idle threads of OpenBLAS and OpenMP wait actively for work, up to about 30 ms, and would take the
# cores from whoever runs next.
PAUSE = 0.06


def race(
    factories: Mapping[str, Callable[[], Contestant]],
    options: Options,
    count: int = 1,
    rounds: int | None = None,
) -> list[Row]:
    """Let contestants do the same work; return a row for each, in seconds for one of ``count``.

    Args:
        factories: by name; one that fails is left out, with the reason, unless it is nnbackend's.
        options: of the benchmark.
        count: how many steps, calls or rows a run consists of.
        rounds: how often each runs, besides the first run that compiles and warms up.
    """
    trials: dict[str, Contestant] = {}
    firsts: dict[str, float] = {}
    values: dict[str, float] = {}
    for name, factory in factories.items():
        try:
            trials[name] = factory()
            firsts[name], values[name] = _timed(trials[name])
        except Exception as error:
            if name.startswith("nnbackend"):
                raise
            trials.pop(name, None)
            first_line = str(error).strip().partition("\n")[0][:200]
            options.left_out[name] = f"{type(error).__name__}: {first_line}"
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    names = list(trials)
    for i in range(rounds or options.rounds):
        turn = i % len(names)
        order = names[turn:] + names[:turn]
        for name in order if i % 2 == 0 else reversed(order):
            seconds[name].append(_timed(trials[name])[0])
    rows = []
    for name, trial in trials.items():
        row = {"name": name, **summary([s / count for s in seconds[name]])}
        row["first_run"] = max(firsts[name] - row["median"] * count, 0.0)
        row["value"] = values[name] if math.isfinite(values[name]) else None
        rows.append(row | getattr(trial, "notes", {}))
    return rows


def _timed(trial: Contestant) -> tuple[float, float]:
    trial.reset()
    gc.collect()
    time.sleep(PAUSE)
    start = time.perf_counter()
    value = trial.run()
    return time.perf_counter() - start, value


def summary(samples: Iterable[float]) -> Row:
    """Return the median, the quartiles and the number of samples."""
    samples = sorted(samples)
    if len(samples) < 2:
        low, middle, high = samples * 3
    else:
        low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high], "n": len(samples)}


def table(key: str, title: str, unit: str, rows: list[Row], **settings: Any) -> dict[str, Any]:
    """Return rows as they are stored, and print them."""
    print(f"\n{title}")
    scale, suffix = {"B": (1e-6, "MB")}.get(unit, (1e6, f"us/{unit}"))
    for row in rows:
        low, high = row["quartiles"]
        value = "" if row.get("value") is None else f"  value {row['value']:.5f}"
        first = f"  first run +{row['first_run']:.2f} s" if row.get("first_run", 0) > 0.5 else ""
        print(
            f"  {row['name']:<30} {row['median'] * scale:>12.2f} {suffix}"
            f"  ({low * scale:.2f} to {high * scale:.2f}){value}{first}",
            flush=True,
        )
    return {"key": key, "title": title, "unit": unit, **settings, "rows": rows}
