"""What happened in one training step: the object that ``nnb.explain`` returns."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnbackend.core.checks import check_path
from nnbackend.drawing.drawing import Drawing
from nnbackend.drawing.text import digits
from nnbackend.microscope.formulas import Formula, Number
from nnbackend.microscope.items import Image, Item
from nnbackend.microscope.page import write_page
from nnbackend.microscope.snapshot import Values
from nnbackend.microscope.steps import Step
from nnbackend.saving.atomic import write_atomically

__all__ = ["Explanation", "LayerSummary", "Moment"]

_MOST_LINES = 24  # of a step in the table


@dataclass(frozen=True)
class LayerSummary:
    """A layer in short.

    Attributes:
        text: the layer as text.
        column: its number, the inputs being 0.
        items: the keys of its neurons that are shown.
        note: which part of it is shown, if that is not all; else "".
        numbers: smallest number, mean and largest of its result, and of the gradient with respect to it.
    """

    text: str
    column: int
    items: list[str]
    note: str
    numbers: list[Number]


@dataclass(frozen=True)
class Moment:
    """The numbers of the step with the parameters of one moment.

    Attributes:
        label: when that was, in words.
        step: the number of training steps before; None: not known.
        values: the number for each entry of ``Explanation.numbers``, in float64.
    """

    label: str
    step: int | None
    values: Values = field(repr=False)


@dataclass(frozen=True, repr=False)
class Explanation:
    """What happened in one training step on a few rows: sums, errors, deltas, gradients, the update.

    ``print`` shows it as a table, a notebook as a page; :meth:`save` writes the page to a file. All
    numbers are the library's (:func:`nnbackend.observe`, ``Network.partial_fit``), shown in four
    digits.

    Attributes:
        title: what is explained.
        subtitle: loss, optimizer and rows.
        steps: the steps in order.
        items: neurons, weights and biases, by key.
        formulas: the formulas of steps and items.
        images: pictures of numbers.
        layers: the layers in short.
        numbers: the numbers that formulas and items refer to.
        moments: their values; the last one is that of the network as it is.
        curve: the numbers of steps and the training losses that were recorded.
        notes: what is left out or must be known, in words.
        drawing: the network, drawn.
        rows: how many rows it is about.
    """

    title: str
    subtitle: str
    steps: list[Step]
    items: dict[str, Item]
    formulas: list[Formula]
    images: list[Image]
    layers: list[LayerSummary]
    numbers: list[Number]
    moments: list[Moment]
    curve: tuple[list[int], list[float]]
    notes: list[str]
    drawing: Drawing
    rows: int

    def __post_init__(self) -> None:
        places = {number: i for i, number in enumerate(self.numbers)}
        object.__setattr__(self, "_places", places)

    def place(self, number: Number) -> int:
        """Return where a number stands in ``numbers`` and in the values of each moment."""
        places: dict[Number, int] = self._places  # type: ignore[attr-defined]
        return places[number]

    def value(self, number: Number, moment: int = -1) -> float:
        """Return a number at a moment, by default with the parameters as they are now."""
        return float(self.moments[moment].values[self.place(number)])

    def in_numbers(self, formula: Formula, moment: int = -1) -> str:
        """Return a formula with its numbers, in four digits."""
        return "".join(
            part if isinstance(part, str) else digits(self.value(part, moment))
            for part in formula.parts
        )

    @property
    def html(self) -> str:
        """The page: one HTML document that loads nothing."""
        return write_page(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, whole or not at all; return the file's path.

        Args:
            path: its name, which ends in ``.html``.

        Raises:
            ValueError: the name has another ending.
            OSError: the file cannot be written; an old one of that name is untouched then.
        """
        if check_path("path", path).suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"the page is written to a file that ends in .html, got {str(path)!r}")
        return write_atomically(path, self.html.encode())

    def __str__(self) -> str:
        lines = [self.title, self.subtitle]
        for number, step in enumerate(self.steps, 1):
            lines += ["", f"{number}. {step.title}", f"   {step.text}", *self._lines_of(step)]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return a frame with the page, which reaches nothing of the notebook around it."""
        return (
            f'<iframe title="{html.escape(self.title)}" sandbox="allow-scripts" '
            f'srcdoc="{html.escape(self.html)}" '
            'style="width:100%;height:900px;border:1px solid #8888"></iframe>'
        )

    def _lines_of(self, step: Step) -> list[str]:
        """Return the formulas of a step as lines of a table."""
        if step.key == "row":
            return self._inputs()
        formulas = [formula for formula in self.formulas if formula.step == step.key]
        shown = formulas[:_MOST_LINES]
        names = [self._name(formula) for formula in shown]
        wide = max(map(len, names), default=0)
        lines, said = [], set()
        for name, formula in zip(names, shown, strict=True):
            if formula.symbols not in said:
                lines.append(f"   {formula.symbols}")
                said.add(formula.symbols)
            lines.append(f"     {name:<{wide}}  {self.in_numbers(formula)}")
        left = len(formulas) - len(shown)
        if left:
            lines.append(f"     ... and {left} more")
        if not formulas and step.column:
            lines += self._summary(step)
        return lines

    def _inputs(self) -> list[str]:
        """Return the lines of inputs and targets."""
        shown = [i for i in self.items.values() if i.column == 0 or "target" in i.numbers]
        lines = []
        for item in shown:
            what = "target" if "target" in item.numbers else "result"
            values = "  ".join(digits(self.value(number)) for number in item.numbers[what])
            name = f"target of {item.name}" if what == "target" else item.name
            lines.append((name, values))
        wide = max((len(name) for name, _ in lines), default=0)
        return [f"     {name:<{wide}}  {values}" for name, values in lines]

    def _summary(self, step: Step) -> list[str]:
        """Return the line of a layer of which no formulas are written."""
        layer = next((one for one in self.layers if one.column == step.column), None)
        if layer is None:
            return []
        back = not step.key.startswith("forward")
        values = [self.value(number) for number in layer.numbers[3 if back else 0 :][:3]]
        if np.isnan(values).all():
            return []
        small, mean, large = map(digits, values)
        return [f"     smallest {small}, mean {mean}, largest {large}"]

    def _name(self, formula: Formula) -> str:
        item = self.items.get(formula.item)
        name = item.name if item is not None else formula.item
        return (
            f"{name}, row {formula.row + 1}" if formula.row is not None and self.rows > 1 else name
        )
