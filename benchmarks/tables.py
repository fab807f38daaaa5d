"""Tables in Markdown, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def matrix(tables: list[dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> str:
    """Return a table with a line for each contestant and a column for each piece of work."""
    names = dict.fromkeys(row["name"] for t in tables for row in t["rows"])
    lines = []
    for name in names:
        found = [next((r for r in t["rows"] if r["name"] == name), None) for t in tables]
        cells = ["" if row is None else cell(row) for row in found]
        if any(cells):
            lines.append((name, *cells))
    heads = [
        str(t["at"]) if "at" in t else f"{t['key'].partition('/')[2]}, {t['batch']}" for t in tables
    ]
    return markdown(("", *heads), lines)


def markdown(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    rule = "|".join(["---", *["---:"] * (len(head) - 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, *lines]).replace(
        "\n", f"\n|{rule}|\n", 1
    )


def human(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{digits(seconds * factor)} {unit}"
    return f"{digits(seconds * 1e6)} µs"


def digits(number: float) -> str:
    """Return a number with three digits, or all before the point."""
    return f"{number:.{max(0, 2 - len(str(int(number))) + 1)}f}"


def spread(row: dict[str, Any]) -> str:
    """Return the median and the quartiles, in one unit."""
    text = human(row["median"])
    factor = {"s": 1.0, "ms": 1e3, "µs": 1e6}[text.rpartition(" ")[2]]
    low, high = (digits(q * factor) for q in row["quartiles"])
    return f"{text} ({low} to {high})"


def middle(row: dict[str, Any]) -> str:
    """Return the median."""
    return human(row["median"])


def value(row: dict[str, Any]) -> str:
    """Return the loss."""
    return "" if row["value"] is None else f"{row['value']:.4f}"


def first_run(row: dict[str, Any]) -> str:
    """Return what the first run took beyond the others, where that is long."""
    return f"{row['first_run']:.1f} s" if row["first_run"] >= 0.2 else ""
