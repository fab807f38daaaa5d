"""The figure of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Okabe and Ito's colors, which most people with any kind of sight can tell apart.
_STYLES = {
    "nnbackend numpy": ("#D55E00", "o"),
    "nnbackend jax": ("#CC79A7", "s"),
    "nnbackend torch": ("#E69F00", "v"),
    "nnbackend cupy": ("#009E73", "p"),
    "scikit-learn": ("#56B4E9", "^"),
    "PyTorch, fused Adam": ("#0072B2", "D"),
    "torch.compile, fused Adam": ("#009E73", "P"),
    "JAX, one jit over many steps": ("#7A5AA6", "X"),
    "thinc": ("#8A8A8A", "<"),
    "matrix products, numpy": ("#000000", "|"),
    "matrix products, cupy": ("#000000", "|"),
}
_GROWTH = {"width": "units in each layer", "depth": "layers", "batch": "rows in a batch"}


def draw(sections: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the time of a training step: five networks, and growth with width, depth and batch."""
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
        _networks(axes[0, 0], sections.get("steps", []))
        for axis, (name, label) in zip(axes.flat[1:], _GROWTH.items(), strict=True):
            tables = [t for t in sections.get("growth", []) if t["axis"] == name]
            _lines(axis, tables, label)
        handles: dict[str, Any] = {}
        for axis in axes.flat:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False
        )
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _networks(axis: Any, tables: list[dict[str, Any]]) -> None:
    """Dots: the time of a step on a line for each network."""
    for i, table in enumerate(tables):
        axis.axhline(i, color="#DDDDDD", linewidth=1, zorder=0)
        for row in table["rows"]:
            style = _STYLES.get(row["name"])
            if style is None:
                continue
            color, marker = style
            label = row["name"] if i == 0 else None
            floor = marker == "|"
            axis.scatter(
                row["median"] * 1e6, i, color=color, marker=marker, s=220 if floor else 36,
                linewidths=2 if floor else 0.5, label=label, zorder=2 if floor else 3,
            )  # fmt: skip
    labels = [f"{t['key'].partition('/')[2]}\nbatch {t['batch']}" for t in tables]
    axis.set_yticks(range(len(tables)), labels)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlabel("microseconds for a training step")
    axis.set_title("Five networks", loc="left", fontweight="bold")


def _lines(axis: Any, tables: list[dict[str, Any]], label: str) -> None:
    """Lines: the time of a step against a size."""
    if not tables:
        axis.set_axis_off()
        return
    for name, (color, marker) in _STYLES.items():
        points = [
            (table["at"], row["median"] * 1e6)
            for table in tables
            for row in table["rows"]
            if row["name"] == name
        ]
        if points:
            floor = marker == "|"
            axis.plot(
                *zip(*points, strict=True), color=color, marker=None if floor else marker,
                linestyle="--" if floor else "-", markersize=5, label=name,
            )  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks([t["at"] for t in tables], [str(t["at"]) for t in tables])
    axis.minorticks_off()
    axis.set_xlabel(label)
    axis.set_ylabel("microseconds for a step")
    axis.set_title(f"Growth with {tables[0]['axis']}", loc="left", fontweight="bold")
