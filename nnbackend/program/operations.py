"""The elementwise operations that a program knows: what NumPy calls them, and their text in CUDA C++.

Texts take the names of their operands, which have the type of the result (``same``), the type that
they have in common (``common``: comparisons, whose result is a truth value), or their own (``own``).
Functions called ``nnb_...`` are defined at the head of every program; see ``source.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["OPERATIONS", "REDUCTIONS", "Operation", "Reduction", "result_dtype"]


@dataclass(frozen=True)
class Operation:
    """One elementwise operation.

    Attributes:
        reference: the same in NumPy; it gives the dtype of results, and tests compare with it.
        text: in CUDA C++, with ``{0}``, ``{1}`` ... for the operands.
        operands: of what type they are; see the module.
    """

    reference: Callable[..., Any]
    text: str
    operands: str = "same"


@dataclass(frozen=True)
class Reduction:
    """One reduction over an axis.

    Attributes:
        reference: the same in NumPy.
        start: the value of nothing, in CUDA C++, with ``{type}`` for the type.
        function: of two values that gives one.
    """

    reference: Callable[..., Any]
    start: str
    function: str


OPERATIONS: dict[str, Operation] = {
    "add": Operation(np.add, "nnb_add({0}, {1})"),
    "subtract": Operation(np.subtract, "nnb_subtract({0}, {1})"),
    "multiply": Operation(np.multiply, "nnb_multiply({0}, {1})"),
    "divide": Operation(np.true_divide, "({0} / {1})"),
    "pow": Operation(np.power, "pow({0}, {1})"),
    "negative": Operation(np.negative, "(-{0})"),
    "positive": Operation(np.positive, "{0}"),
    "abs": Operation(np.abs, "nnb_abs({0})"),
    "sign": Operation(np.sign, "nnb_sign({0})"),
    "reciprocal": Operation(np.reciprocal, "(1 / {0})"),
    "square": Operation(np.square, "nnb_multiply({0}, {0})"),
    "sqrt": Operation(np.sqrt, "sqrt({0})"),
    "exp": Operation(np.exp, "exp({0})"),
    "expm1": Operation(np.expm1, "expm1({0})"),
    "log": Operation(np.log, "log({0})"),
    "log1p": Operation(np.log1p, "log1p({0})"),
    "sin": Operation(np.sin, "sin({0})"),
    "cos": Operation(np.cos, "cos({0})"),
    "tanh": Operation(np.tanh, "tanh({0})"),
    "erf": Operation(np.tanh, "erf({0})"),  # NumPy has none: tanh has its dtypes
    "maximum": Operation(np.maximum, "nnb_maximum({0}, {1})"),
    "minimum": Operation(np.minimum, "nnb_minimum({0}, {1})"),
    "bitwise_and": Operation(np.bitwise_and, "({0} & {1})"),
    "bitwise_or": Operation(np.bitwise_or, "({0} | {1})"),
    "bitwise_xor": Operation(np.bitwise_xor, "({0} ^ {1})"),
    "bitwise_left_shift": Operation(np.left_shift, "nnb_left({0}, {1})"),
    "bitwise_right_shift": Operation(np.right_shift, "({0} >> {1})"),
    "logical_and": Operation(np.logical_and, "({0} && {1})", "common"),
    "logical_or": Operation(np.logical_or, "({0} || {1})", "common"),
    "logical_not": Operation(np.logical_not, "(!{0})", "common"),
    "isfinite": Operation(np.isfinite, "nnb_isfinite({0})", "common"),
    "isnan": Operation(np.isnan, "({0} != {0})", "common"),
    "equal": Operation(np.equal, "({0} == {1})", "common"),
    "not_equal": Operation(np.not_equal, "({0} != {1})", "common"),
    "less": Operation(np.less, "({0} < {1})", "common"),
    "less_equal": Operation(np.less_equal, "({0} <= {1})", "common"),
    "greater": Operation(np.greater, "({0} > {1})", "common"),
    "greater_equal": Operation(np.greater_equal, "({0} >= {1})", "common"),
    "where": Operation(np.where, "({0} ? {1} : {2})", "own"),
}

REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction(np.sum, "({type})(0)", "nnb_Add"),
    "max": Reduction(np.max, "nnb_lowest<{type}>()", "nnb_Maximum"),
    "min": Reduction(np.min, "nnb_highest<{type}>()", "nnb_Minimum"),
    "all": Reduction(np.all, "true", "nnb_And"),
    "any": Reduction(np.any, "false", "nnb_Or"),
    "argmax": Reduction(np.argmax, "nnb_nothing<{type}>()", "nnb_Larger"),
}


@lru_cache(maxsize=4096)
def result_dtype(operation: str, *kinds: Any) -> np.dtype[Any]:
    """Return the dtype of a result; ``kinds`` are dtypes, or Python's bool, int or float for numbers."""
    # A number takes the dtype of the fractions it is combined with. NumPy does so for its own dtypes.
    partner = next((k for k in kinds if not isinstance(k, type) and k.kind not in "biu"), None)
    samples = []
    for kind in kinds:
        if not isinstance(kind, type):
            samples.append(np.ones((), dtype=kind))
        else:
            samples.append(kind(1) if partner is None else np.ones((), dtype=partner))
    with np.errstate(all="ignore"):
        result = OPERATIONS[operation].reference(*samples)
    return np.asarray(result).dtype
