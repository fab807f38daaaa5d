"""Columns for tests of tables."""

from __future__ import annotations

import numpy as np


def numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def texts(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object)
