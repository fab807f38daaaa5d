"""By how much predicted numbers are off: residuals, and true numbers by predicted ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.residuals import summarize_residuals
from nnbackend.core.axes import get_axes
from nnbackend.core.text import number
from nnbackend.plots.arrays import number_column

__all__ = ["predictions", "residuals"]

_POINTS = {"marker": "o", "linestyle": "", "markersize": 4, "alpha": 0.5, "markeredgewidth": 0}


def residuals(y: Any, predicted: Any, ax: Any = None) -> Any:
    """Draw ``y - predicted`` by what was predicted: a cloud around the line at 0 if all is well.

    A slope or a bend says what the model does not get, a funnel that large numbers are less sure. The
    title has the mean and the standard deviation.

    Args:
        y: the true numbers, shape (rows,) or (rows, 1).
        predicted: the predicted ones, likewise.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes.

    Raises:
        ValueError: lengths differ, there are several outputs, or a number is not finite.
        ModuleNotFoundError: matplotlib is not installed.
    """
    true, said = _same_length(y, predicted)
    found = summarize_residuals(said, true)
    ax = get_axes(ax)
    ax.axhline(0.0, color=ax.xaxis.label.get_color(), linewidth=1.0, linestyle=":")
    ax.plot(said, true - said, color="C0", **_POINTS)
    ax.set(xlabel="predicted", ylabel="true - predicted")
    ax.set_title(f"mean {number(found.mean)}, standard deviation {number(found.std)}")
    return ax


def predictions(y: Any, predicted: Any, ax: Any = None) -> Any:
    """Draw the true numbers by the predicted ones; on the dotted line they are the same.

    Arguments, result and errors are those of :func:`residuals`.
    """
    true, said = _same_length(y, predicted)
    ax = get_axes(ax)
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    ax.plot(ends, ends, color=ax.xaxis.label.get_color(), linewidth=1.0, linestyle=":")
    ax.plot(said, true, color="C0", **_POINTS)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def _same_length(y: Any, predicted: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, said = number_column("y", y), number_column("predicted", predicted)
    if len(true) != len(said):
        raise ValueError(
            f"a true and a predicted number are needed for each row; there are {len(true)} and "
            f"{len(said)}"
        )
    return true, said
