"""Figures of matplotlib as SVG for a page: small, described, and in the colors of the page."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["COLORS", "INK", "RULE", "Picture", "figure", "svg_of"]

# What matplotlib draws in these colors, the page draws in its own, which differ in the dark.
INK, RULE = "#010203", "#010204"
COLORS = ("#010205", "#010206", "#010207", "#010208", "#010209")
_PAGE_COLORS = {
    INK: "currentColor",
    RULE: "var(--rule)",
    **{color: f"var(--color-{i})" for i, color in enumerate(COLORS, 1)},
}
_SIZE = (4.8, 3.1)  # inches: as wide as a telephone, so that texts are not shrunk there

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "nnbackend",  # the same names each time
    "text.parse_math": False,  # a dollar in the name of a column is one
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.prop_cycle": "cycler('color', " + repr(list(COLORS)) + ")",
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.use": True,
} | dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color",
     "patch.edgecolor", "legend.labelcolor", "hatch.color"),
    INK,
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        svg: its text, to stand in HTML.
        title: what it shows, in a few words.
    """

    svg: str
    title: str


@contextmanager
def figure(height: float | None = None) -> Iterator[tuple[Any, Any]]:
    """Yield a new figure and its axes, with the settings of the page."""
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    size = _SIZE if height is None else (_SIZE[0], height)
    with style.context(["default", _SETTINGS]):  # whatever the user's settings are
        made = Figure(figsize=size)
        FigureCanvasSVG(made)
        yield made, made.add_subplot()


def svg_of(made: Any, name: str, title: str, description: str) -> Picture:
    """Return a figure as SVG to stand in a page.

    Args:
        made: the figure of matplotlib.
        name: of which there is one in the page; what it is made of is named after it.
        title: what it is, for those who do not see it.
        description: what it shows.
    """
    file = io.StringIO()
    with warnings.catch_warnings():  # characters that matplotlib's font lacks and the reader's has
        warnings.simplefilter("ignore")
        made.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _attribute(key, value, name)
            for key, value in element.attrib.items()
        }
    shape = root.attrib["viewBox"]
    root.attrib = {
        "viewBox": shape,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag, {"id": f"{name}-{'title' if tag == 'title' else 'text'}"})
        element.text = text
        root.insert(place, element)
    return Picture(ET.tostring(root, encoding="unicode"), title)


def _attribute(key: str, value: str, name: str) -> str:
    """Return the value of an attribute with the names and colors of the page."""
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return f"#{name}-{value.removeprefix('#')}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"font-family:[^;]*;? ?", "", value)
        value = re.sub(r"font: ([0-9.]+px)[^;]*", r"font-size: \1", value)
        for color, own in _PAGE_COLORS.items():
            value = value.replace(color, own)
    return value
