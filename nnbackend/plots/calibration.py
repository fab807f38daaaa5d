"""The calibration curve: how often happens what is said to be likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnbackend.analysis.calibration import Calibration, calibration_curve, top_label
from nnbackend.backends.host import to_host
from nnbackend.core.axes import get_axes
from nnbackend.core.text import number
from nnbackend.errors import counted
from nnbackend.plots.arrays import (
    class_numbers,
    number_column,
    probability_table,
    value_column,
)

__all__ = ["calibration"]


def calibration(
    labels: Any,
    probabilities: Any,
    classes: Sequence[Any] | None = None,
    *,
    bins: int = 10,
    ax: Any = None,
) -> Any:
    """Draw how often something happened by its predicted probability; on the dotted line it is right.

    The title has the expected calibration error: the mean distance from the line, over the rows.

    Args:
        labels: the class of each row, shape (rows,): whole numbers, texts or booleans.
        probabilities: for two classes that of the second one, shape (rows,) or (rows, 1). For any number
            of classes all of them, shape (rows, classes): of two the second counts, of several the
            predicted class, and whether it is the true one.
        classes: the classes, in the order of the columns; where they are texts, labels may be numbers,
            from 0. Default None: 0, 1, ...
        bins: how many bins of equal width there are between 0 and 1; default 10. Empty ones have no
            point.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes.

    Raises:
        ValueError: shapes do not fit, a value is no class, or a number is no probability.
        ModuleNotFoundError: matplotlib is not installed.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015; of several classes Guo et al., ICML 2017.
    """
    found, event = _measured(labels, probabilities, classes, bins)
    ax = get_axes(ax)
    ax.plot([0, 1], [0, 1], color=ax.xaxis.label.get_color(), linewidth=1.0, linestyle=":")
    ax.plot(found.predicted, found.observed, "o-", color="C0", clip_on=False)
    ax.set(xlabel="mean predicted probability", ylabel=event, xlim=(0, 1), ylim=(-0.02, 1.02))
    ax.set_title(f"expected calibration error {number(found.error)}")
    return ax


def _measured(
    labels: Any, probabilities: Any, classes: Sequence[Any] | None, bins: int
) -> tuple[Calibration, str]:
    """Return the calibration, and what happens, in words."""
    host = to_host(probabilities)
    column = {"labels": value_column("labels", labels)}
    if host.ndim == 2 and host.shape[1] > 1:
        table, known = probability_table("probabilities", host, classes)
    else:
        p = number_column("probabilities", host)
        table, known = np.stack([1.0 - p, p], axis=1), [0, 1] if classes is None else list(classes)
        if len(known) != 2:
            raise ValueError(
                f"one probability for each row is for two classes, and there are {len(known)}; several "
                "need probabilities of shape (rows, classes)"
            )
    (true,), _ = class_numbers(column, known)
    if len(true) != len(table):
        rows = counted(len(table), "row")
        raise ValueError(f"there are {len(true)} labels, and probabilities for {rows}")
    if len(known) > 2:
        return (
            calibration_curve(*top_label(table, true), bins),
            "how often the predicted class was right",
        )
    return calibration_curve(table[:, 1], true == 1, bins), "how often it happened"
