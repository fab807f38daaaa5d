"""Vectors in two dimensions: the plane in which they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.axes import get_axes
from nnbackend.plots.arrays import class_numbers, escape_text, number_matrix, value_column

__all__ = ["embedding"]

_MARKERS = "os^DvP*X<>"
_MOST_CLASSES = 2 * len(_MARKERS)  # full and hollow


def embedding(
    vectors: Any,
    labels: Any = None,
    *,
    names: Sequence[Any] | None = None,
    ax: Any = None,
) -> Any:
    """Draw vectors along their first two principal axes, with the share of the variance that each has.

    The mean is at (0, 0). What lies near each other here may be far apart in the other dimensions: look
    at the shares.

    Args:
        vectors: shape (vectors, dimensions): the table of an Embedding layer,
            ``net.params["0"]["weight"]``, or the outputs of a layer, ``nnb.observe(net, x)[i].y``.
        labels: a class for each vector, told apart by marker and color; default None.
        names: a text for each vector, written beside it, such as the words; default None.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes, with a line of markers for each class.

    Raises:
        ValueError: there are fewer than two vectors or dimensions, all vectors are the same, a number is
            not finite, lengths differ, or there are more than 20 classes.
        ModuleNotFoundError: matplotlib is not installed.

    Source: Pearson, Philosophical Magazine 1901: principal components, computed by NumPy's SVD.
    """
    points, shares = _principal(number_matrix("vectors", vectors, "(vectors, dimensions)"))
    groups, known = np.zeros(len(points), np.int64), [""]
    if labels is not None:
        (groups,), known = class_numbers({"labels": value_column("labels", labels)}, None)
    given = {"labels": len(groups), "names": len(points if names is None else names)}
    for what, count in given.items():
        if count != len(points):
            raise ValueError(f"{what} must be {len(points)}, one for each vector; got {count}")
    if len(known) > _MOST_CLASSES:
        raise ValueError(
            f"{len(known)} classes cannot be told apart by marker; at most {_MOST_CLASSES}: "
            "write them beside the points, names="
        )
    ax = get_axes(ax)
    for i, name in enumerate(known):
        x, y = points[groups == i].T
        fill = "full" if i < len(_MARKERS) else "none"
        ax.plot(x, y, linestyle="", marker=_MARKERS[i % len(_MARKERS)], fillstyle=fill,
                color=f"C{i}", markersize=5, label=escape_text(str(name)))  # fmt: skip
    if names is not None:
        ax.margins(0.15)  # so that texts at the edges have room
        for text, point in zip(names, points, strict=True):
            ax.annotate(escape_text(str(text)), point, xytext=(4, 4), textcoords="offset points")
    first, second = (
        f"principal axis {i}: {s:.0%} of the variance" for i, s in enumerate(shares, 1)
    )
    ax.set(xlabel=first, ylabel=second)
    if labels is not None:
        ax.legend()
    return ax


def _principal(
    vectors: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return vectors along their first two principal axes, and their shares of the variance.

    The sign of an axis is that which makes its largest component positive.
    """
    if min(vectors.shape) < 2:
        raise ValueError(
            f"two vectors and two dimensions are needed at least; got shape {vectors.shape}"
        )
    centered = vectors - vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    total = np.sum(sizes**2)
    if not sizes[0] > 1e-12 * np.abs(vectors).max():
        raise ValueError("all vectors are the same: there is no axis along which they differ")
    axes = axes[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return centered @ (axes * np.sign(largest)).T, sizes[:2] ** 2 / total
