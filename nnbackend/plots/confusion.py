"""The confusion matrix: how many rows of each class are taken for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.axes import get_axes
from nnbackend.core.checks import check_choice
from nnbackend.plots.arrays import class_numbers, escape_text, value_column

__all__ = ["confusion_matrix"]

_SUMS: dict[str, int | tuple[int, int]] = {"true": 1, "predicted": 0, "all": (0, 1)}
_MOST_NUMBERS = 20  # classes whose counts are written into the cells


def confusion_matrix(
    labels: Any,
    predicted: Any,
    classes: Sequence[Any] | None = None,
    *,
    normalize: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the confusion matrix: cell (i, j) has the rows of class i that were predicted as class j.

    Up to 20 classes the cells have their numbers; the darker, the more.

    Args:
        labels: the true class of each row, shape (rows,): whole numbers or texts.
        predicted: the predicted class of each row, likewise.
        classes: the classes, in the order of the matrix; where they are texts, labels may be numbers,
            from 0. Default None: those that occur, sorted.
        normalize: ``"true"``: shares of the rows of a true class, whose diagonal is the recall;
            ``"predicted"``: of a predicted class, its precision; ``"all"``: of all rows. Default None:
            counts. Where there are no rows, the share is 0.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes; ``ax.images[0].get_array()`` is the matrix.

    Raises:
        ValueError: lengths differ, or a value is no class.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if normalize is not None:
        check_choice("normalize", normalize, tuple(_SUMS))
    columns = {
        "labels": value_column("labels", labels),
        "predicted": value_column("predicted", predicted),
    }
    (true, said), known = class_numbers(columns, classes)
    count = len(known)
    matrix: NDArray[Any] = np.bincount(true * count + said, minlength=count * count)
    matrix = matrix.reshape(count, count)
    if normalize is not None:
        sums = matrix.sum(axis=_SUMS[normalize], keepdims=True)
        matrix = np.divide(matrix, sums, out=np.zeros((count, count)), where=sums > 0)
    ax = get_axes(ax)
    image = ax.imshow(matrix, cmap="Blues", vmin=0)
    names = [escape_text(str(name)) for name in known]
    ax.set(xlabel="predicted class", ylabel="true class")
    if count > _MOST_NUMBERS:
        ax.figure.colorbar(image, ax=ax, label="rows" if normalize is None else "share of rows")
        return ax
    slanted = {"rotation": 45, "horizontalalignment": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(count), names, **(slanted if max(map(len, names)) > 3 else {}))
    ax.set_yticks(range(count), names)
    ax.grid(False)
    _write_numbers(ax, matrix)
    return ax


def _write_numbers(ax: Any, matrix: NDArray[Any]) -> None:
    """Write into each cell its number, light on the dark ones."""
    shares = matrix.dtype.kind == "f"
    for (i, j), value in np.ndenumerate(matrix):
        ax.text(
            j,
            i,
            f"{value:.2f}" if shares else f"{value}",
            color="white" if value > 0.6 * matrix.max() else "black",
            horizontalalignment="center",
            verticalalignment="center",
        )
