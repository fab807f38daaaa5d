"""Write the results into docs/performance.md: ``python -m benchmarks.report [results.json]``.

Only what lies between the markers ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import gpu_report
from benchmarks.tables import (
    described,
    first_run,
    listing,
    markdown,
    matrix,
    middle,
    ratio,
    spread,
    value,
)
from benchmarks.work import NETWORKS, name_of

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = Path(__file__).parent / "results"

NUMPY, JAX = "nnbackend numpy", "nnbackend jax"
SKLEARN, FUSED = "scikit-learn", "PyTorch, fused Adam"
EAGER = (SKLEARN, "PyTorch", FUSED, "thinc")
LOOPS = ("PyTorch, batches by index", "PyTorch, DataLoader")
MANY = "JAX, one jit over many steps"
SCRIPT = "its NumPy script"
FIRST, LAST = "PyTorch, channels first", "PyTorch, channels last"
FLOOR = "matrix products, numpy"
BY_HAND = ("NumPy by hand", "its NumPy script, loss each time")

# table, contestant, against the fastest of, at most
TARGETS: list[tuple[str, str, tuple[str, ...], float]] = [
    ("steps/2-3-3", NUMPY, (FUSED,), 0.15),
    ("steps/2-3-3", NUMPY, (SKLEARN,), 0.40),
    ("steps/64-64-10", NUMPY, (FUSED,), 0.22),
    ("steps/64-64-10", NUMPY, (SKLEARN,), 0.45),
    ("steps/784-256-10", NUMPY, EAGER, 0.90),
    ("steps/784-512-512-10", NUMPY, EAGER, 1.00),
    ("steps/784-2048-2048-10", NUMPY, EAGER, 1.00),
    ("steps/784-2048-2048-10", NUMPY, (FLOOR,), 1.20),
    ("tutorial", NUMPY, (SCRIPT,), 2.0),
    ("tutorial", JAX, (SCRIPT,), 0.10),
    ("fit/digits", NUMPY, (SKLEARN,), 0.40),
    ("fit/digits", NUMPY, LOOPS, 0.80),
    ("fit/images", NUMPY, (SKLEARN,), 0.40),
    ("fit/images", NUMPY, LOOPS, 0.80),
    ("predict/one/64-64-10", NUMPY, (SKLEARN,), 0.10),
    ("predict/one/64-64-10", NUMPY, ("PyTorch",), 0.60),
    ("predict/one/784-256-10", NUMPY, (SKLEARN,), 0.10),
    ("predict/one/784-256-10", NUMPY, ("PyTorch",), 0.60),
    *((f"steps/{name_of(sizes)}", JAX, (MANY,), 1.10) for sizes, _ in NETWORKS),
    *(
        (f"estimators/{work}", "nnbackend", (SKLEARN,), at_most)
        for work, at_most in (
            ("fit/digits", 0.40),
            ("fit/20000x100", 0.40),
            ("fit/60000x784", 0.40),
            ("predict/many", 0.60),
            ("predict/one", 0.30),
            ("predict_proba/one", 0.30),
        )
    ),
    ("import", "nnbackend", ("PyTorch",), 0.20),
    ("memory", NUMPY, ("counted",), 1.50),
    ("convolution/lenet", NUMPY, (FIRST,), 1.40),
    ("convolution/resnet", NUMPY, (FIRST,), 1.50),
    ("convolution/resnet", NUMPY, (FIRST, LAST), 2.20),
    ("convolution/separable", NUMPY, (FIRST,), 2.00),
    *(
        (f"convolution/{name}", ours, by_hand, 1.10)
        for ours, by_hand in (
            ("nnbackend torch", (FIRST, LAST)),
            (JAX, ("JAX, one jit per step",)),
        )
        for name in ("lenet", "resnet", "separable")
    ),
    ("convolution/norm-32x32x32x16", NUMPY, ("reading and writing, numpy",), 2.50),
    ("convolution/norm-32x16x16x64", NUMPY, ("reading and writing, numpy",), 2.50),
    *(
        (f"convolution-memory/{name}", NUMPY, (FIRST, LAST), 1.50)
        for name in ("lenet", "resnet", "separable")
    ),
]


class Report:
    """The blocks of the page, one for each section of the results."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results
        self.sections = {name: section["tables"] for name, section in results["sections"].items()}
        self.tables = {t["key"]: t for tables in self.sections.values() for t in tables}

    def blocks(self) -> Iterator[tuple[str, str]]:
        """Return name and text of each block that there are results for."""
        yield "machine", described(self.results)
        yield "targets", self._targets()
        for name, tables in self.sections.items():
            if name == "steps":
                yield "steps", matrix(tables, spread)
                yield "losses", matrix(tables, value)
                yield "first-runs", matrix(tables, first_run)
            elif name == "profile":
                yield "profile", matrix(tables, middle)
            elif name == "growth":
                axes = dict.fromkeys(t["axis"] for t in tables)
                by_axis = [[t for t in tables if t["axis"] == axis] for axis in axes]
                parts = [
                    f"Against {axis}:\n\n{matrix(of_axis, middle)}"
                    for axis, of_axis in zip(axes, by_axis, strict=True)
                ]
                yield "growth", "\n\n".join(parts)
            elif name == "streams":
                yield "streams", streamed(tables)
            else:
                yield name, "\n\n".join(f"{t['title']}:\n\n{listing(t)}" for t in tables)
        for name in ("estimators", "streams", "convolution"):
            if name not in self.sections:
                yield name, f"Not measured yet: `python -m benchmarks --only {name}` does it."

    def _targets(self) -> str:
        lines = []
        for key, ours, peers, at_most in TARGETS:
            ratio, against = self.ratio(key, ours, peers)
            if ratio is None:
                continue
            work = self.tables[key]["title"].partition(":")[0]
            holds = "yes" if ratio <= at_most else "**no**"
            by_hand = next((r for h in BY_HAND if (r := self.ratio(key, h, (against,))[0])), None)
            floor = f"{by_hand:.2f}" if by_hand and ours in (NUMPY, "nnbackend") else ""
            lines.append((work, ours, against, f"{ratio:.2f}", f"{at_most:.2f}", holds, floor))
        head = ("work", "", "against", "ratio", "at most", "holds", "NumPy by hand")
        return markdown(head, lines)

    def ratio(self, key: str, ours: str, peers: Iterable[str]) -> tuple[float | None, str]:
        """Return the ratio of medians to the fastest of some peers, and its name."""
        return ratio(self.tables.get(key), ours, peers)


def streamed(tables: list[dict[str, Any]]) -> str:
    """Return a table for each number of rows: time, share of it spent waiting, and memory."""
    by_key = {table["key"]: table for table in tables}
    texts = []
    for key, times in by_key.items():
        if not key.endswith("/time"):
            continue
        peaks = {row["name"]: row["median"] for row in by_key[f"{key[:-5]}/memory"]["rows"]}
        lines = [
            (
                row["name"],
                spread(row),
                f"{row['waiting']:.0%}",
                f"{peaks[row['name']] / 1e6:.0f} MB",
            )
            for row in times["rows"]
        ]
        head = ("", "a step (quartiles)", "waiting for data", "peak of memory")
        texts.append(f"{times['title']}:\n\n{markdown(head, lines)}")
    return "\n\n".join(texts)


def write(path: Path, page: Path) -> None:
    """Replace the blocks of the page that a result is for, and draw the figure of those on a CPU."""
    results = json.loads(path.read_text())
    if on_gpu(results):
        replace(page, [("gpu", gpu_report.block(results))])
        return
    report = Report(results)
    replace(page, report.blocks())
    try:
        from benchmarks.figure import draw
    except ImportError as error:
        print(f"no figure: {error.name} is not installed")
        return
    figure = page.with_suffix(".png")
    draw(report.sections, figure)
    print(f"written: {figure}")


def replace(page: Path, blocks: Iterable[tuple[str, str]]) -> None:
    """Replace what is between the markers of blocks."""
    text = page.read_text()
    for name, block in blocks:
        pattern = rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
        body = f"\n{block}\n\n"
        text, count = re.subn(
            pattern, lambda m, body=body: m[1] + body + m[2], text, flags=re.DOTALL
        )
        if count == 0:
            print(f"{page.name} has no block {name}")
    page.write_text(text)
    print(f"written: {page}")


def on_gpu(results: dict[str, Any]) -> bool:
    """Return whether results are of a GPU."""
    return bool(results["machine"]["device"])


def newest(folder: Path) -> list[Path]:
    """Return the newest results on a CPU and the newest on a GPU, of those there are.

    Results of other programs, which have no sections, are not for this page.
    """
    results = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found = {on_gpu(result): path for path, result in results.items() if "sections" in result}
    return [found[kind] for kind in sorted(found)]


def main() -> None:
    """Report on the file that is named, or on the newest of a CPU and of a GPU."""
    page = Path(sys.argv[2]) if len(sys.argv) > 2 else DOCS / "performance.md"
    paths = [Path(sys.argv[1])] if len(sys.argv) > 1 else newest(RESULTS)
    if not paths:
        sys.exit("there are no results yet: run python -m benchmarks")
    for path in paths:
        write(path, page)


if __name__ == "__main__":
    main()
