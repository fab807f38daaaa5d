"""The formulas of layers with a weight for each feature: FeatureScale and ParametricActivation."""

from __future__ import annotations

from typing import Any

from nnbackend.layers import FeatureScale
from nnbackend.microscope.formulas import OF_ALL_UNITS, Number, Part
from nnbackend.microscope.views import View, function_text

__all__ = ["feature_error", "feature_gradient", "feature_result"]


def feature_result(view: View, row: int, unit: int) -> tuple[str, tuple[Part, ...]]:
    """Return how a result comes from its input, in symbols and in numbers."""
    x, weight, y = _numbers(view, row, unit)
    name = _function_name(view)
    if not name:
        return "y = x \u00b7 weight", (x, " \u00b7 ", weight, " = ", y)
    if name in OF_ALL_UNITS:
        symbols = f"y = x + weight \u00b7 ({name} - x), {name} being that of all units together"
        return symbols, (x, " \u2192 ", y)
    symbols = f"y = x + weight \u00b7 ({name}(x) - x)"
    return symbols, (x, " + ", weight, f" \u00b7 ({name}(", x, ") - ", x, ") = ", y)


def feature_error(
    following: View, row: int, unit: int, error: Number
) -> tuple[str, tuple[Part, ...]]:
    """Return how the error of a unit comes back through such a layer behind it.

    Args:
        following: the layer behind.
        row: the row of the batch.
        unit: the unit.
        error: the error of the unit, which the layer behind hands back.
    """
    x, weight, _ = _numbers(following, row, unit)
    behind = Number(f"{following.end}:dy", (row, unit))
    name = _function_name(following)
    if not name:
        symbols = "error = error behind \u00b7 weight"
        return symbols, (behind, " \u00b7 ", weight, " = ", error)
    if name in OF_ALL_UNITS:
        return "error, as the layer behind hands it back", (error,)
    symbols = f"error = error behind \u00b7 (1 - weight + weight \u00b7 {name}'(x))"
    slope = (" \u00b7 (1 - ", weight, " + ", weight, f" \u00b7 {name}'(", x, ")) = ")
    return symbols, (behind, *slope, error)


def feature_gradient(view: View, row: int, unit: int) -> tuple[str, tuple[Part, ...]]:
    """Return what a row adds to the gradient of the weight of a unit."""
    x, _, _ = _numbers(view, row, unit)
    error = Number(f"{view.end}:dy", (row, unit))
    name = _function_name(view)
    if not name:
        return "input \u00b7 error", (x, " \u00b7 ", error)
    if name in OF_ALL_UNITS:
        return f"({name} of all units - input) \u00b7 error", ()
    return f"({name}(input) - input) \u00b7 error", (f"({name}(", x, ") - ", x, ") \u00b7 ", error)


def _numbers(view: View, row: int, unit: int) -> tuple[Number, Number, Number]:
    """Return the input of a unit, its weight and its result."""
    place = (row, unit)
    weight = Number(f"{view.path}.weight", (unit,))
    return Number(f"{view.path}:x", place), weight, Number(f"{view.end}:y", place)


def _function_name(view: View) -> str:
    """Return the activation that the weight mixes in, as text; "" for a plain scale."""
    layer: Any = view.layer
    return "" if isinstance(layer, FeatureScale) else function_text(layer.function) or "identity"
