"""Constraints: the allowed weights of a layer, to which each update is brought back.

A layer has one in its description, ``Dense(64, constraint=MaxNorm(3.0))``, and it applies to the
layer's parameter called ``weight``. ``weight = constraint(weight)`` returns the nearest allowed weights.

The norm is that of the incoming weights of each unit: a weight has shape (..., in, out), and the norm is
taken over all axes but the last, for a dense layer over axis 0.

``fit`` and ``partial_fit`` apply constraints after each step, not to the initial weights; in your
own loop use ``optimizers.Constrained(optimizer, network.layers)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from nnbackend.backends.base import namespace
from nnbackend.core.checks import set_positive
from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Namespace

__all__ = ["CONSTRAINTS", "Constraint", "MaxNorm", "NonNegative", "UnitNorm", "get"]

Constraint: TypeAlias = Callable[[Array], Array]
"""``constraint(weight) -> weight``; any such function works."""

CONSTRAINTS = Registry("constraint")


def get(spec: str | Constraint | None) -> Constraint | None:
    """Return the constraint that ``spec`` names; None stands for no constraint."""
    return None if spec is None else CONSTRAINTS.get(spec)


@CONSTRAINTS.register("max_norm")
@dataclass(frozen=True)
class MaxNorm:
    """Keep the norm of the incoming weights of each unit at ``norm`` or below.

    ``w *= norm / max(||w||, norm)``, for each unit.

    Args:
        norm: the largest norm, above 0; default 2. 2 to 4 are common, together with dropout.

    Raises:
        ValueError: ``norm`` is not a number above 0.

    Source: Srivastava et al. (2014), JMLR 15, section 5.1.
    """

    norm: float = 2.0

    def __post_init__(self) -> None:
        set_positive(self, "norm")

    def __call__(self, weight: Array) -> Array:
        xp = namespace(weight)
        return weight * (self.norm / xp.maximum(_norms(weight, xp), self.norm))


@CONSTRAINTS.register("unit_norm")
@dataclass(frozen=True)
class UnitNorm:
    """Give the incoming weights of each unit the norm 1: ``w /= ||w||``. Zero weights stay zero.

    Source: Salimans, Kingma (2016), arXiv:1602.07868, with the scale left out.
    """

    def __call__(self, weight: Array) -> Array:
        xp = namespace(weight)
        norms = _norms(weight, xp)
        return weight / xp.where(norms > 0.0, norms, xp.ones_like(norms))


@CONSTRAINTS.register("non_negative")
@dataclass(frozen=True)
class NonNegative:
    """Keep weights at 0 or above: ``w = max(w, 0)``.

    Source: projected gradient descent; Lee, Seung (1999), Nature 401, for such weights' use.
    """

    def __call__(self, weight: Array) -> Array:
        return namespace(weight).maximum(weight, 0.0)


def _norms(weight: Array, xp: Namespace) -> Array:
    """Return the norm of the incoming weights of each unit, of shape (1, ..., 1, out)."""
    axes = tuple(range(weight.ndim - 1))
    return xp.sqrt(xp.sum(weight * weight, axis=axes, keepdims=True))
