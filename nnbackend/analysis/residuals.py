"""Residuals: by how much predicted numbers are off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LEVELS", "Residuals", "summarize_residuals"]

LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Residuals:
    """How the true numbers minus the predicted ones are distributed.

    Attributes:
        rows: how many there are.
        mean: their mean; far from 0 the model is off to one side.
        std: their standard deviation; 0 for a single row.
        quantiles: the residual at each level from 0, the smallest, to 1, the largest.
    """

    rows: int
    mean: float
    std: float
    quantiles: dict[float, float]


def summarize_residuals(predicted: Any, true: Any, levels: tuple[float, ...] = LEVELS) -> Residuals:
    """Return the distribution of ``true - predicted``.

    Args:
        predicted: shape (rows,).
        true: of the same shape.
        levels: of the quantiles, from 0 to 1.

    Raises:
        ValueError: shapes differ, there are no rows, or a number is not finite.
    """
    said, truth = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if said.ndim != 1 or said.shape != truth.shape or not len(said):
        raise ValueError(
            "a predicted and a true number are needed for each of some rows; got shapes "
            f"{said.shape} and {truth.shape}"
        )
    residuals = truth - said
    if not np.isfinite(residuals).all():
        raise ValueError("a predicted or a true number is not finite")
    spread = float(residuals.std(ddof=1)) if len(residuals) > 1 else 0.0
    found = np.quantile(residuals, levels).tolist()
    quantiles = dict(zip(levels, found, strict=True))
    return Residuals(len(residuals), float(residuals.mean()), spread, quantiles)
