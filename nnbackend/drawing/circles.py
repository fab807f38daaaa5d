"""A network drawn as circles and lines: each neuron, each weight, and the numbers of one row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nnbackend.drawing.neurons import Column, Values
from nnbackend.drawing.svg import Point, Svg
from nnbackend.drawing.text import digits, shorten, text_width

__all__ = ["draw_circles"]

_MARGIN = 22.0
_HEADER = 40.0
_NAME = 150.0  # the widest name beside a circle
_MOST_LABELS = 20  # with more lines between two columns, they have no numbers
_BIAS_RADIUS = 12.0
_PLACES = sorted((i / 40 for i in range(4, 37)), key=lambda part: (abs(part - 0.42), part))
"""Where on a line its number may stand, as a part of the way; the best first."""

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Line:
    """A weight: from a circle to another, with the number that it shows.

    ``item`` is its name for programs: ``weight:LAYER:INPUT:UNIT`` or ``bias:LAYER:UNIT``.
    """

    start: Point
    end: Point
    weight: float
    gradient: float | None
    title: str
    item: str


class _Circles:
    """The places of all circles, and what is drawn there."""

    def __init__(
        self,
        columns: Sequence[Column],
        input_names: Sequence[str],
        output_names: Sequence[str],
        targets: Values | None,
    ) -> None:
        self.columns = columns
        self.input_names, self.output_names = input_names, output_names
        self.targets = targets
        self.has_row = columns[0].results is not None
        self.has_grads = any(column.weight_grads is not None for column in columns)
        self.radius = 31.0 if self.has_row else 17.0
        self.pitch = (
            2 * self.radius + (40.0 if self.has_grads else 20.0) + (10.0 if self.has_row else 0.0)
        )
        counts = [0 if c.weight is None else c.weight.size + (c.bias is not None) * c.size
                  for c in columns]  # fmt: skip
        self.is_labeled = max(counts) <= _MOST_LABELS
        tallest = max(column.size for column in columns)
        gap = 166.0 if self.is_labeled else min(max(96.0, 13.0 * tallest), 200.0)
        self.step = 2 * self.radius + gap
        self.thickest = 5.0 if self.is_labeled else 3.4
        names = [*input_names, *output_names, *(["target -0.1234"] if targets is not None else [])]
        widest = min(_NAME, max((text_width(n, 11, bold=True) for n in names), default=0.0)) + 10
        self.left = _MARGIN + max(widest if input_names else 0.0, 24.0) + self.radius
        self.rows = max(c.size + self._bias_follows(i) * 0.8 for i, c in enumerate(columns))
        self.width = self.left + self.step * (len(columns) - 1) + self.radius + widest + _MARGIN
        self.height = _MARGIN + _HEADER + self.rows * self.pitch

    def _bias_follows(self, i: int) -> bool:
        """Return whether the neurons of the next column have a bias."""
        return i + 1 < len(self.columns) and self.columns[i + 1].bias is not None

    def at(self, i: int, j: int) -> Point:
        """Return the center of a neuron; the one behind the last is the bias of the next column."""
        column = self.columns[i]
        own = column.size + self._bias_follows(i) * 0.8
        top = _MARGIN + _HEADER + (self.rows - own) * self.pitch / 2 + self.pitch / 2
        down = top + j * self.pitch - (0.1 * self.pitch if j == column.size else 0.0)
        return self.left + i * self.step, down

    def name(self, i: int, j: int) -> str:
        """Return what a neuron is called in texts."""
        if i == 0:
            return self.input_names[j] if self.input_names else f"input {j}"
        if i == len(self.columns) - 1 and self.output_names:
            return self.output_names[j]
        return f"unit {j} of layer {self.columns[i].path}"

    def lines(self) -> Iterator[_Line]:
        """Yield the weights and biases, as lines from circle to circle."""
        for i, column in enumerate(self.columns[1:], 1):
            if column.weight is None:
                continue
            for k in range(column.size):
                for j in range(self.columns[i - 1].size):
                    title = f"weight from {self.name(i - 1, j)} to {self.name(i, k)}"
                    grads = column.weight_grads
                    gradient = None if grads is None else float(grads[j, k])
                    yield self._line((i, j, k), float(column.weight[j, k]), gradient, title)
                if column.bias is not None:
                    j, grads = self.columns[i - 1].size, column.bias_grads
                    gradient = None if grads is None else float(grads[k])
                    title = f"bias of {self.name(i, k)}"
                    yield self._line((i, j, k), float(column.bias[k]), gradient, title)

    def _line(
        self, place: tuple[int, int, int], weight: float, gradient: float | None, title: str
    ) -> _Line:
        i, j, k = place
        (x1, y1), (x2, y2) = self.at(i - 1, j), self.at(i, k)
        length = math.hypot(x2 - x1, y2 - y1)
        first = _BIAS_RADIUS if j == self.columns[i - 1].size else self.radius
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        start = (x1 + dx * first, y1 + dy * first)
        end = (x2 - dx * self.radius, y2 - dy * self.radius)
        text = f"{title}: {digits(weight)}"
        if gradient is not None:
            text += f", gradient {digits(gradient)}"
        is_bias = j == self.columns[i - 1].size
        item = f"bias:{i}:{k}" if is_bias else f"weight:{i}:{j}:{k}"
        return _Line(start, end, weight, gradient, text, item)


def draw_circles(
    svg: Svg,
    columns: Sequence[Column],
    input_names: Sequence[str],
    output_names: Sequence[str],
    targets: Values | None,
) -> tuple[float, float]:
    """Draw a network as circles and lines; return the width and the height of the drawing.

    Args:
        svg: where to draw.
        columns: the columns of neurons, the inputs first.
        input_names: a name for each input, or none.
        output_names: a name for each output, or none.
        targets: the target of each output, if there is a row with targets.
    """
    circles = _Circles(columns, input_names, output_names, targets)
    lines = [*circles.lines()]
    largest = max((abs(_shown(line)) for line in lines if math.isfinite(_shown(line))), default=0.0)
    for line in lines:
        _draw_line(svg, line, largest, circles.thickest)
    for i, column in enumerate(columns):
        if i and column.weight is None:
            for j in range(column.size):
                (x1, y1), (x2, y2) = circles.at(i - 1, j), circles.at(i, j)
                svg.line((x1 + circles.radius, y1), (x2 - circles.radius, y2), "line", 1.0)
    if circles.is_labeled:
        _label_lines(svg, lines)
    for i, column in enumerate(columns):
        _draw_header(svg, circles, i)
        for j in range(column.size):
            _draw_neuron(svg, circles, i, j)
        if i + 1 < len(columns) and columns[i + 1].bias is not None:
            _draw_bias(svg, circles.at(i, column.size))
    _draw_names(svg, circles)
    with svg.group("legend"):
        return _draw_legend(svg, circles, largest)


def _shown(line: _Line) -> float:
    """Return the number that a line stands for: the gradient on the way back, else the weight."""
    return line.weight if line.gradient is None else line.gradient


def _draw_line(svg: Svg, line: _Line, largest: float, thickest: float) -> None:
    value = _shown(line)
    share = abs(value) / largest if largest and math.isfinite(value) else 0.0
    with svg.group("weight", line.title, data_item=line.item):
        kind = "negative" if value < 0 else "positive" if value > 0 else "line"
        svg.line(line.start, line.end, kind, 0.6 + (thickest - 0.6) * share)


def _label_lines(svg: Svg, lines: Sequence[_Line]) -> None:
    """Write the numbers on the lines, where they do not cover each other."""
    taken: list[_Box] = []
    for line in lines:
        text = digits(_shown(line))
        half = text_width(text, 9) / 2 + 2
        (x1, y1), (x2, y2) = line.start, line.end
        others = [other for other in lines if other is not line and other.start[0] < x2]
        best, fewest = None, math.inf
        for part in _PLACES:
            x, y = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
            box = (x - half, y - 7, x + half, y + 7)
            outside = box[0] < min(x1, x2) - 2 or box[2] > max(x1, x2) + 2
            if outside or any(_overlap(box, other) for other in taken):
                continue
            crossed = sum(_crosses(other, box) for other in others)
            if crossed < fewest:
                best, fewest = box, crossed
        if best is None:
            continue  # no room: the number is shown when the pointer rests on the line
        taken.append(best)
        x, y = (best[0] + best[2]) / 2, (best[1] + best[3]) / 2
        with svg.group("number", line.title, data_item=line.item):
            _label(svg, x, y + 3.2, text, "value")


def _label(svg: Svg, x: float, y: float, text: str, classes: str) -> None:
    """Write a small text on a ground that covers the lines behind it."""
    width = text_width(text, 9) + 4
    svg.add("rect", "label", x=x - width / 2, y=y - 9.2, width=width, height=12.0, rx=3.0)
    svg.text(x, y, text, classes, size=9)


def _crosses(line: _Line, box: _Box) -> bool:
    """Return whether a line goes through a box."""
    (x1, y1), (x2, y2) = line.start, line.end
    left, right = max(box[0], x1), min(box[2], x2)
    if left >= right:
        return False
    slope = (y2 - y1) / (x2 - x1)
    ends = y1 + slope * (left - x1), y1 + slope * (right - x1)
    return max(ends) > box[1] and min(ends) < box[3]


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_header(svg: Svg, circles: _Circles, i: int) -> None:
    """Write above a column which layer it is."""
    column = circles.columns[i]
    x, y = circles.at(i, 0)[0], _MARGIN + 10
    last = i == len(circles.columns) - 1
    role = "input" if i == 0 else "output" if last else "hidden"
    svg.text(x, y, role, "strong")
    if i:
        text = shorten(column.text, circles.step - 12, 10)
        svg.text(x, y + 14, text, "faint", size=10, title=column.text)


def _draw_neuron(svg: Svg, circles: _Circles, i: int, j: int) -> None:
    """Draw a circle: the sum in its upper half, the result in the lower one."""
    column, (x, y), r = circles.columns[i], circles.at(i, j), circles.radius
    last = i == len(circles.columns) - 1
    facts = [circles.name(i, j)]
    result = None if column.results is None else float(column.results[j])
    total = None if column.sums is None else float(column.sums[j])
    if total is not None:
        facts.append(f"sum {digits(total)}")
    if result is not None:
        facts.append(f"result {digits(result)}")
    gradients = []
    for name, of in (("dy", column.result_grads), ("dz", column.sum_grads)):
        if of is not None and (i or name == "dz"):
            gradients.append(f"{name} {digits(float(of[j]))}")
    with svg.group("neuron", ", ".join([*facts, *gradients]), data_item=f"neuron:{i}:{j}"):
        svg.add("circle", "unit output" if last else "unit", cx=x, cy=y, r=r)
        if result is not None and total is not None:
            svg.line((x - r, y), (x + r, y), "rule")
            _number(svg, x, y - 8, total, "sum", r)
            _number(svg, x, y + 17, result, "strong result", r)
        elif result is not None:
            _number(svg, x, y + 4, result, "strong result", r)
        for k, text in enumerate(gradients):
            _label(svg, x, y + r + 12 + 11 * k, text, "gradient")


def _number(svg: Svg, x: float, y: float, value: float, classes: str, radius: float) -> None:
    """Write a number in a circle, small enough to be inside."""
    text = digits(value)
    bold = classes.startswith("strong")
    size = min(12.0 if bold else 11.0, (2 * radius - 10) / text_width(text, 1, bold))
    svg.text(x, y, text, classes, size=size)


def _draw_bias(svg: Svg, center: Point) -> None:
    """Draw the 1 that biases multiply."""
    x, y = center
    with svg.group("neuron-bias", "1, which each bias multiplies"):
        svg.add("circle", "bias", cx=x, cy=y, r=_BIAS_RADIUS)
        svg.text(x, y + 3.5, "1", size=10)


def _draw_names(svg: Svg, circles: _Circles) -> None:
    """Write the names of inputs and outputs, and the targets."""
    away = circles.radius + 8
    for j, name in enumerate(circles.input_names):
        x, y = circles.at(0, j)
        svg.text(x - away, y + 4, shorten(name, _NAME, 11, True), "strong", "end", title=name)
    last = len(circles.columns) - 1
    for j in range(circles.columns[last].size):
        x, y = circles.at(last, j)
        named = bool(circles.output_names)
        if named:
            name, base = circles.output_names[j], y + (4 if circles.targets is None else -3)
            svg.text(x + away, base, shorten(name, _NAME, 11, True), "strong", "start", title=name)
        if circles.targets is not None:
            text = f"target {digits(float(circles.targets[j]))}"
            svg.text(x + away, y + (12 if named else 4), text, "target", "start")


def _draw_legend(svg: Svg, circles: _Circles, largest: float) -> tuple[float, float]:
    """Draw below what lines and numbers mean; return the size of the drawing."""
    what = "gradient" if circles.has_grads else "weight"
    texts = [("positive", f"positive {what}"), ("negative", f"negative {what}")]
    x, y = _MARGIN, circles.height + 26
    for kind, text in texts:
        svg.line((x, y - 3.5), (x + 28, y - 3.5), kind, 2.4)
        svg.text(x + 34, y, text, "faint", "start", 10)
        x += 34 + text_width(text, 10) + 14
    wide = f"width: size, up to {digits(largest)}"
    if not circles.is_labeled:
        wide += "; rest the pointer on a line for its number"
    svg.text(x, y, wide, "faint", "start", 10)
    right = x + text_width(wide, 10)
    notes = []
    if circles.has_row:
        notes.append("In a circle: the sum, and below it the result.")
    if circles.has_grads:
        notes.append("dy, dz: the gradient of the loss with respect to result and sum.")
    absorbed = circles.columns[-1].absorbed
    if absorbed:
        notes.append(
            f"The output is that before its activation, {absorbed}, which the loss contains."
        )
    for note in notes:
        y += 15
        svg.text(_MARGIN, y, note, "faint", "start", 10)
        right = max(right, _MARGIN + text_width(note, 10))
    return max(circles.width, right + _MARGIN), y + 18
