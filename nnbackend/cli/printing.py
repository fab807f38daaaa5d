"""What the commands print: lines and tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

__all__ = [
    "in_figures",
    "plain_table",
    "print_facts",
    "print_json",
    "print_metrics",
    "print_table",
    "printable",
    "say",
]

_out = Console(markup=False, emoji=False, highlight=False)
_err = Console(markup=False, emoji=False, highlight=False, stderr=True)
_wide = Console(markup=False, emoji=False, highlight=False, width=1000)


def printable(value: object) -> str:
    """Return a text with its control characters escaped: they could control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def say(message: str = "", error: bool = False) -> None:
    """Print one line for people, of any length."""
    (_err if error else _out).print(printable(message), soft_wrap=True)


def print_facts(facts: dict[str, Any]) -> None:
    """Print names and values side by side."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(printable(name), printable(value))
    _out.print(grid)


def in_figures(value: float, metric: str = "") -> str:
    """Return the value of a metric in four figures; of a large one all that are before the point."""
    if metric == "accuracy":
        return f"{value:.1%}"
    if metric == "r2":
        return f"{value:.4f}"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def print_metrics(
    rows: dict[str, dict[str, float] | None], remarks: dict[str, str], scaled: bool
) -> None:
    """Print a table with a row for each set of values and a column for each metric.

    ``scaled``: whether the target was scaled for the network, and so its loss.
    """
    filled = {name: values for name, values in rows.items() if values}
    lines = [
        (name, *(in_figures(value, metric) for metric, value in values.items()),
         remarks.get(name, ""))
        for name, values in filled.items()
    ]  # fmt: skip
    headers = {"loss": "scaled loss"} if scaled else {}
    names = [headers.get(name, name) for name in next(iter(filled.values()), ())]
    table = plain_table(("", *names, ""), lines)
    table.columns[-1].justify = "left"
    _out.print(table)


def plain_table(
    header: Sequence[str] | None, lines: Iterable[Iterable[object]], justify: Any = "right"
) -> Table:
    """Return a table without rules: a column of texts, and others, justified, under a header."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header is not None)
    for i, name in enumerate(header or ()):
        table.add_column(printable(name), justify=justify if i else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(printable, line))
    return table


def print_table(table: Table) -> None:
    """Print a table for people: as wide as the terminal, and elsewhere as wide as it is."""
    (_out if _out.is_terminal else _wide).print(table)


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False))
