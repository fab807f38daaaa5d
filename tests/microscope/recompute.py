"""Computes the formulas of an explanation again, from the numbers in them."""

from __future__ import annotations

import math
import re

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU

FUNCTIONS = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "exp": math.exp,
    "relu": lambda z: max(z, 0.0),
    "log": math.log,
    "sqrt": math.sqrt,
    "identity": lambda z: z,
    "selu": lambda z: SCALE * (z if z > 0 else ALPHA * math.expm1(z)),
    "selu_slope": lambda z: SCALE * (1.0 if z > 0 else ALPHA * math.exp(z)),
}


def in_numbers(explanation, formula):
    """Return a formula with its numbers in full."""
    return "".join(
        part if isinstance(part, str) else f"({explanation.value(part)!r})"
        for part in formula.parts
    )


def compute(text):
    """Return what a formula in numbers comes to, by Python."""
    text = text.replace("\u00b7", "*").replace("\u00b2", "**2")
    text = re.sub(r"\|(.*?)\|", r"abs(\1)", text)
    text = re.sub(r"(\S+) if (\S+) > 0, else 0", r"(\1 if \2 > 0 else 0)", text)
    return eval(text, {"__builtins__": {}, "abs": abs}, FUNCTIONS)


def check_formulas(explanation, tolerance=1e-12):
    """Compute each formula again from the numbers in it; return how many were."""
    return len(checked_symbols(explanation, tolerance))


def checked_symbols(explanation, tolerance=1e-12):
    """Compute each formula again from the numbers in it; return those that were, in symbols."""
    checked = []
    for formula in explanation.formulas:
        left, equals, right = in_numbers(explanation, formula).rpartition(" = ")
        left = left.replace("selu'", "selu_slope")
        if not equals or "more" in left or "sign" in left or "'" in left:
            continue
        found, expected = compute(left), compute(right)
        assert math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance), (formula, left)
        checked.append(formula.symbols)
    return checked
