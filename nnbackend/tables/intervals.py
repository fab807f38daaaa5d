"""Intervals between predicted quantiles, as wide as held-out rows need them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import few

__all__ = ["interval_between", "symmetric_pairs", "widen_intervals"]


def symmetric_pairs(quantiles: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return the places of quantiles ``q`` and ``1 - q``, and the share of targets between them.

    >>> symmetric_pairs((0.05, 0.25, 0.5, 0.75, 0.9))
    [(1, 3, 0.5)]
    """
    return [
        (low, high, round(quantiles[high] - quantiles[low], 12))
        for low, q in enumerate(quantiles)
        for high, other in enumerate(quantiles)
        if low < high and abs(q + other - 1.0) < 1e-9
    ]


def widen_intervals(
    found: NDArray[Any], targets: NDArray[Any], quantiles: Sequence[float]
) -> list[float]:
    """Return by how much the interval between each symmetric pair is to be widened at both ends.

    Of ``n`` rows that did not train the ``ceil((n + 1) * share)``-th smallest distance by which a target
    lies outside, negative inside; where there are too few rows for that, the largest.

    Args:
        found: the predicted quantiles of the rows, shape (rows, quantiles).
        targets: their targets, shape (rows,).
        quantiles: which they are.

    Source: Romano, Patterson, Candès (2019), arXiv:1905.03222, equation 8.
    """
    widths = []
    for low, high, share in symmetric_pairs(quantiles):
        outside = np.maximum(found[:, low] - targets, targets - found[:, high])
        place = min(math.ceil((len(targets) + 1) * share), len(targets))
        widths.append(float(np.sort(outside)[place - 1]))
    return widths


def interval_between(
    found: NDArray[Any],
    quantiles: Sequence[float],
    widening: Sequence[float] | None,
    coverage: float,
) -> NDArray[np.float64]:
    """Return an interval for the target of each row, float64 of shape (rows, 2): low, high.

    Args:
        found: the predicted quantiles of the rows, shape (rows, quantiles).
        quantiles: which they are.
        widening: see :func:`widen_intervals`; None: the intervals are not widened.
        coverage: the share of targets that are to lie inside.

    Raises:
        ValueError: the quantiles of that interval are not among them.
    """
    pairs = symmetric_pairs(quantiles)
    for place, (low, high, share) in enumerate(pairs):
        if abs(share - coverage) < 1e-9:
            wider = 0.0 if widening is None else widening[place]
            ends = [found[:, low] - wider, found[:, high] + wider]
            return np.sort(np.stack(ends, axis=1), axis=1)
    if not pairs:
        raise ValueError(
            "no quantiles of a target of numbers were learned: train with the quantiles "
            f"{(1 - coverage) / 2:g}, 0.5, {(1 + coverage) / 2:g}"
        )
    known = few([f"{share:g}" for *_, share in pairs])
    raise ValueError(
        f"the quantiles learned have intervals of the coverage {known}, not {coverage:g}: train with "
        f"the quantiles {(1 - coverage) / 2:g}, 0.5, {(1 + coverage) / 2:g}"
    )
