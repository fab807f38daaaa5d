"""The report of ``--report`` for people."""

from __future__ import annotations

from typing import Any

from nnbackend.analysis.metric_report import AVERAGED_METRICS, build_report
from nnbackend.cli.printing import in_figures, plain_table, print_table, say

__all__ = ["MAX_CLASSES_SHOWN", "build_report", "print_report"]

MAX_CLASSES_SHOWN = 20  # whose confusion matrix fits a terminal


def print_report(report: dict[str, Any], rows: str) -> None:
    """Print a report for people; ``rows`` says in words what the rows are."""
    say()
    say(f"Report on {report['rows']} {rows}")
    lines = [
        (name, "not defined here" if value is None else in_figures(value))
        for name, value in report["metrics"].items()
    ]
    print_table(plain_table(None, lines))
    if "classes" not in report:
        return
    say()
    classes = report["classes"]
    shares = [[f"{line[name]:.4f}" for name in AVERAGED_METRICS] for line in classes]
    names = [line["class"] for line in classes]
    lines = [(n, *s, line["rows"]) for n, s, line in zip(names, shares, classes, strict=True)]
    print_table(plain_table(("class", *AVERAGED_METRICS, "rows"), lines))
    say()
    if len(classes) > MAX_CLASSES_SHOWN:
        say(f"The confusion matrix of {len(classes)} classes is too wide: see it with --json")
        return
    lines = [(n, *counts) for n, counts in zip(names, report["confusion_matrix"], strict=True)]
    print_table(plain_table(("true \\ predicted", *names), lines))
