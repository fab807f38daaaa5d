"""The axes of matplotlib that a figure is drawn in: the caller's, or new ones."""

from __future__ import annotations

from typing import Any

from nnbackend.errors import given

__all__ = ["LINE_STYLES", "get_axes"]

LINE_STYLES = ("-", "--", "-.", ":")
"""So that lines are told apart without color: line ``i`` has color ``C{i}`` and style ``i % 4``."""


def get_axes(ax: Any = None) -> Any:
    """Return the axes to draw in: ``ax``, or those of a new figure of pyplot.

    A new figure is pyplot's so that notebooks and ``plt.show()`` show it; ``plt.close(ax.figure)`` frees
    it. With ``ax`` pyplot is not even imported. No setting of matplotlib is changed in either case.

    Args:
        ax: axes of matplotlib; None (the default): new ones.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
        TypeError: ``ax`` is something else.
    """
    try:
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "figures need matplotlib, which is not installed; run: pip install 'nnbackend[plot]'",
            name="matplotlib",
        ) from error
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be one Axes of matplotlib, got {given(ax)}")
    return ax
