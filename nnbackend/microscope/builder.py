"""Puts an explanation together from the arrays of a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nnbackend.callbacks.record import Record
from nnbackend.core.shapes import Shapes
from nnbackend.drawing.drawing import Drawing
from nnbackend.layers import BatchNorm
from nnbackend.microscope.dense_formulas import chosen_units, unit_formulas
from nnbackend.microscope.explanation import Explanation, LayerSummary
from nnbackend.microscope.formulas import Formula, Number
from nnbackend.microscope.items import (
    Image,
    Item,
    input_items,
    layer_images,
    output_items,
    unit_items,
    window_items,
)
from nnbackend.microscope.loss_formulas import (
    has_output_units,
    is_difference,
    loss_formulas,
    loss_text,
)
from nnbackend.microscope.moments import StepTaker, find_moments
from nnbackend.microscope.snapshot import Snapshot
from nnbackend.microscope.steps import find_steps
from nnbackend.microscope.update_formulas import Updates
from nnbackend.microscope.views import find_views
from nnbackend.microscope.window_formulas import Window, chosen_windows, window_formulas
from nnbackend.optimizers import Optimizer

if TYPE_CHECKING:
    from nnbackend.network import Network

__all__ = ["Builder"]


class Builder:
    """Puts an explanation together from the snapshot of a step."""

    def __init__(
        self,
        network: Network,
        snapshot: Snapshot,
        optimizer: Optimizer,
        rows: int,
        shape: Shapes,
        input_names: list[str],
        output_names: list[str],
    ) -> None:
        self.network, self.snapshot, self.rows = network, snapshot, rows
        self.optimizer = optimizer
        self.input_names, self.output_names = input_names, output_names
        self.shape = shape
        self.views = find_views(network.layers, snapshot.seen.passages)
        self.windows: list[list[Window]] = [
            chosen_windows(view, snapshot) if view.is_convolution else [] for view in self.views
        ]
        self.updates = Updates(optimizer, network.frozen if network.input_shape else (), rows)

    def build(self, drawing: Drawing, take: StepTaker, record: Record | None) -> Explanation:
        """Return the explanation."""
        items = {item.key: item for item in self._items()}
        formulas = [*self._formulas(items)]
        images = [
            image
            for i in range(-1, len(self.views))
            for image in layer_images(
                self.views, i, self.snapshot, self.windows[i] if i >= 0 else (), self.rows
            )
        ]
        layers = [self._summary(i, items) for i in range(len(self.views))]
        numbers = _used(items, formulas, images, layers)
        moments, curve, notes = find_moments(numbers, self.snapshot, take, record)
        if any(isinstance(view.layer, BatchNorm) for view in self.views):
            notes.append("Layers that normalize by a batch take these rows for it, as in training")
        if not all(np.isfinite(m.values[numbers.index(Number("loss"))]) for m in moments):
            notes.append("Where the loss is not a finite number there is no update: NaN is shown")
        own = self.snapshot.seen.objective.loss
        loss = loss_text(own)
        name = type(self.optimizer).__name__
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        rate = f"{float(self.snapshot.arrays['learning_rate']):g}"
        return Explanation(
            title=f"One training step: {drawing.title}",
            subtitle=f"loss {loss}, optimizer {name} with learning rate {rate}, {rows}",
            steps=find_steps(self.views, loss, is_difference(own), name, self.rows),
            items=items,
            formulas=formulas,
            images=images,
            layers=layers,
            numbers=numbers,
            moments=moments,
            curve=curve,
            notes=[*self._notes(drawing, items), *notes],
            drawing=drawing,
            rows=self.rows,
        )

    def _notes(self, drawing: Drawing, items: dict[str, Item]) -> Iterator[str]:
        """Yield why the network is drawn as blocks, and whose weights are left out."""
        if drawing.note:
            yield f"Drawn as blocks: {drawing.note}"
        numbers = [n for item in items.values() for n in item.numbers.get("value", ())]
        listed = {number.array.rpartition(".")[0] for number in numbers}
        arrays = [name for name in self.snapshot.arrays if name.endswith(":after")]
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
        left = [layer for layer in layers if layer not in listed]
        if left:
            some = ", ".join(left[:8]) + (" and others" if len(left) > 8 else "")
            yield (
                f"Weights that are not listed: those of layer {some}. They are listed, with their "
                "formulas, of Dense, ScaledDense, FeatureScale and ParametricActivation layers on "
                "vectors and of Conv2D layers"
            )

    def _items(self) -> Iterator[Item]:
        yield from input_items(
            self.views[0], self.snapshot, self.shape, self.input_names, self.rows
        )
        for i, view in enumerate(self.views):
            if self.windows[i]:
                yield from window_items(view, i, self.windows[i], self.snapshot, self.rows)
            elif self._has_units(i):
                names = self.output_names if i == len(self.views) - 1 else []
                known = self.snapshot, self.input_names, names, self.rows
                yield from unit_items(self.views, i, *known)
        if not self._has_units(len(self.views) - 1) and has_output_units(self.snapshot):
            yield from output_items(self.views, self.snapshot, self.output_names, self.rows)

    def _has_units(self, i: int) -> bool:
        """Return whether a layer gives a vector of units, each by a formula."""
        view, arrays = self.views[i], self.snapshot.arrays
        x, y = arrays.get(f"{view.path}:x"), arrays.get(f"{view.end}:y")
        if x is None or y is None or y.ndim != 2:
            return False
        return view.is_dense or (view.is_one_to_one and x.shape == y.shape)

    def _formulas(self, items: dict[str, Item]) -> Iterator[Formula]:
        for i, view in enumerate(self.views):
            if self.windows[i]:
                own = view, i, self.windows[i], self.snapshot, self.rows
                yield from window_formulas(*own)
            elif self._has_units(i):
                yield from unit_formulas(self.views, i, self.snapshot, self.rows)
        seen = self.snapshot.seen
        yield from loss_formulas(seen.objective.loss, self.snapshot, len(self.views), self.rows)
        for item in items.values():
            kind, column, *place = item.key.split(":")
            if kind == "neuron":
                continue
            view = self.views[int(column) - 1]
            if kind == "bias":
                yield from self.updates.of_bias(view, item.key, int(place[0]))
            elif self.windows[int(column) - 1]:
                where = item.numbers["value"][0].place
                yield from self.updates.of_window(view, item.key, where)
            elif view.has_feature_weights:
                yield from self.updates.of_feature(view, item.key, int(place[1]))
            else:
                yield from self.updates.of_weight(view, item.key, int(place[0]), int(place[1]))

    def _summary(self, i: int, items: dict[str, Item]) -> LayerSummary:
        """Return a layer in short, and what of it is shown."""
        view, arrays = self.views[i], self.snapshot.arrays
        own = [key for key, item in items.items()
               if item.column == i + 1 and key.startswith("neuron")]  # fmt: skip
        note = ""
        if self._has_units(i):
            count = arrays[f"{view.end}:y"].shape[1]
            if len(chosen_units(view, self.snapshot)) < count:
                note = f"the {len(own)} busiest of {count:,} units, those with the largest results"
        elif self.windows[i]:
            note = f"{len(own)} channels, each by the window with the largest result"
        else:
            note = "smallest, mean and largest number of the result"
        numbers = [
            Number(f"{view.end}:{name}", (k,)) for name in ("summary", "dsummary") for k in range(3)
        ]
        return LayerSummary(view.text, i + 1, own, note, numbers)


def _used(
    items: dict[str, Item],
    formulas: list[Formula],
    images: list[Image],
    layers: list[LayerSummary],
) -> list[Number]:
    """Return all numbers that are referred to, each once."""
    found: dict[Number, None] = {Number("loss"): None, Number("learning_rate"): None}
    for item in items.values():
        for numbers in item.numbers.values():
            found.update(dict.fromkeys(numbers))
    for formula in formulas:
        found.update(dict.fromkeys(p for p in formula.parts if isinstance(p, Number)))
    for image in images:
        for row in image.numbers:
            found.update(dict.fromkeys(row))
    for layer in layers:
        found.update(dict.fromkeys(layer.numbers))
    return list(found)
