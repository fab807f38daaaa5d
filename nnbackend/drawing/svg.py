"""An SVG that is being drawn: elements with classes, escaped texts, a title and a description."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from nnbackend.drawing.style import SCOPE, STYLE
from nnbackend.drawing.text import clean

__all__ = ["Point", "Svg"]

Point = tuple[float, float]


class Svg:
    """A page to draw on, in pixels from its top left corner.

    Everything is written by :mod:`xml.etree`, which escapes texts and attributes.
    """

    def __init__(self) -> None:
        self._content = ET.Element("g")
        self._groups = [self._content]

    def add(
        self,
        tag: str,
        classes: str = "",
        text: str | None = None,
        title: str | None = None,
        **attributes: float | str,
    ) -> ET.Element:
        """Add an element; ``title`` is what is shown when the pointer rests on it."""
        element = ET.SubElement(self._groups[-1], tag)
        if classes:
            element.set("class", classes)
        for name, value in attributes.items():
            element.set(name.replace("_", "-"), value if isinstance(value, str) else number(value))
        element.tail = "\n"
        if text is not None:
            element.text = clean(text)
        if title is not None:
            ET.SubElement(element, "title").text = clean(title)
        return element

    @contextmanager
    def group(self, classes: str, title: str | None = None, **attributes: str) -> Iterator[None]:
        """Add a group; what is added in its context is in it."""
        self._groups.append(self.add("g", classes, title=title, **attributes))
        try:
            yield
        finally:
            self._groups.pop()

    def text(
        self,
        x: float,
        y: float,
        text: str,
        classes: str = "",
        anchor: str = "middle",
        size: float | None = None,
        title: str | None = None,
    ) -> None:
        """Add a text whose baseline begins, ends or has its middle at a point."""
        more: dict[str, Any] = {} if size is None else {"style": f"font-size:{number(size)}px"}
        place: dict[str, Any] = {"x": x, "y": y, "text_anchor": anchor, **more}
        if title is None or title == text:
            self.add("text", classes, text, **place)
        else:
            with self.group("", title):
                self.add("text", classes, text, **place)

    def line(self, start: Point, end: Point, classes: str, width: float | None = None) -> None:
        """Add a straight line."""
        more: dict[str, Any] = {} if width is None else {"stroke_width": width}
        self.add("line", classes, x1=start[0], y1=start[1], x2=end[0], y2=end[1], **more)

    def flow(self, points: Sequence[Point], has_tip: bool = True) -> None:
        """Add a curve through points from left to right, with an arrowhead at its end if wanted."""
        path = [f"M{_pair(points[0])}"]
        for (x1, y1), (x2, y2) in pairwise(points):
            if y1 == y2:
                path.append(f"L{_pair((x2, y2))}")
            else:
                middle = (x1 + x2) / 2
                path.append(f"C{_pair((middle, y1))} {_pair((middle, y2))} {_pair((x2, y2))}")
        self.add("path", "flow", d=" ".join(path))
        if has_tip:
            self.arrow(points[-1])

    def corners(self, points: Sequence[Point], has_tip: bool = True) -> None:
        """Add a line with corners through points, with an arrowhead at its end if wanted."""
        self.add("path", "flow", d=" ".join("ML"[i > 0] + _pair(p) for i, p in enumerate(points)))
        if has_tip:
            self.arrow(points[-1])

    def arrow(self, tip: Point) -> None:
        """Add an arrowhead that points to the right."""
        x, y = tip
        self.polygon([(x, y), (x - 6, y - 3.2), (x - 6, y + 3.2)], "arrow")

    def polygon(self, corners: Sequence[Point], classes: str) -> None:
        """Add a filled shape."""
        self.add("polygon", classes, points=" ".join(map(_pair, corners)))

    def to_text(self, width: float, height: float, title: str, description: str) -> str:
        """Return the text of the SVG: the same for the same content."""
        content = ET.tostring(self._content, encoding="unicode")
        # Several drawings on a page must not have the same ids.
        key = hashlib.sha256("\0".join((title, description, content)).encode()).hexdigest()[:12]
        size = {"width": number(width), "height": number(height)}
        root = ET.Element("svg", {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": SCOPE,
            "viewBox": f"0 0 {size['width']} {size['height']}",
            **size,
            "role": "img",
            "aria-labelledby": f"title-{key} description-{key}",
        })  # fmt: skip
        ET.SubElement(root, "title", id=f"title-{key}").text = clean(title)
        ET.SubElement(root, "desc", id=f"description-{key}").text = clean(description)
        ET.SubElement(root, "style").text = STYLE
        ET.SubElement(root, "rect", {"class": "back", **size})
        root.append(self._content)
        return ET.tostring(root, encoding="unicode") + "\n"


def number(value: float) -> str:
    """Return a coordinate as text, to a tenth of a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _pair(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"
