"""Read a drawing in tests: its shapes, texts and titles."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

NS = "{http://www.w3.org/2000/svg}"

Box = tuple[float, float, float, float]


class Page:
    """The elements of a drawing."""

    def __init__(self, svg: str) -> None:
        self.root = ET.fromstring(svg)
        self.width, self.height = float(self.root.get("width")), float(self.root.get("height"))

    def all(self, tag: str, cls: str = "") -> list[ET.Element]:
        wanted = set(cls.split())
        found = self.root.iter(f"{NS}{tag}")
        return [one for one in found if wanted <= set((one.get("class") or "").split())]

    def texts(self, cls: str = "") -> list[str]:
        return [one.text for one in self.all("text", cls)]

    def titles(self) -> list[str]:
        return [one.text for one in self.root.iter(f"{NS}title")]

    def groups(self, cls: str) -> dict[str, ET.Element]:
        """Return groups by their titles."""
        return {one.find(f"{NS}title").text: one for one in self.all("g", cls)}

    def text_at(self, text: str) -> tuple[float, float]:
        element = next(one for one in self.all("text") if one.text == text)
        return float(element.get("x")), float(element.get("y"))

    def blocks(self) -> dict[str, Box]:
        """Return the box of each block by its title."""
        return {
            title: corners(group.find(f"{NS}polygon"))
            for title, group in self.groups("layer").items()
        }

    def frames(self) -> list[Box]:
        return [rectangle(one) for one in self.all("rect", "frame")]

    def circles(self) -> dict[str, tuple[float, float, float]]:
        found = self.groups("neuron").items()
        return {
            title: tuple(float(group.find(f"{NS}circle").get(k)) for k in ("cx", "cy", "r"))
            for title, group in found
        }


def corners(polygon: ET.Element) -> Box:
    points = [tuple(map(float, pair.split(","))) for pair in polygon.get("points").split()]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def rectangle(rect: ET.Element) -> Box:
    x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + w, y + h


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def contains(outer: Box, inner: Box) -> bool:
    return (
        outer[0] <= inner[0] and outer[1] <= inner[1]
        and inner[2] <= outer[2] and inner[3] <= outer[3]
    )  # fmt: skip


def text_boxes(page: Page) -> Iterator[tuple[str, Box]]:
    """Yield the box of each text, as wide as the drawing takes it to be."""
    from nnbackend.drawing.text import text_width

    for one in page.all("text"):
        style = one.get("style") or "font-size:11px"
        size = float(style.removeprefix("font-size:").removesuffix("px"))
        width = text_width(one.text, size, "strong" in (one.get("class") or ""))
        x, y = float(one.get("x")), float(one.get("y"))
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[one.get("text-anchor")]
        yield one.text, (left, y - 0.75 * size, left + width, y + 0.2 * size)
