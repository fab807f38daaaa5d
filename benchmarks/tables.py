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


def listing(table: dict[str, Any]) -> str:
    """Return a table with a line for each contestant, and its ratio to the first of nnbackend's."""
    rows = table["rows"]
    base = next((r["median"] for r in rows if r["name"].startswith("nnbackend")), None)
    named = {"value": "loss", "validation_accuracy": "accuracy", "building": "while building"}
    if "predict" in table["key"]:
        named["value"] = "mean output"
    extra = [key for key in named if any(row.get(key) is not None for row in rows)]
    lines = []
    for row in rows:
        size = table["unit"] == "B"
        own = [f"{row['median'] / 1e6:.1f} MB" if size else spread(row)]
        own.append("" if base is None else f"{row['median'] / base:.2f}")
        for key in extra:
            number = row.get(key)
            if number is None:
                own.append("")
            else:
                own.append(f"{number / 1e6:.1f} MB" if key == "building" else f"{number:.5g}")
        lines.append((row["name"], *own))
    heads = [named[key] for key in extra]
    return markdown(("", "median (quartiles)", "to nnbackend", *heads), lines)


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


def ratio(
    table: dict[str, Any] | None, ours: str, peers: Iterable[str]
) -> tuple[float | None, str]:
    """Return the ratio of medians to the fastest of some peers, and its name.

    Who computed something else is none of them.
    """
    rows = {
        row["name"]: row["median"]
        for row in (table or {}).get("rows", [])
        if not row.get("differs")
    }
    present = [peer for peer in peers if peer in rows]
    if ours not in rows or not present:
        return None, ""
    fastest = min(present, key=rows.__getitem__)
    return rows[ours] / rows[fastest], fastest


def described(results: dict[str, Any]) -> str:
    """Return the machine, the versions and what was left out, as a list."""
    machine = results["machine"]
    pools = "; ".join(
        f"{p.get('internal_api', p.get('user_api'))} {p.get('version', '')} "
        f"({p['num_threads']} threads)"
        for p in machine["pools"]
    )
    lines = [
        f"- {results['date']}: {machine['cpu']}, {machine['cores']} cores"
        + (f", {machine['device']}" if machine["device"] else ""),
        f"- {machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        f"- thread pools: {pools or 'not known'}",
    ]
    for what in ("card", "cuda"):
        if machine.get(what):
            facts = ", ".join(f"{name} {fact}" for name, fact in machine[what].items())
            lines.append(f"- {'CUDA' if what == 'cuda' else what}: {facts}")
    lines += [f"- left out: {name} ({reason})" for name, reason in results["left_out"].items()]
    if (machine.get("load") or 0) > 0.5:
        lines.append(f"- **the machine was busy (load {machine['load']}): rough figures**")
    if results["quick"]:
        lines.append("- **a quick run: these figures are rough**")
    return "\n".join(lines)
