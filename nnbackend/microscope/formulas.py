"""Formulas as data: in symbols, and with references to the numbers of a step in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnbackend.microscope.snapshot import Values

__all__ = [
    "DERIVATIVES",
    "FUNCTIONS",
    "OF_ALL_UNITS",
    "Formula",
    "Number",
    "Part",
    "application",
    "busiest",
    "derivative",
    "divided",
    "terms",
]


@dataclass(frozen=True)
class Number:
    """A number of a step: its array by name, as ``"0:z"`` or ``"0.weight:gradient"``, and its place."""

    array: str
    place: tuple[int, ...] = ()


Part: TypeAlias = "str | Number"


@dataclass(frozen=True)
class Formula:
    """A formula in symbols and in numbers.

    Attributes:
        step: the key of the step that it belongs to.
        item: the neuron, weight or layer that it is about.
        row: the row of the batch, from 0; None: all of them together.
        symbols: the formula in symbols.
        parts: the same in numbers: texts and references to numbers, to be written one after the other.
    """

    step: str
    item: str
    row: int | None
    symbols: str
    parts: tuple[Part, ...]


FUNCTIONS = {
    "sigmoid": "sigmoid(z) = 1 / (1 + exp(-z))",
    "tanh": "tanh(z)",
    "relu": "relu(z) = z where z > 0, else 0",
    "softmax": "softmax(z) = exp(z) / sum of exp(z) over the units",
    "log_softmax": "log_softmax(z) = z - log(sum of exp(z) over the units)",
    "sparsemax": "sparsemax(z), of all units together",
}
"""Activations in symbols; others have their names alone."""

DERIVATIVES = {
    "": "delta = error",
    "sigmoid": "delta = error \u00b7 y \u00b7 (1 - y)",
    "tanh": "delta = error \u00b7 (1 - y\u00b2)",
    "relu": "delta = error where z > 0, else 0",
    "softmax": "delta = y \u00b7 (error - sum of error \u00b7 y over the units)",
    "log_softmax": "delta = error - exp(y) \u00b7 sum of error over the units",
    "sparsemax": "delta = error - mean of error over the units with y > 0, where y > 0, else 0",
}
"""The delta of a sum in symbols by activation, as their docstrings have it."""


OF_ALL_UNITS = ("softmax", "log_softmax", "sparsemax")
"""Activations that make each result of all sums: it is no function of its own sum alone."""


def application(function: str, z: Number, y: Number) -> tuple[Part, ...]:
    """Return how the result comes from the sum, in numbers."""
    if function in OF_ALL_UNITS:
        return (z, " \u2192 ", y)
    return (f"{function}(", z, ") = ", y)


def derivative(
    function: str, error: Number, z: Number, y: Number, delta: Number
) -> tuple[Part, ...]:
    """Return how the delta of a sum comes from the error of the result, in numbers."""
    if function == "":
        return (delta,)
    if function in OF_ALL_UNITS:
        return (error, " \u2192 ", delta)
    if function == "sigmoid":
        return (error, " \u00b7 ", y, " \u00b7 (1 - ", y, ") = ", delta)
    if function == "tanh":
        return (error, " \u00b7 (1 - (", y, ")\u00b2) = ", delta)
    if function == "relu":
        return (error, " if ", z, " > 0, else 0 = ", delta)
    return (error, f" \u00b7 {function}'(", z, ") = ", delta)


def terms(pairs: Sequence[tuple[Part, ...]], left_out: int = 0) -> list[Part]:
    """Return products that are added, in numbers; of those left out it is said how many they are."""
    parts: list[Part] = []
    for pair in pairs:
        if parts:
            parts.append(" + ")
        for i, factor in enumerate(pair):
            parts += [" \u00b7 ", factor] if i else [factor]
    if left_out:
        parts.append(f" + \u2026 ({left_out:,} more)")
    return parts


def divided(parts: list[Part], divisor: str) -> list[Part]:
    """Return a sum in numbers, divided by what is given as text; by "": as it is."""
    return ["(", *parts, f") / {divisor}"] if divisor else parts


def busiest(sizes: Any, most: int) -> list[int]:
    """Return the places of the largest numbers of a vector, in their order; all if they are few."""
    values: Values = sizes
    if len(values) <= most:
        return list(range(len(values)))
    # By size, and of equals the first: the choice must not depend on a sorting algorithm.
    order = sorted(range(len(values)), key=lambda i: (-abs(float(values[i])), i))
    return sorted(order[:most])
