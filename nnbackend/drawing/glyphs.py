"""Layers as blocks: the width stands for features, the height for resolution.

A block whose right side is lower than its left one reduces the resolution. Both sizes grow with the
logarithm: from 1 to 4096 features, from 1 to 512 pixels.

Source: the visual grammar of Net2Vis, Bäuerle, van Onzenoodt, Ropinski (2021), arXiv:1902.04394.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.drawing.parts import Block, Sign
from nnbackend.drawing.picture import Picture
from nnbackend.drawing.svg import Svg
from nnbackend.drawing.text import shorten, text_width, wrap

__all__ = ["Extent", "block_picture", "extents", "sign_picture"]

_TEXT = 120.0  # the widest line below a block
_NAME = 156.0  # the widest name
_LINE = 13.0
_LEAST_HEIGHT = 30.0
_MOST_HEIGHT = 130.0


@dataclass(frozen=True)
class Extent:
    """How a shape is drawn: the width and the height of a block."""

    width: float
    height: float


def extents(shapes: Shapes, channels_first: bool) -> Extent:
    """Return how the shape of a row is drawn; of several the largest."""
    if not is_shape(shapes):
        parts = shapes.values() if isinstance(shapes, dict) else shapes
        found = [extents(part, channels_first) for part in parts]
        return Extent(
            max((one.width for one in found), default=12.0),
            max((one.height for one in found), default=_LEAST_HEIGHT),
        )
    if len(shapes) < 2:
        features, resolution = (*shapes, 1)[0], 1
    elif channels_first:
        features, resolution = shapes[0], max(shapes[1:])
    else:
        features, resolution = shapes[-1], max(shapes[:-1])
    width = 8.0 + 7.0 * math.log2(1 + min(features, 1 << 14))
    height = _LEAST_HEIGHT + 11.0 * math.log2(max(resolution, 1))
    return Extent(width, min(height, _MOST_HEIGHT))


def block_picture(block: Block, channels_first: bool, tallest: float = 0.0) -> Picture:
    """Return a block with its lines of text below.

    Args:
        block: the layer.
        channels_first: whether the first axis of an image has its features.
        tallest: the height of the tallest block in a row; texts are below it. Default 0: there is none.
    """
    before = extents(block.input_shape, channels_first)
    after = extents(block.output_shape, channels_first)
    left, right, wide = before.height, after.height, after.width
    tallest = max(tallest, left, right)
    name = shorten(block.name, _NAME, 11, bold=True)
    lines = [*wrap(block.text, _TEXT, 10), *(shorten(t, _TEXT, 10) for t in block.details)]
    text_widths = [text_width(name, 11, bold=True), *(text_width(line, 10) for line in lines)]
    width = max(wide, *text_widths) + 8
    axis = tallest / 2 + 2
    height = axis + tallest / 2 + 8 + _LINE * (1 + len(lines))
    start = (width - wide) / 2

    def paint(svg: Svg, x: float, y: float) -> None:
        a, b, middle = x + start, x + start + wide, y + axis
        corners = [(a, middle - left / 2), (b, middle - right / 2),
                   (b, middle + right / 2), (a, middle + left / 2)]  # fmt: skip
        with svg.group(f"layer {block.kind}", block.title):
            svg.polygon(corners, "block")
            if block.is_active:
                share = 1 - 4 / wide
                cut = left + (right - left) * share
                svg.polygon(
                    [(b - 4, middle - cut / 2), corners[1], corners[2], (b - 4, middle + cut / 2)],
                    "stripe",
                )
            base = middle + tallest / 2 + 16
            svg.text(x + width / 2, base, name, "strong", title=block.title)
            for i, line in enumerate(lines, 1):
                svg.text(x + width / 2, base + i * _LINE, line, "faint", size=10)

    return Picture(width, height, (start, axis), (start + wide, axis), paint)


def sign_picture(sign: Sign) -> Picture:
    """Return a sign in a circle, or a dot with a label."""
    if sign.text:

        def paint_sign(svg: Svg, x: float, y: float) -> None:
            with svg.group("signs", sign.title):
                svg.add("circle", "sign", cx=x + 11, cy=y + 11, r=10.0)
                svg.text(x + 11, y + 15, sign.text, "strong")

        return Picture(22.0, 22.0, (1.0, 11.0), (21.0, 11.0), paint_sign)
    label = shorten(sign.label, 200, 11, bold=True)
    width = text_width(label, 11, bold=True) + 8 if label else 8.0

    def paint(svg: Svg, x: float, y: float) -> None:
        with svg.group("signs", sign.title):
            svg.add("circle", "dot", cx=x + width / 2, cy=y + 8, r=3.0)
            if label:
                svg.text(x + width / 2, y + 24, label, "strong", title=sign.label)

    middle = width / 2
    height = 28.0 if label else 16.0
    return Picture(width, height, (middle - 3, 8.0), (middle + 3, 8.0), paint, has_tip=bool(label))
