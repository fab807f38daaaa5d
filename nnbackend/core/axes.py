"""The axes of matplotlib that a figure is drawn in: the caller's, or new ones."""

from __future__ import annotations

from typing import Any

from nnbackend.errors import given

__all__ = ["get_axes", "line_style"]

_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("", "o", "s", "^", "D")


def line_style(i: int, points: int) -> dict[str, Any]:
    """Return the color of your style, dashes and marks of line ``i``; 20 lines differ without color.

    Args:
        i: the number of the line in the figure, from 0.
        points: how many it joins; about ten of them have a mark.
    """
    return {
        "color": f"C{i}",
        "linestyle": _DASHES[i % len(_DASHES)],
        "marker": _MARKERS[i // len(_DASHES) % len(_MARKERS)],
        "markevery": max(1, points // 10),
        "markersize": 5,
    }


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
