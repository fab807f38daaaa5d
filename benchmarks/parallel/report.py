"""Tables of what was measured, and of what the model makes of it, for docs/cluster.md."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.parallel.model import COUNTS, Link, Work
from benchmarks.report import replace
from benchmarks.tables import described, human, markdown, spread

__all__ = ["PAGE", "blocks", "write"]

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
GIGABITS = (1, 10, 100)
LARGE = 1024  # processes
SHARE = 0.2  # of a step's time that communication may take
FLOAT = 4  # bytes


def write(results: dict[str, Any], page: Path) -> None:
    """Write the tables into a page."""
    replace(page, blocks(results))


def blocks(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return name and text of each block of the page."""
    loads = results["machine"]["load"], results["load after"]
    busy = f"\n- load of the machine before and after: {loads[0]:g} and {loads[1]:g}"
    yield "parallel machine", described({"quick": False, "left_out": {}, **results}) + busy
    yield "parallel speed", speed(results["speed"])
    yield "parallel links", over_links(results["links"])
    yield "parallel constants", constants(results)
    yield "parallel model", model(results)
    yield "parallel advice", advice(results)


def speed(rows: list[dict[str, Any]]) -> str:
    """Return the steps of several processes on this machine."""
    alone = {row["network"]: row for row in rows if row["processes"] == "1"}
    lines = []
    for row in rows:
        one = alone[row["network"]]
        lines.append((
            f"{row['network']}, {row['batch']}",
            row["processes"],
            spread(row),
            f"{one['median'] / row['median']:.2f}",
            human(row["cpu"]),
            f"{one['cpu'] / row['cpu']:.2f}",
            f"{row['waiting']:.0%}",
        ))  # fmt: skip
    head = ("network, batch", "processes", "a step (quartiles)", "speed-up",
            "processor time of a process", "speed-up without waiting", "waiting")  # fmt: skip
    return markdown(head, lines)


def over_links(rows: list[dict[str, Any]]) -> str:
    """Return the steps of processes with limited links."""
    if not rows:
        return "Links could not be limited where this was measured."
    ways = list(dict.fromkeys(row["way"] for row in rows))
    keys = "network", "batch", "processes", "megabits"
    lines = []
    for key, group in itertools.groupby(rows, lambda row: [row[name] for name in keys]):
        found = {row["way"]: human(row["median"]) for row in group}
        network, batch, count, megabits = key
        lines.append((f"{network}, {batch}", str(count), f"{megabits:g}", *map(found.get, ways)))
    return markdown(("network, batch", "processes", "Mbit/s", *ways), lines)


def constants(results: dict[str, Any]) -> str:
    """Return what the model takes from the machine."""
    lines = []
    for name, found in results["constants"]["messages"].items():
        (short, brief), (long, slow) = found.items()
        lines.append((name, f"{int(short):,} bytes", *map(human, brief.values()), ""))
        rate = f"{int(long) * 8 / slow['fastest'] / 1e9:.1f} Gbit/s"
        lines.append((name, f"{int(long):,} bytes", *map(human, slow.values()), rate))
    messages = markdown(("by", "a message of", "the fastest", "median", "fastest rate"), lines)
    lines = [
        (name, human(work.fixed), human(work.by_rows), human(work.handling), f"{work.size:,}")
        for name, work in works(results).items()
    ]
    head = ("network, batch", "fixed", "by rows", "handling", "bytes of gradients")
    return f"{messages}\n\n{markdown(head, lines)}"


def works(results: dict[str, Any]) -> dict[str, Work]:
    """Return the step of each network, from the processor times of one process and of two."""
    found = {}
    steps = results["constants"]["steps"]
    for whole, part in zip(steps[::2], steps[1::2], strict=True):
        batch, rows = whole["batch"], int(part["rows"])
        by_rows = (whole["cpu"] - part["cpu"]) * batch / (batch - rows)
        by_rows = min(max(by_rows, 0.0), whole["cpu"])
        fixed = whole["cpu"] - by_rows
        two = next(
            row for row in results["speed"]
            if row["network"] == whole["network"] and row["processes"] == "2"
        )  # fmt: skip
        handling = max(two["cpu"] - fixed - by_rows / 2, 0.0)
        sizes = [int(size) for size in whole["network"].split("-")]
        numbers = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
        name = f"{whole['network']}, {batch}"
        found[name] = Work(batch, fixed, by_rows, handling, FLOAT * numbers)
    return found


def latency(results: dict[str, Any]) -> float:
    """Return the seconds of the fastest short message, which did not wait for a core."""
    messages = results["constants"]["messages"]
    short: dict[str, float] = next(iter(messages.get("TCP", messages["memory"]).values()))
    return short["fastest"]


def model(results: dict[str, Any]) -> str:
    """Return the speed-up of up to 1,024 processes by the model."""
    found = works(results)
    links = [Link(rate * 1e9, latency(results)) for rate in GIGABITS]
    same: list[tuple[str, ...]] = []
    grown: list[tuple[str, ...]] = []
    for n in COUNTS[1:]:
        pairs = [(work, link) for work in found.values() for link in links]
        cells = [f"{w.speedup(n, link):.2f}" if n in w.counts else "" for w, link in pairs]
        if any(cells):
            same.append((f"{n:,}", *cells))
        grown.append((f"{n:,}", *(f"{w.speedup_of_grown(n, link):.3g}" for w, link in pairs)))
    heads = "processes", *(f"{name}: {rate} Gbit/s" for name in found for rate in GIGABITS)
    return (
        "The batch as it is, divided, as long as each process has a row of it:\n\n"
        f"{markdown(heads, same)}\n\nThe batch grows: each process has as many rows as the batch had. "
        f"How many times more rows in a second:\n\n{markdown(heads, grown)}"
    )


def advice(results: dict[str, Any]) -> str:
    """Return where data parallelism stops paying by the model, and what helps then."""
    lines = []
    for name, work in works(results).items():
        for rate in GIGABITS:
            link = Link(rate * 1e9, latency(results))
            direct = Link(rate * 1e9, latency(results), direct=True)
            rows = work.rows_for(LARGE, link, SHARE)
            lines.append((
                name,
                f"{rate} Gbit/s",
                str(work.best_count(link)),
                str(work.best_count(direct)),
                str(work.last_efficient_count(link)),
                f"{rows:,}",
                f"{rows * LARGE:,}",
                f"{work.steps_for(LARGE, link, SHARE):,}",
            ))  # fmt: skip
    head = ("network, batch", "link", "shortest step with", "by direct messages", "half of n up to",
            "rows of a process", "rows of a batch", "local_steps")  # fmt: skip
    return markdown(head, lines)
