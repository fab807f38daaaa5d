"""Calibration: whether what is said to be 70 % likely happens 7 times in 10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.checks import check_size

__all__ = ["Calibration", "calibration_curve", "top_label"]


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities beside what happened, in bins of equal width that hold rows.

    Attributes:
        predicted: the mean probability in each bin.
        observed: how often the event happened there.
        counts: how many rows each has.
        error: the expected calibration error, ``sum(counts * |observed - predicted|) / rows``.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]
    error: float


def calibration_curve(probability: Any, happened: Any, bins: int = 10) -> Calibration:
    """Return the calibration of probabilities of an event.

    Args:
        probability: of the event in each row, shape (rows,), from 0 to 1.
        happened: whether it happened, shape (rows,): booleans, or 0 and 1.
        bins: how many bins of equal width there are between 0 and 1; default 10.

    Raises:
        ValueError: there are no rows, shapes differ, or a number is no probability or no 0 or 1.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    p, event = np.asarray(probability, np.float64), np.asarray(happened, np.float64)
    if p.ndim != 1 or p.shape != event.shape or not len(p):
        raise ValueError(
            "a probability and whether it happened are needed for each of some rows; got shapes "
            f"{p.shape} and {event.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a probability is from 0 to 1")
    if not np.isin(event, (0.0, 1.0)).all():
        raise ValueError("what happened is True or False, or 1 or 0")
    count = check_size("bins", bins)
    where = np.minimum((p * count).astype(np.int64), count - 1)
    counts = np.bincount(where, minlength=count)
    full = counts > 0
    predicted = np.bincount(where, p, count)[full] / counts[full]
    observed = np.bincount(where, event, count)[full] / counts[full]
    error = float(np.sum(counts[full] * np.abs(observed - predicted)) / len(p))
    return Calibration(
        tuple(predicted.tolist()), tuple(observed.tolist()), tuple(counts[full].tolist()), error
    )


def top_label(
    probabilities: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool]]:
    """Return the probability of the class predicted in each row, and whether it is the true one.

    They make a calibration curve for more than two classes.

    Args:
        probabilities: shape (rows, classes).
        classes: the number of the true class, shape (rows,).

    Source: Guo et al., ICML 2017.
    """
    p = np.asarray(probabilities, np.float64)
    said = p.argmax(axis=1)
    return np.minimum(p.max(axis=1), 1.0), said == np.asarray(classes)
