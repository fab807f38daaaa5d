"""A network drawn in blocks."""

from __future__ import annotations

from collections.abc import Sequence

from nnbackend.core.layer_tree import children
from nnbackend.core.types import Layer
from nnbackend.drawing.flow import Flow
from nnbackend.drawing.glyphs import block_picture, extents, sign_picture
from nnbackend.drawing.parts import Block, Chain, Frame, Part, Sign, blocks_in
from nnbackend.drawing.picture import Picture, break_rows, framed, in_rows, wired
from nnbackend.drawing.svg import Svg
from nnbackend.drawing.text import text_width
from nnbackend.drawing.words import count_text
from nnbackend.inspection.shape_trace import Traced

__all__ = ["MOST_BLOCKS", "choose_parts", "draw_blocks"]

MOST_BLOCKS = 1500
"""As many blocks a drawing holds."""

_OPENED_BLOCKS = 600  # with more, layers inside layers are left closed unless asked for
_DEEPEST = 20  # levels that are opened unless asked for
_ROW_WIDTH = 1120.0
_MARGIN = 22.0


def choose_parts(
    traced: Traced,
    depth: int | None,
    gathers: bool,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> tuple[Part, str]:
    """Return the parts of a network, and what is to be said of what is left out.

    Args:
        traced: the network's outermost layer.
        depth: how many levels of layers inside layers are opened; None: all, where there is room.
        gathers: whether layers that come several times in a row are drawn once.
        input_names: names of the inputs.
        output_names: names of the outputs.

    Raises:
        ValueError: there are more blocks than a drawing holds.
    """
    deepest = _depth(traced)
    most = _OPENED_BLOCKS if depth is None else MOST_BLOCKS
    levels = range(min(deepest, _DEEPEST), -1, -1) if depth is None else [depth]
    for level in levels:
        parts = Flow(level, gathers).network(traced, input_names, output_names)
        count = sum(1 for _ in blocks_in(parts))
        if count <= most or (level == 0 and count <= MOST_BLOCKS):
            closed = level < deepest and depth is None
            left = f"layers inside layers are opened to depth {level}: with all, there are too many"
            return parts, left if closed else ""
    advice = "" if gathers else ", or gather=True"
    raise ValueError(
        f"the network has {count:,} blocks, more than the {MOST_BLOCKS:,} that a drawing holds: give a "
        f"smaller depth{advice}, or read net.summary()"
    )


def _picture(part: Part, most: float, first: bool, tallest: float = 0.0) -> Picture:
    """Return a part as a picture.

    Args:
        part: the part.
        most: how wide it may be where it can be broken into rows.
        first: whether the first axis of an image has its features.
        tallest: the height of the tallest block in the row.
    """
    if isinstance(part, Block):
        return block_picture(part, first, tallest)
    if isinstance(part, Sign):
        return sign_picture(part)
    if isinstance(part, Chain):
        return _rows(part.parts, most, first)
    if isinstance(part, Frame):
        inside = _picture(part.inside, most - 24, first)
        return framed(inside, part.label, part.note, part.title, part.is_connected)
    pictures = {key: _picture(node, most - 120, first) for key, node in part.nodes.items()}
    return wired(pictures, part.edges, part.entry, part.exit)


def _rows(parts: Sequence[Part], most: float, first: bool) -> Picture:
    """Return parts one after the other in rows; the texts of a row are at the same height."""
    pictures = [_picture(part, most, first) for part in parts]
    rows, start = [], 0
    for count in break_rows([picture.width for picture in pictures], most):
        row = range(start, start + count)
        blocks = {i: block for i in row if isinstance(block := parts[i], Block)}
        tallest = max((_height(block, first) for block in blocks.values()), default=0.0)
        rows.append(
            [_picture(blocks[i], most, first, tallest) if i in blocks else pictures[i] for i in row]
        )
        start += count
    return in_rows(rows)


def _height(block: Block, first: bool) -> float:
    return max(extents(shape, first).height for shape in (block.input_shape, block.output_shape))


def draw_blocks(
    svg: Svg, parts: Part, layers: Layer, traced: Traced, note: str
) -> tuple[float, float]:
    """Draw a network in blocks; return the width and the height of the drawing."""
    picture = _picture(parts, _ROW_WIDTH, _channels_first(layers))
    picture.paint(svg, _MARGIN, _MARGIN)
    lines = [
        f"{count_text(traced.parameters)} in all. Width: features; height: resolution; both by their "
        "logarithm. A dark edge: an activation."
    ]
    if note:
        lines.append(f"Drawn as blocks: {note}.")
    y = picture.height + 2 * _MARGIN + 8
    for line in lines:
        svg.text(_MARGIN, y, line, "faint", "start", 10)
        y += 15
    widest = max(text_width(line, 10) for line in lines)
    return max(picture.width + 6, widest) + 2 * _MARGIN, y


def _depth(traced: Traced) -> int:
    """Return how many levels of layers are inside those of the network."""
    return max((1 + _depth(one) for one in traced.inside if one.inside), default=0)


def _channels_first(layer: Layer) -> bool:
    """Return whether a layer, or one inside, says that the first axis has the channels."""
    if getattr(layer, "channels", None) == "first":
        return True
    return any(_channels_first(child) for _, child in children(layer))
