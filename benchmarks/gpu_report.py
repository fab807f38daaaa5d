"""The part of docs/performance.md that is about a GPU, from the results of a run on one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu import PRECISIONS
from benchmarks.tables import (
    described,
    first_run,
    human,
    listing,
    markdown,
    matrix,
    ratio,
    spread,
    value,
)

OURS, FLOOR = "nnbackend cupy", "matrix products, cupy"
EAGER = ("PyTorch", "PyTorch, fused Adam")
COMPILED = ("torch.compile, max-autotune", "torch.compile, CUDA graph", "PyTorch, CUDA graph")
PER_STEP, MANY = "JAX, one jit per step", "JAX, one jit over many steps"
EVERY = (*EAGER, *COMPILED, PER_STEP, MANY)
DEEP = "8 layers of 4096"

# table, against the fastest of, at most
TARGETS: list[tuple[str, tuple[str, ...], float]] = [
    ("gpu-steps/64-64-10", EAGER, 0.35),
    ("gpu-steps/64-64-10", (*COMPILED, PER_STEP), 1.10),
    ("gpu-steps/784-256-10", EAGER, 0.35),
    ("gpu-steps/784-256-10", (*COMPILED, PER_STEP), 1.10),
    ("gpu-steps/784-2048-2048-10", EAGER, 0.80),
    ("gpu-steps/784-2048-2048-10", EVERY, 1.10),
    (f"gpu-tf32/{DEEP}", EVERY, 1.10),
    (f"gpu-tf32/{DEEP}", (FLOOR,), 1.25),
    (f"gpu-bfloat16/{DEEP}", EVERY, 1.10),
    (f"gpu-bfloat16/{DEEP}", (FLOOR,), 1.25),
    ("gpu-fit/images", ("PyTorch, DataLoader",), 0.20),
    ("gpu-fit/images", ("PyTorch, data on the GPU",), 0.80),
    ("gpu-predict/one/64-64-10", ("PyTorch",), 1.00),
    ("gpu-predict/one/784-256-10", ("PyTorch",), 1.00),
]

HOW = """
All contestants compute on the card, in turns, in one process. A run is of many steps, and ends with
waiting for the card. What is made once, as programs and graphs, is made before the runs that are
timed: so nnbackend trains with `partial_fit`, which goes on with the program that it has, while
each `fit` makes its own.
"""
STEPS = """
A training step in float32, products too, over fresh batches; the number after the network is that
of the rows in a batch. "nnbackend cupy" is what one gets without asking: CuPy call by call. "graph"
is the recorded step as a CUDA graph.
PyTorch's graph is of the whole step, Adam with it; for "torch.compile, CUDA graph" the passes are
compiled beforehand.
"""
LARGE = """
Eight layers of 4096 units and ten outputs, 8192 rows. In bfloat16 the passes are in bfloat16
(PyTorch's autocast), weights and Adam in float32. The last line is the bare products in the same
precision.
"""
LOSSES = "The mean loss of all steps, which should agree:"
FIRST = """
What comes before the timed runs, beyond what as many steps take later, where that is 0.2 s or more:
compilation, choosing kernels, recording.
"""
FIT = """
From NumPy arrays to a trained network. One PyTorch loop takes batches from a `DataLoader` and reads
the loss in each step, as people write it; the other has all data on the card, takes batches by
index there, and reads losses once, at the end.
"""
PREDICT = """
Of rows that are on the card already, softmax probabilities that stay there; each call is waited
for.
"""
CROSSOVER = """
The time of a training step on NumPy and on the GPU, in float32; batches in the columns, the shorter
time in bold. Networks are left out where a step takes NumPy a second or more.
"""
MEMORY = """
Each contestant trains in a process of its own. Counted is what must be there: parameters,
gradients, Adam's two averages and the outputs of all layers. The others are the libraries' own
figures, without the rows: what CuPy has taken from the card, and of PyTorch and JAX what their
arrays had at most.
"""


def block(results: dict[str, Any]) -> str:
    """Return the text: machine, targets, and a part for each section there are results for."""
    sections = {name: section["tables"] for name, section in results["sections"].items()}
    by_key = {table["key"]: table for tables in sections.values() for table in tables}
    return _joined(described(results), HOW, targets(by_key), *_parts(sections))


def _joined(*parts: str) -> str:
    return "\n\n".join(part.strip() for part in parts if part)


def _parts(sections: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Return the parts with their headings."""
    large = [table for precision in PRECISIONS for table in sections.get(f"gpu-{precision}", [])]
    for head, text, tables in (
        ("A training step", STEPS, sections.get("gpu-steps", [])),
        ("Large networks", LARGE, large),
    ):
        if tables:
            shown = [text, matrix(tables, spread), *_warnings(tables)]
            shown += [LOSSES, matrix(tables, _compared)]
            if any(first_run(row) for table in tables for row in table["rows"]):
                shown += [FIRST, matrix(tables, first_run)]
            yield _joined(f"### {head} on the GPU", *shown)
    for name, head, text in (
        ("gpu-fit", "A whole fit", FIT),
        ("gpu-predict", "Predictions", PREDICT),
        ("gpu-memory", "Memory", MEMORY),
    ):
        if tables := sections.get(name, []):
            listings = [f"{table['title']}:\n\n{listing(table)}" for table in tables]
            yield _joined(f"### {head} on the GPU", text, *listings)
    if tables := sections.get("crossover", []):
        yield _joined("### When a GPU pays", CROSSOVER, crossover(tables))


def _warnings(tables: list[dict[str, Any]]) -> Iterator[str]:
    """Return what was said while contestants ran, as that a step is no program after all."""
    for table in tables:
        for row in table["rows"]:
            if row.get("warned"):
                yield f"**{row['name']}**, {table['title']}, warned: {row['warned']}"


def _compared(row: dict[str, Any]) -> str:
    """Return the loss, and whether it is another one than the others'."""
    return f"{value(row)} **differs**" if row.get("differs") else value(row)


def targets(tables: dict[str, dict[str, Any]]) -> str:
    """Return what was aimed at beside what was measured."""
    lines = []
    for key, peers, at_most in TARGETS:
        if key not in tables:
            continue
        found, against = ratio(tables[key], OURS, peers)
        work = tables[key]["title"].partition(":")[0]
        if found is None:
            lines.append((work, " / ".join(peers), "none", f"{at_most:.2f}", "**not measured**"))
        else:
            holds = "yes" if found <= at_most else "**no**"
            lines.append((work, against, f"{found:.2f}", f"{at_most:.2f}", holds))
    return markdown(("work", "against", "ratio", "at most", "holds"), lines) if lines else ""


def crossover(tables: list[dict[str, Any]]) -> str:
    """Return times on NumPy and on the GPU by size of network and batch."""
    batches = sorted({table["batch"] for table in tables})
    networks = sorted({(table["depth"], table["width"]) for table in tables})
    cells = {(t["depth"], t["width"], t["batch"]): _cell(t["rows"]) for t in tables}
    lines = [
        (f"{depth} layers of {width}", *(cells.get((depth, width, b), "") for b in batches))
        for depth, width in networks
    ]
    return markdown(("NumPy / GPU", *map(str, batches)), lines)


def _cell(rows: list[dict[str, Any]]) -> str:
    """Return both times, the shorter one in bold."""
    times = {row["name"] == "nnbackend numpy": row["median"] for row in rows[:2]}
    fastest = min(times.values(), default=0.0)
    shown = [
        "" if (t := times.get(on_cpu)) is None else f"**{human(t)}**" if t == fastest else human(t)
        for on_cpu in (True, False)
    ]
    return " / ".join(shown)
