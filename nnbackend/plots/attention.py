"""Attention: how much each query looks at each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.backends.host import to_host
from nnbackend.core.axes import get_axes
from nnbackend.core.checks import check_size
from nnbackend.errors import listed
from nnbackend.inspection.observe import Passage
from nnbackend.plots.arrays import escape_text, number_matrix

__all__ = ["attention"]

_MOST_NAMES = 60  # beside each other they can still be read


def attention(
    weights: Any,
    queries: Sequence[Any] | None = None,
    keys: Sequence[Any] | None = None,
    *,
    row: int = 0,
    head: int = 0,
    note: str = "attention",
    ax: Any = None,
) -> Any:
    """Draw a matrix of attention weights: queries down, keys across; the darker, the more.

    Args:
        weights: shape (queries, keys), not negative; or what :func:`nnbackend.observe` saw pass a layer
            that noted its weights, ``ctx.note("attention", weights)``, of shape (batch, queries, keys)
            or (batch, heads, queries, keys).
        queries: a text for each query, such as the words; default None: numbers from 0.
        keys: likewise for the keys; default None: those of the queries if there are as many keys, else
            numbers from 0.
        row: of a passage, the row of the batch; default 0.
        head: of a passage with heads, which one; default 0. The title says it.
        note: of a passage, the name of the note; default ``"attention"``.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes; ``ax.images[0].get_array()`` is the matrix.

    Raises:
        ValueError: the shape is another one, a weight is negative or not finite, there are more or fewer
            texts than queries or keys, or the passage has no such note, row or head.
        ModuleNotFoundError: matplotlib is not installed.
    """
    title = ""
    if isinstance(weights, Passage):
        weights, title = _noted(weights, note, row, head)
    matrix = number_matrix("weights", weights, "(queries, keys)")
    if matrix.min() < 0.0:
        raise ValueError(
            "attention weights are not negative: give them after the softmax, not scores"
        )
    if keys is None and matrix.shape[0] == matrix.shape[1]:
        keys = queries
    names = [_names(what, given, count) for what, given, count in
             (("queries", queries, matrix.shape[0]), ("keys", keys, matrix.shape[1]))]  # fmt: skip
    ax = get_axes(ax)
    image = ax.imshow(matrix, cmap="Greys", vmin=0.0)
    ax.figure.colorbar(image, ax=ax, label="attention weight")
    ax.grid(False)
    ax.set(xlabel="key", ylabel="query", title=title)
    if names[0]:
        ax.set_yticks(range(len(names[0])), names[0])
    if names[1]:
        ax.set_xticks(range(len(names[1])), names[1], rotation=90)
    return ax


def _noted(passage: Passage, note: str, row: int, head: int) -> tuple[NDArray[Any], str]:
    """Return the weights that a layer noted, of one row and head, and which these are."""
    if note not in passage.notes:
        raise ValueError(
            f"layer {passage.path} noted no {note!r} in this pass; it noted: "
            f"{listed(passage.notes) or 'nothing'}. A layer does it by ctx.note({note!r}, weights)"
        )
    noted = to_host(passage.notes[note])
    if noted.ndim not in (3, 4):
        raise ValueError(
            f"{note!r} of layer {passage.path} must have shape (batch, queries, keys) or (batch, heads, "
            f"queries, keys), got {noted.shape}"
        )
    title = f"layer {passage.path}, row {row}"
    chosen = _one(noted, "row", row)
    if noted.ndim == 4:
        title += f", head {head} of {len(chosen)}"
        chosen = _one(chosen, "head", head)
    return chosen, title


def _one(arrays: NDArray[Any], name: str, place: int) -> NDArray[Any]:
    if check_size(name, place, least=0) >= len(arrays):
        raise ValueError(f"{name} must be below {len(arrays)}, got {place}")
    chosen: NDArray[np.float64] = arrays[place]
    return chosen


def _names(what: str, texts: Sequence[Any] | None, count: int) -> list[str]:
    """Return the texts at an axis; none if there are none, or too many to read."""
    if texts is not None and len(texts) != count:
        raise ValueError(
            f"{what} must be {count} texts, one for each line of the matrix; got {len(texts)}"
        )
    return [] if texts is None or count > _MOST_NAMES else [escape_text(str(t)) for t in texts]
