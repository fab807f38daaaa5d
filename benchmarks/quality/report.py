"""Write the results into docs/tables.md: ``python -m benchmarks.quality.report [results.json]``.

Only what lies between the markers ``<!-- begin: quality -->`` and ``<!-- end: quality -->`` is replaced.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[2] / "docs" / "tables.md"

Scores = dict[tuple[str, str], list[float]]


def main() -> None:
    """Replace the tables in the page by those of a file of results, the newest if none is named."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else max(RESULTS.glob("*-tables.json"))
    results = json.loads(path.read_text())
    text = "\n\n".join(_paragraphs(results))
    page = PAGE.read_text()
    pattern = r"(<!-- begin: quality -->\n).*?(\n<!-- end: quality -->)"
    new, count = re.subn(pattern, lambda m: f"{m[1]}\n{text}\n{m[2]}", page, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{PAGE} has no place for the tables")
    PAGE.write_text(new)


def _paragraphs(results: dict[str, Any]) -> list[str]:
    """Return the tables as Markdown, each with what it shows."""
    rows = [row for row in results["rows"] if "failed" not in row]
    failed = sorted(
        {f"{r['contestant']} on {r['table']}" for r in results["rows"] if "failed" in r}
    )
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    parts = []
    for task, title in (("classification", "Classes"), ("regression", "Numbers")):
        own = [row for row in rows if row["task"] == task]
        if own:
            parts.append(f"**{title}**, {_MEANING[task]}:")
            parts.append(
                _table(own, names, "error", scale=100.0 if task == "classification" else 1)
            )
            if task == "classification":
                parts.append("The same, log loss:")
                parts.append(_table(own, names, "log_loss"))
    parts.append(
        "Over all tables: the mean rank by error (1 is best; equal errors share ranks), the mean of the "
        "normalized score (1 for the least error on a table, 0 for the median of all contestants or "
        "worse), and the seconds of a split, fit and prediction, median over tables:"
    )
    parts.append(_overall(rows, names))
    if failed:
        parts.append(f"Failed: {', '.join(failed)}.")
    machine = results["machine"]
    splits = len({row["split"] for row in rows})
    versions = ", ".join(f"{k} {v}" for k, v in machine.get("versions", {}).items())
    parts.append(
        f"{splits} splits of each table, the same for all, a quarter of the rows for testing; measured "
        f"{results['date']} on {machine.get('cpu', 'an unknown processor')}, {machine.get('cores')} "
        f"cores. {versions}"
    )
    return parts


_MEANING = {
    "classification": "percent of held-out rows with a wrong answer, mean and deviation over splits",
    "regression": "root mean square error divided by the standard deviation of the held-out rows",
}


def _scores(rows: Iterable[dict[str, Any]], key: str) -> Scores:
    """Return the values of each table and contestant, one for each split."""
    found: Scores = {}
    for row in rows:
        found.setdefault((row["table"], row["contestant"]), []).append(row[key])
    return found


def _table(rows: list[dict[str, Any]], names: list[str], key: str, scale: float = 1.0) -> str:
    """Return a line for each table, a column for each contestant; the best mean is bold."""
    scores = _scores(rows, key)
    sizes = {row["table"]: row["rows"] for row in rows}
    lines = [f"| table (rows) | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for table, size in sizes.items():
        means = {
            name: statistics.fmean(scores[table, name]) for name in names if (table, name) in scores
        }
        cells = []
        for name in names:
            if name not in means:
                cells.append("-")
                continue
            values = [value * scale for value in scores[table, name]]
            digits = 1 if scale > 1 else 3
            cell = f"{statistics.fmean(values):.{digits}f} ± {statistics.pstdev(values):.{digits}f}"
            cells.append(f"**{cell}**" if means[name] == min(means.values()) else cell)
        lines.append(f"| {table} ({size:,}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _overall(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Return ranks, normalized scores and seconds of each contestant, over the tables that all did."""
    errors = {key: statistics.fmean(values) for key, values in _scores(rows, "error").items()}
    seconds = {key: statistics.fmean(values) for key, values in _scores(rows, "seconds").items()}
    sizes = {row["table"]: row["rows"] for row in rows}
    tables = [table for table in sizes if all((table, name) in errors for name in names)]
    large = [table for table in tables if sizes[table] > 1000]
    lines = [
        f"| | mean rank ({len(tables)} tables) | over 1,000 rows ({len(large)}) | normalized score | "
        "seconds |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in names:
        rank = statistics.fmean(_rank(errors, table, name, names) for table in tables)
        rank_large = (
            f"{statistics.fmean(_rank(errors, table, name, names) for table in large):.2f}"
            if large
            else "-"
        )
        score = statistics.fmean(_normalized(errors, table, name, names) for table in tables)
        time = statistics.median(seconds[table, name] for table in tables)
        lines.append(f"| {name} | {rank:.2f} | {rank_large} | {score:.2f} | {time:.1f} |")
    return "\n".join(lines)


def _rank(errors: dict[tuple[str, str], float], table: str, name: str, names: list[str]) -> float:
    """Return the place of a contestant on a table; equal ones share the mean of their places."""
    own = errors[table, name]
    better = sum(errors[table, other] < own for other in names)
    equal = sum(errors[table, other] == own for other in names)
    return better + (equal + 1) / 2


def _normalized(
    errors: dict[tuple[str, str], float], table: str, name: str, names: list[str]
) -> float:
    """Return 1 for the least error on a table, and 0 for the median or worse."""
    values = [errors[table, other] for other in names]
    best, middle = min(values), statistics.median(values)
    if middle == best:
        return 1.0 if errors[table, name] == best else 0.0
    return max(0.0, (middle - errors[table, name]) / (middle - best))


if __name__ == "__main__":
    main()
