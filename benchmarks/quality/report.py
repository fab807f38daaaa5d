"""Write the results into docs/tables.md: ``python -m benchmarks.quality.report [results.json]``.

Only what lies between the markers ``<!-- begin: quality -->`` and ``<!-- end: quality -->`` is replaced.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nnbackend.errors import few

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[2] / "docs" / "tables.md"

Row = dict[str, Any]
Scores = dict[tuple[str, str], dict[int, float]]
"""Of each table and contestant the value of each split."""

_OURS, _PEERS = "nnbackend", ("scikit-learn's MLP", "pytabkit's RealMLP-TD")
_PLAIN = "nnbackend, plain network"
_MANY_ROWS = 1_000
_MEANING = {
    "classification": "percent of held-out rows with a wrong answer, mean and deviation over splits",
    "regression": "root mean square error divided by the standard deviation of the held-out rows",
}


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
            scale = 100.0 if task == "classification" else 1.0
            parts += [f"**{title}**, {_MEANING[task]}:", _table(own, names, "error", scale)]
        if own and task == "classification":
            parts += ["The same, log loss:", _table(own, names, "log_loss")]
    parts += [*_summaries(rows, names), *_verdicts(rows)]
    if failed:
        parts.append(f"Failed: {', '.join(failed)}.")
    versions = ", ".join(f"{k} {v}" for k, v in results["machine"]["versions"].items())
    places = ", ".join(dict.fromkeys(row["cpu"] for row in rows))
    parts.append(
        "The splits of a table are the same for all, a quarter of the rows for testing; measured until "
        f"{results['date']} on {places}, all contestants of a split on the same. {versions}"
    )
    return parts


def _scores(rows: Iterable[Row], key: str) -> Scores:
    """Return the values of each table and contestant, by split."""
    found: Scores = {}
    for row in rows:
        if key in row:
            own = found.setdefault((row["table"], row["contestant"]), {})
            own[row["split"]] = row[key]
    return found


def _sizes(rows: Iterable[Row]) -> dict[str, int]:
    """Return the number of training rows of each table, in rising order."""
    return dict(sorted({row["table"]: row["rows"] for row in rows}.items(), key=lambda one: one[1]))


def _table(rows: list[Row], names: list[str], key: str, scale: float = 1.0) -> str:
    """Return a line for each table, a column for each contestant; the best mean is bold."""
    scores = _scores(rows, key)
    lines = [f"| table (rows; splits) | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for table, size in _sizes(rows).items():
        known = {name: [*scores.get((table, name), {}).values()] for name in names}
        most = max(map(len, known.values()))
        best = min(statistics.fmean(v) for v in known.values() if len(v) == most)
        cells = [_cell(known[name], scale, most, best) for name in names]
        lines.append(f"| {table} ({size:,}; {most}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float], scale: float, most: int, best: float) -> str:
    """Return a mean and its deviation as text, with the number of splits where there are fewer."""
    if not values:
        return "-"
    digits, mean = 1 if scale > 1 else 3, statistics.fmean(values)
    text = f"{scale * mean:.{digits}f} ± {scale * statistics.pstdev(values):.{digits}f}"
    if len(values) < most:
        return f"{text} ({len(values)})"
    return f"**{text}**" if mean == best else text


def _summaries(rows: list[Row], names: list[str]) -> list[str]:
    """Return what comes out over all tables, and over those that all contestants predicted."""
    sizes, errors = _sizes(rows), _scores(rows, "error")
    everywhere = [name for name in names if all((table, name) in errors for table in sizes)]
    intro = (
        "the mean rank by error (1 is best; equal errors share ranks); the mean of the normalized score "
        "(1 for the least error on a table, 0 for the median or worse); in both, each of this library's "
        f"estimators is compared with the others alone, and these with `{_OURS}` of them; the means "
        "over tables of the error and the log loss of classes and of the error of numbers; and the "
        "processor's seconds for a split, fit and prediction, median and sum over tables. Splits that "
        "not all of these contestants have are left out."
    )
    found = [f"Over all {len(sizes)} tables: {intro}", _summary(rows, everywhere, list(sizes))]
    # A contestant of a few tables shows in their lines only.
    often = [n for n in names if 2 * sum((table, n) in errors for table in sizes) >= len(sizes)]
    some = [table for table in sizes if all((table, name) in errors for name in often)]
    if len(everywhere) < len(often) and some:
        found.append(f"The same over {few(some, 10)}, which all of these predicted:")
        found.append(_summary(rows, often, some))
    return found


def _summary(rows: list[Row], names: list[str], tables: list[str]) -> str:
    """Return a line for each contestant with what comes out over tables."""
    rows = [row for row in rows if row["contestant"] in names and row["table"] in tables]
    tasks = {row["table"]: row["task"] for row in rows}
    sizes = _sizes(rows)
    errors, losses, times = (
        _means(_scores(rows, key), names) for key in ("error", "log_loss", "cpu_seconds")
    )
    large = [table for table in tables if sizes[table] > _MANY_ROWS]
    classes = [table for table in tables if tasks[table] == "classification"]
    numbers = [table for table in tables if tasks[table] == "regression"]

    def mean(name: str, own: list[str], value: Callable[[str, str], float], form: str) -> str:
        return format(statistics.fmean(value(t, name) for t in own), form) if own else "-"

    lines = [
        f"| | mean rank ({len(tables)}) | over 1,000 rows ({len(large)}) | normalized score | "
        f"classes: error, % ({len(classes)}) | log loss | numbers: error ({len(numbers)}) | "
        "seconds, median | sum |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in names:
        seconds = [times[table, name] for table in tables if (table, name) in times]
        cells = [
            mean(name, tables, lambda t, n: _rank(errors, t, n, _rivals(n, names)), ".2f"),
            mean(name, large, lambda t, n: _rank(errors, t, n, _rivals(n, names)), ".2f"),
            mean(name, tables, lambda t, n: _normalized(errors, t, n, _rivals(n, names)), ".2f"),
            mean(name, classes, lambda t, n: 100 * errors[t, n], ".2f"),
            mean(name, classes, lambda t, n: losses[t, n], ".4f"),
            mean(name, numbers, lambda t, n: errors[t, n], ".4f"),
            f"{statistics.median(seconds):.1f}",
            f"{sum(seconds):.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rivals(name: str, names: list[str]) -> list[str]:
    """Return whom a contestant is compared with, itself among them: of our estimators but one."""
    ours = [one for one in names if one.startswith(_OURS) and one != _PLAIN]
    kept = name if name in ours else _OURS
    return [one for one in names if one not in ours or one == kept]


def _means(scores: Scores, names: list[str]) -> dict[tuple[str, str], float]:
    """Return the mean of each table and contestant, over the splits that all of them have."""
    found = {}
    for table in dict.fromkeys(table for table, _ in scores):
        own = {name: scores[table, name] for name in names if (table, name) in scores}
        shared = set.intersection(*(set(values) for values in own.values()))
        for name, values in own.items():
            if shared:
                found[table, name] = statistics.fmean(values[one] for one in shared)
    return found


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


def _verdicts(rows: list[Row]) -> list[str]:
    """Return on which tables our default is better or worse than a peer, beyond chance over splits."""
    from scipy import stats

    errors = _scores(rows, "error")
    found = []
    for peer in _PEERS:
        better, worse, count = [], [], 0
        for table in _sizes(rows):
            ours, theirs = errors.get((table, _OURS), {}), errors.get((table, peer), {})
            gaps = [ours[one] - theirs[one] for one in ours.keys() & theirs.keys()]
            if len(gaps) < 2:
                continue
            count += 1
            mean, error = statistics.fmean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
            if abs(mean) > error * stats.t.ppf(0.975, len(gaps) - 1):
                (worse if mean > 0 else better).append(table)
        if count:
            found.append(
                f"Beside {peer}, the error of `{_OURS}` differs by more than chance (Student's interval "
                "of 95 % of the mean difference over splits leaves out 0) on "
                f"{len(better) + len(worse)} of {count} tables: smaller on "
                f"{', '.join(better) or 'none'}; larger on {', '.join(worse) or 'none'}."
            )
    return found


if __name__ == "__main__":
    main()
