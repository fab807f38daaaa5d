"""Pictures that are put together: in a row, in a frame, and as a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nnbackend.drawing.layering import Size, arrange
from nnbackend.drawing.svg import Point, Svg
from nnbackend.drawing.text import shorten, text_width

__all__ = ["Picture", "break_rows", "framed", "in_rows", "wired"]

_GAP = 16.0  # between pictures of a row
_ROW_GAP = 26.0  # between rows
_COLUMN_GAP = 38.0  # between columns of a graph, where connections bend
_PADDING = 12.0  # inside a frame
_HEADER = 18.0  # of a frame


@dataclass(frozen=True)
class Picture:
    """A part of a drawing whose size is known.

    Attributes:
        width: its width, in pixels.
        height: its height.
        entry: where a connection to it ends, from its top left corner; None: nothing leads to it.
        exit: where a connection from it begins; None: nothing goes on from it.
        paint: draws it; it takes the place of the top left corner.
        has_tip: whether a connection to it ends in an arrowhead: not at frames and dots.
    """

    width: float
    height: float
    entry: Point | None
    exit: Point | None
    paint: Callable[[Svg, float, float], None]
    has_tip: bool = True

    @property
    def axis(self) -> float:
        """How far down connections meet it."""
        point = self.entry or self.exit
        return self.height / 2 if point is None else point[1]


def break_rows(widths: Sequence[float], most: float) -> list[int]:
    """Return how many pictures of these widths are in each row, if rows have a greatest width."""
    counts = [0]
    used = 0.0
    for width in widths:
        if counts[-1] and used + _GAP + width > most:
            counts.append(0)
            used = 0.0
        used += width + (_GAP if counts[-1] else 0.0)
        counts[-1] += 1
    return counts


def in_rows(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Return the pictures of rows one after the other, connected."""
    pictures = [picture for row in rows for picture in row]
    places: list[Point] = []
    widest = top = 0.0
    for row in rows:
        above = max(picture.axis for picture in row)
        below = max(picture.height - picture.axis for picture in row)
        x = 0.0
        for picture in row:
            places.append((x, top + above - picture.axis))
            x += picture.width + _GAP
        widest = max(widest, x - _GAP)
        top += above + below + _ROW_GAP
    starts = {sum(map(len, rows[:i])) for i in range(1, len(rows))}

    def paint(svg: Svg, x: float, y: float) -> None:
        for i, (picture, place) in enumerate(zip(pictures, places, strict=True)):
            picture.paint(svg, x + place[0], y + place[1])
            end = _at(picture.entry, x + place[0], y + place[1])
            if not i or end is None:
                continue
            before = places[i - 1]
            start = _at(pictures[i - 1].exit, x + before[0], y + before[1])
            if start is None:
                continue
            if i in starts:  # out to the right, back to the left between the rows, and in
                right, left = x + before[0] + pictures[i - 1].width + 6, x - 8
                between = y + place[1] - _row_rise(i, places, pictures) - _ROW_GAP / 2
                turns = [(right, start[1]), (right, between), (left, between), (left, end[1])]
                svg.corners([start, *turns, end], picture.has_tip)
            else:
                bend = (x + before[0] + pictures[i - 1].width, start[1]), (x + place[0], end[1])
                svg.flow(_level([start, *bend, end]), picture.has_tip)

    first, last = pictures[0], pictures[-1]
    return Picture(
        widest,
        top - _ROW_GAP,
        _at(first.entry, *places[0]),
        _at(last.exit, *places[-1]),
        paint,
        first.has_tip,
    )


def _row_rise(i: int, places: Sequence[Point], pictures: Sequence[Picture]) -> float:
    """Return how far above a picture, the first of its row, the top of that row is."""
    highest = places[i][1]
    for place in places[i:]:
        if place[0] == 0.0 and place is not places[i]:
            break
        highest = min(highest, place[1])
    return places[i][1] - highest


def framed(inside: Picture, label: str, note: str, title: str, is_connected: bool) -> Picture:
    """Return a picture in a frame, with a label and a note above it."""
    bold = text_width(label, 11, bold=True)
    heading = bold + (9 + text_width(note, 10) if note else 0.0)
    width = max(inside.width, min(heading, 320.0)) + 2 * _PADDING
    height = inside.height + _HEADER + 2 * _PADDING
    left, down = (width - inside.width) / 2, _HEADER + _PADDING
    axis = down + inside.axis
    ending = axis if inside.exit is None else down + inside.exit[1]

    def paint(svg: Svg, x: float, y: float) -> None:
        with svg.group("frames", title):
            svg.add("rect", "frame", x=x, y=y, width=width, height=height, rx=7.0)
        room = width - 2 * _PADDING
        shown = shorten(label, room, 11, bold=True)
        svg.text(x + _PADDING, y + 16, shown, "strong", "start", title=label)
        used = text_width(shown, 11, bold=True) + 8
        if note and room - used > 30:
            shown_note = shorten(note, room - used, 10)
            svg.text(x + _PADDING + used, y + 16, shown_note, "faint", "start", 10, note)
        inside.paint(svg, x + left, y + down)
        if not is_connected:
            return
        if inside.entry is not None:
            end = (x + left + inside.entry[0], y + down + inside.entry[1])
            svg.flow([(x, y + axis), end], inside.has_tip)
        if inside.exit is not None:
            svg.line((x + left + inside.exit[0], y + ending), (x + width, y + ending), "flow")

    entry = None if is_connected and inside.entry is None else (0.0, axis)
    exit_ = None if is_connected and inside.exit is None else (width, ending)
    return Picture(width, height, entry, exit_, paint, has_tip=not is_connected)


def wired(
    pictures: Mapping[str, Picture],
    edges: Mapping[tuple[str, str], str],
    entry: str | None,
    exit_: str | None,
) -> Picture:
    """Return pictures connected as a graph, in columns from left to right."""
    sizes = {n: Size(p.width, p.axis, p.height - p.axis) for n, p in pictures.items()}
    arranged = arrange(sizes, [*edges])
    lefts, rights, x = [], [], 0.0
    for column in arranged.columns:
        lefts.append(x)
        rights.append(x + max((sizes[name].width for name in column), default=0.0))
        x = rights[-1] + _COLUMN_GAP
    tops = {name: arranged.heights[name] - sizes[name].above for name in pictures}
    lanes = [height - 10 for route in arranged.routes.values() for height in route]
    top = min([*tops.values(), *lanes], default=0.0)
    places = {}
    column_of = {}
    for i, column in enumerate(arranged.columns):
        for name in column:
            column_of[name] = i
            middle = (lefts[i] + rights[i] - sizes[name].width) / 2
            places[name] = (middle, tops[name] - top)
    bottom = max((places[n][1] + pictures[n].height for n in pictures), default=0.0)
    lanes = [height + 10 - top for route in arranged.routes.values() for height in route]

    def route(edge: tuple[str, str]) -> list[Point] | None:
        start = _at(pictures[edge[0]].exit, *places[edge[0]])
        end = _at(pictures[edge[1]].entry, *places[edge[1]])
        if start is None or end is None:
            return None
        first, last = column_of[edge[0]], column_of[edge[1]]
        points = [start, (rights[first], start[1])]
        for i, height in enumerate(arranged.routes.get(edge, ()), first + 1):
            points += [(lefts[i], height - top), (rights[i], height - top)]
        return _level([*points, (lefts[last] - 6, end[1]), end])

    def paint(svg: Svg, x: float, y: float) -> None:
        for edge, label in edges.items():
            points = route(edge)
            if points is None:
                continue
            moved = [(x + a, y + b) for a, b in points]
            svg.flow(moved, pictures[edge[1]].has_tip)
            if label:
                _edge_label(svg, moved[1], moved[2], label)
        for name, picture in pictures.items():
            picture.paint(svg, x + places[name][0], y + places[name][1])

    return Picture(
        rights[-1] if rights else 0.0,
        max([bottom, *lanes]),
        None if entry is None else _at(pictures[entry].entry, *places[entry]),
        None if exit_ is None else _at(pictures[exit_].exit, *places[exit_]),
        paint,
        entry is None or pictures[entry].has_tip,
    )


def _edge_label(svg: Svg, start: Point, end: Point, label: str) -> None:
    """Write beside the bend of a connection which part of an output it takes."""
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if abs(start[1] - end[1]) < 4:
        svg.text(x, y - 5, label, "faint", size=9)
    else:
        rises = end[1] < start[1]
        svg.text(x - 5 if rises else x + 5, y - 2, label, "faint", "end" if rises else "start", 9)


def _at(point: Point | None, x: float, y: float) -> Point | None:
    """Return a point of a picture that is put at a place."""
    return None if point is None else (x + point[0], y + point[1])


def _level(points: list[Point]) -> list[Point]:
    """Return points of which those that are nearly at the height before them are at that height.

    The last one keeps its height.
    """
    found = [points[0]]
    for x, y in points[1:]:
        found.append((x, found[-1][1] if abs(y - found[-1][1]) < 0.6 else y))
    found[-1] = (points[-1][0], found[-1][1])
    return found
