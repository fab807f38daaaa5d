"""The formulas of weights: the adjustment, which is the gradient, and the update by the optimizer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from nnbackend.microscope.feature_formulas import feature_gradient
from nnbackend.microscope.formulas import Formula, Number, Part, divided, terms
from nnbackend.microscope.views import View
from nnbackend.optimizers import SGD, Optimizer

__all__ = ["Updates"]


class Updates:
    """Writes how weights are adjusted and updated.

    Args:
        optimizer: the optimizer.
        frozen: the dotted names of parameters that do not change.
        rows: the number of rows.
    """

    def __init__(self, optimizer: Optimizer, frozen: Collection[str], rows: int) -> None:
        self.optimizer, self.frozen, self.rows = optimizer, frozen, rows
        plain = type(optimizer) is SGD and not (optimizer.momentum or optimizer.weight_decay)
        self._is_plain = plain

    def of_weight(self, view: View, item: str, j: int, unit: int) -> Iterator[Formula]:
        """Yield the formulas of a weight between an input and a unit."""
        path = view.path
        pairs: list[tuple[Part, ...]] = [
            (Number(f"{path}:x", (row, j)), Number(f"{path}:dz", (row, unit)))
            for row in range(self.rows)
        ]
        gradient = Number(f"{path}.weight:gradient", (j, unit))
        symbols = "gradient = input \u00b7 delta"
        symbols += " / sqrt(number of inputs)" if view.divisor else ""
        symbols += ", summed over the rows" if self.rows > 1 else ""
        parts = (*divided(terms(pairs), view.divisor), " = ", gradient)
        yield Formula("adjustment", item, None, symbols, parts)
        yield self._update(view, item, f"{path}.weight", (j, unit))

    def of_feature(self, view: View, item: str, unit: int) -> Iterator[Formula]:
        """Yield the formulas of the weight that a layer has for a feature."""
        gradient = Number(f"{view.path}.weight:gradient", (unit,))
        parts: list[Part] = []
        for row in range(self.rows):
            symbols, share = feature_gradient(view, row, unit)
            parts += [" + ", *share] if parts else share
        symbols = f"gradient = {symbols}" + (", summed over the rows" if self.rows > 1 else "")
        parts += [" = ", gradient] if parts else [gradient]
        yield Formula("adjustment", item, None, symbols, tuple(parts))
        yield self._update(view, item, f"{view.path}.weight", (unit,))

    def of_bias(self, view: View, item: str, unit: int) -> Iterator[Formula]:
        """Yield the formulas of a bias."""
        path = view.path
        deltas: list[tuple[Part, ...]] = [
            (Number(f"{path}:dz", (row, unit)),) for row in range(self.rows)
        ]
        gradient = Number(f"{path}.bias:gradient", (unit,))
        symbols = "gradient = delta" + (", summed over the rows" if self.rows > 1 else "")
        parts = (*terms(deltas), " = ") if self.rows > 1 else ()
        yield Formula("adjustment", item, None, symbols, (*parts, gradient))
        yield self._update(view, item, f"{path}.bias", (unit,))

    def of_window(self, view: View, item: str, place: tuple[int, ...]) -> Iterator[Formula]:
        """Yield the formulas of a weight that all windows of an image share."""
        gradient = Number(f"{view.path}.weight:gradient", place)
        symbols = "gradient = sum of input \u00b7 delta over all windows"
        yield Formula("adjustment", item, None, symbols, (gradient,))
        yield self._update(view, item, f"{view.path}.weight", place)

    def _update(self, view: View, item: str, name: str, place: tuple[int, ...]) -> Formula:
        """Return how the optimizer changes a number."""
        before, after = Number(name, place), Number(f"{name}:after", place)
        gradient = Number(f"{name}:gradient", place)
        rate = Number("learning_rate")
        if name in self.frozen:
            return Formula("update", item, None, "frozen: it stays", (before, " \u2192 ", after))
        layer: Any = view.layer
        changed = [
            what
            for what in ("regularizer", "constraint")
            if getattr(layer, what, None) is not None and name.endswith("weight")
        ]
        if self._is_plain and not changed:
            symbols = "weight after = weight - learning rate \u00b7 gradient"
            parts = (before, " - ", rate, " \u00b7 ", gradient, " = ", after)
            return Formula("update", item, None, symbols, parts)
        rule = f"{type(self.optimizer).__name__}'s rule"
        beside = f", with the {' and the '.join(changed)} of the layer" if changed else ""
        symbols = f"weight after = weight changed by {rule}{beside}"
        return Formula("update", item, None, symbols, (before, " \u2192 ", after))
