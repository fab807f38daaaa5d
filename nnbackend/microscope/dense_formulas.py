"""The formulas of layers of units: sums over a vector, and functions of single numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nnbackend.layers import AlphaDropout
from nnbackend.microscope.feature_formulas import feature_error, feature_result
from nnbackend.microscope.formulas import (
    DERIVATIVES,
    FUNCTIONS,
    Formula,
    Number,
    Part,
    application,
    busiest,
    derivative,
    divided,
    terms,
)
from nnbackend.microscope.snapshot import Snapshot, Values
from nnbackend.microscope.views import View

__all__ = [
    "MOST_TERMS",
    "MOST_UNITS",
    "chosen_inputs",
    "chosen_units",
    "chosen_weights",
    "unit_formulas",
]

MOST_UNITS = 16
"""As many units of a layer are shown; of more the busiest half of that."""

MOST_TERMS = 16
"""As many products of a sum are shown; of more the busiest six."""

_ALL_WEIGHTS = 128


def chosen_units(view: View, snapshot: Snapshot) -> list[int]:
    """Return the units of a layer that are shown: all, or those with the largest results."""
    results = np.abs(snapshot.arrays[f"{view.end}:y"]).max(axis=0)
    return busiest(results, MOST_UNITS if len(results) <= MOST_UNITS else MOST_UNITS // 2)


def chosen_inputs(view: View, unit: int, snapshot: Snapshot) -> list[int]:
    """Return the inputs of a unit that are shown: all, or those that contribute most."""
    shares = _shares(view, unit, snapshot)
    return busiest(shares, MOST_TERMS if len(shares) <= MOST_TERMS else 6)


def chosen_weights(view: View, unit: int, snapshot: Snapshot) -> list[int]:
    """Return the inputs of a unit whose weights can be chosen: all of a small layer, or the busiest."""
    few = snapshot.arrays[f"{view.path}.weight"].size <= _ALL_WEIGHTS
    return chosen_inputs(view, unit, snapshot) if few else busiest(_shares(view, unit, snapshot), 4)


def _shares(view: View, unit: int, snapshot: Snapshot) -> Values:
    """Return the largest size of each product in the sum of a unit."""
    x, weight = snapshot.arrays[f"{view.path}:x"], snapshot.arrays[f"{view.path}.weight"]
    shares: Values = np.abs(x * weight[:, unit]).max(axis=0)
    return shares


def unit_formulas(
    views: Sequence[View], i: int, snapshot: Snapshot, rows: int
) -> Iterator[Formula]:
    """Yield the formulas of the units of a layer, forward and back."""
    view = views[i]
    for unit in chosen_units(view, snapshot):
        item = f"neuron:{i + 1}:{unit}"
        for row in range(rows):
            yield from _forward(view, i, unit, row, item, snapshot)
            if i < len(views) - 1:
                yield _hidden_error(views, i, unit, row, item, snapshot)
            yield from _delta(view, i, unit, row, item)


def _forward(
    view: View, i: int, unit: int, row: int, item: str, snapshot: Snapshot
) -> Iterator[Formula]:
    """Yield the sum of a unit, and its result."""
    path, step = view.path, f"forward:{i}"
    y = Number(f"{view.end}:y", (row, unit))
    if not view.is_dense:
        yield Formula(step, item, row, *_one_to_one(view, unit, row, y, snapshot))
        return
    inputs = chosen_inputs(view, unit, snapshot)
    left_out = snapshot.arrays[f"{path}:x"].shape[1] - len(inputs)
    pairs = [(Number(f"{path}:x", (row, j)), Number(f"{path}.weight", (j, unit))) for j in inputs]
    parts = divided(terms(pairs, left_out), view.divisor)
    symbols = f"z = sum of input \u00b7 weight{' / sqrt(number of inputs)' if view.divisor else ''}"
    if f"{path}.bias" in snapshot.arrays:
        parts += [" + ", Number(f"{path}.bias", (unit,))]
        symbols += " + bias"
    z = Number(f"{path}:z", (row, unit))
    yield Formula(step, item, row, symbols, (*parts, " = ", z))
    name = view.function_name
    if name == "softmax":
        exps: list[Part] = []
        for k in range(min(snapshot.arrays[f"{path}:z"].shape[1], MOST_TERMS)):
            exps += [" + " if k else "", "exp(", Number(f"{path}:z", (row, k)), ")"]
        more = snapshot.arrays[f"{path}:z"].shape[1] - MOST_TERMS
        tail = f" + \u2026 ({more:,} more)" if more > 0 else ""
        quotient: tuple[Part, ...] = ("exp(", z, ") / (", *exps, f"{tail}) = ", y)
        yield Formula(step, item, row, FUNCTIONS[name], quotient)
    elif name:
        symbols = f"y = {FUNCTIONS.get(name, f'{name}(z)')}"
        yield Formula(step, item, row, symbols, application(name, z, y))


def _one_to_one(
    view: View, unit: int, row: int, y: Number, snapshot: Snapshot
) -> tuple[str, tuple[Part, ...]]:
    """Return the formula of a layer that takes each number by itself."""
    if view.has_feature_weights:
        return feature_result(view, row, unit)
    x = Number(f"{view.path}:x", (row, unit))
    name = view.function_name
    if name:
        symbols = f"y = {FUNCTIONS.get(name, f'{name}(x)').replace('z', 'x')}"
        return symbols, application(name, x, y)
    if isinstance(view.layer, AlphaDropout):
        symbols = "y = a \u00b7 (x \u00b7 m + f \u00b7 (1 - m)) + b, m being 0 where x is dropped"
        return symbols, (x, " \u2192 ", y)
    for note, sign in (("mask", "\u00b7"), ("noise", "+")):
        if f"{view.path}:{note}" in snapshot.arrays:
            drawn = Number(f"{view.path}:{note}", (row, unit))
            return f"y = x {sign} {note}", (x, f" {sign} ", drawn, " = ", y)
    return "y = x", (x, " \u2192 ", y)


def _hidden_error(
    views: Sequence[View], i: int, unit: int, row: int, item: str, snapshot: Snapshot
) -> Formula:
    """Return what a unit contributed to the error, through the layer behind it."""
    view, following = views[i], views[i + 1]
    error = Number(f"{view.end}:dy", (row, unit))
    step = f"error:{i}"
    is_direct = following.first.dx is view.last.dy
    if following.has_feature_weights and is_direct:
        return Formula(step, item, row, *feature_error(following, row, unit, error))
    if not following.is_dense or not is_direct:
        return Formula(step, item, row, "error, as the layer behind hands it back", (error,))
    path = following.path
    deltas, weight = snapshot.arrays[f"{path}:dz"], snapshot.arrays[f"{path}.weight"]
    count = weight.shape[1]
    units = busiest(
        np.abs(deltas * weight[unit]).max(axis=0), MOST_TERMS if count <= MOST_TERMS else 6
    )
    pairs = [(Number(f"{path}:dz", (row, k)), Number(f"{path}.weight", (unit, k))) for k in units]
    parts = (*divided(terms(pairs, count - len(units)), following.divisor), " = ", error)
    symbols = "error = sum of delta behind \u00b7 weight"
    symbols += " / sqrt(inputs of that layer)" if following.divisor else ""
    return Formula(step, item, row, symbols, parts)


def _delta(view: View, i: int, unit: int, row: int, item: str) -> Iterator[Formula]:
    """Yield how the delta of a unit's sum comes from its error."""
    error = Number(f"{view.end}:dy", (row, unit))
    step = f"delta:{i}"
    if not view.is_dense:  # it has no sum: what it hands back is the error of the layer before
        return
    name = view.function_name
    z, y = Number(f"{view.path}:z", (row, unit)), Number(f"{view.end}:y", (row, unit))
    delta = Number(f"{view.path}:dz", (row, unit))
    symbols = DERIVATIVES.get(name, f"delta = error \u00b7 {name}'(z)")
    yield Formula(step, item, row, symbols, derivative(name, error, z, y, delta))
