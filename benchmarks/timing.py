"""Interleaved rounds: in each one every contestant runs once, in an order that changes."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """What the command line asked for, and what had to be left out.

    Attributes:
        backends: of nnbackend.
        quick: whether less of everything is enough.
        rounds: how often each contestant runs.
        device: where the sections for a GPU compute, ``"cuda"`` or, to try them out, ``"cpu"``.
        left_out: reasons by name.
        failed: which of nnbackend's own contestants raised an error.
    """

    backends: list[str]
    quick: bool = False
    rounds: int = 11
    device: str = "cpu"
    left_out: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def leave_out(self, name: str, error: Exception, work: str = "") -> None:
        """Remember that a contestant failed, and why, so that the others can go on."""
        first_line = str(error).strip().partition("\n")[0][:200]
        reason = f"{type(error).__name__}: {first_line}"
        print(f"  left out: {name}: {reason}", file=sys.stderr, flush=True)
        if name.startswith("nnbackend"):
            self.failed.append(f"{name} ({work})" if work else name)
            traceback.print_exception(error)
        before = self.left_out.get(name, "")
        if reason not in before:  # it is told once, with the first work
            told = f"{reason} (in {work})" if work else reason
            self.left_out[name] = f"{before}; {told}" if before else told


# Idle threads of OpenBLAS and OpenMP wait actively for work, up to about 30 ms, and would take the
# cores from whoever runs next.
PAUSE = 0.06


def race(
    factories: Mapping[str, Callable[[], Contestant]],
    options: Options,
    count: int = 1,
    rounds: int | None = None,
    *,
    work: str = "",
    tolerance: float | None = None,
    warm: int = 1,
) -> list[Row]:
    """Let contestants do the same work; return a row for each, in seconds for one of ``count``.

    Args:
        factories: by name; one that fails is left out, with the reason.
        options: of the benchmark.
        count: how many steps, calls or rows a run consists of.
        rounds: how often each runs, besides the first run that compiles and warms up.
        work: what they do, to say where a contestant failed.
        tolerance: how far, relatively, a value may be from the median of all; a row that is farther
            off has a note ``differs``. None: as far as it likes.
        warm: how many runs the first run consists of, with no reset in between. The value is the last's.
    """
    trials: dict[str, Contestant] = {}
    firsts: dict[str, float] = {}
    values: dict[str, float] = {}
    for name, factory in factories.items():
        try:
            trials[name] = factory()
            firsts[name], values[name] = _timed(trials[name], warm)
        except Exception as error:
            trials.pop(name, None)
            options.leave_out(name, error, work)
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    names = list(trials)
    with _settled() if options.device == "cuda" else contextlib.nullcontext():
        for i in range((rounds or options.rounds) if names else 0):
            turn = i % len(names)
            order = names[turn:] + names[:turn]
            for name in order if i % 2 == 0 else reversed(order):
                if name not in trials:
                    continue
                try:
                    seconds[name].append(_timed(trials[name])[0])
                except Exception as error:
                    del trials[name]
                    options.leave_out(name, error, work)
    rows = []
    for name, trial in trials.items():
        row = {"name": name, **summary([s / count for s in seconds[name]])}
        row["first_run"] = max(firsts[name] - row["median"] * count * warm, 0.0)
        row["value"] = values[name] if math.isfinite(values[name]) else None
        rows.append(row | getattr(trial, "notes", {}))
    if tolerance is not None:
        compare(rows, tolerance)
    return rows


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Let garbage be looked for among new objects only: compilers leave half a million of them."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def compare(rows: list[Row], tolerance: float) -> None:
    """Note in each row whether its value differs from that of the others, or is no number: ``differs``.

    Bare matrix products have no value.
    """
    compared = [row for row in rows if not row["name"].startswith("matrix products")]
    known = [row["value"] for row in compared if row["value"] is not None]
    for row in compared:
        value, middle = row["value"], statistics.median(known) if known else math.nan
        row["differs"] = value is None or not abs(value - middle) <= tolerance * abs(middle)


def _timed(trial: Contestant, runs: int = 1) -> tuple[float, float]:
    trial.reset()
    gc.collect()
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(runs):
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
        value += "  DIFFERS" if row.get("differs") else ""
        first = f"  first run +{row['first_run']:.2f} s" if row.get("first_run", 0) > 0.5 else ""
        print(
            f"  {row['name']:<30} {row['median'] * scale:>12.2f} {suffix}"
            f"  ({low * scale:.2f} to {high * scale:.2f}){value}{first}",
            flush=True,
        )
        if "warned" in row:
            print(f"    warned: {row['warned']}", flush=True)
    return {"key": key, "title": title, "unit": unit, **settings, "rows": rows}
