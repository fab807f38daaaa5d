"""Draw how the loss and the metrics change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nnbackend.core.axes import get_axes, line_style
from nnbackend.core.text import metric_name
from nnbackend.errors import given, unknown_name

if TYPE_CHECKING:
    from nnbackend.core.history import History

__all__ = ["curves"]

_VALIDATION = "validation_"


def curves(
    history: History | Mapping[str, Any] | Iterable[Any],
    names: str | Iterable[str] | None = None,
    ax: Any = None,
) -> Any:
    """Draw training and validation curves: values by epoch, the latter as ``validation_`` and the name.

    Lines have the colors of your style, and differ without color, too.

    Args:
        history: the record of a run, what :meth:`nnbackend.Network.fit` returns; a dictionary of
            equally long lists, with ``"epoch"`` among them; or several of either, whose curves
            share a color.
        names: a name, such as ``"accuracy"``, or several; default None: ``"loss"``.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes.

    Raises:
        ValueError: there are no epochs, or none of the records has a name.
        ModuleNotFoundError: matplotlib is not installed.
    """
    histories: list[Any] = [history] if hasattr(history, "keys") else _several(history)
    if not any(len(each["epoch"]) for each in histories):
        raise ValueError("there are no epochs to draw: the record is empty")
    chosen = _chosen(histories, names)
    ax = get_axes(ax)
    lines = [column for name in chosen for column in _columns(name) if _having(histories, column)]
    for i, column in enumerate(lines):
        part = "validation" if column.startswith(_VALIDATION) else "training"
        label = part if len(chosen) == 1 else metric_name(column)
        drawn = _having(histories, column)
        for j, each in enumerate(drawn):
            style = line_style(i, len(each["epoch"]))
            if len(each["epoch"]) == 1:
                style["marker"] = "o"  # a line of one point is not seen
            width = 2.0 if len(drawn) == 1 else 1.0
            ax.plot(
                each["epoch"], each[column], linewidth=width, label=None if j else label, **style
            )
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="epoch", ylabel=metric_name(chosen[0]) if len(chosen) == 1 else "")
    if len(lines) > 1:
        ax.legend()
    return ax


def _several(histories: Any) -> list[Any]:
    """Return several records as a list; something else is an error."""
    several = list(histories) if isinstance(histories, Iterable) else []
    if not several or not all(hasattr(each, "keys") for each in several):
        raise TypeError(f"history must be a History, or several, got {given(histories)}")
    return several


def _chosen(histories: list[Any], names: str | Iterable[str] | None) -> list[str]:
    """Return the names to draw, none twice."""
    wanted = [names] if isinstance(names, str) else list(("loss",) if names is None else names)
    if not wanted:
        raise ValueError("names must name what is drawn, such as 'loss'; got none")
    for name in wanted:
        if not _having(histories, name):
            raise unknown_name("metric", name, {key for each in histories for key in each})
    drawn = dict.fromkeys(wanted)
    return [
        n for n in drawn if n.removeprefix(_VALIDATION) == n or n[len(_VALIDATION) :] not in drawn
    ]


def _columns(name: str) -> tuple[str, ...]:
    return (name,) if name.startswith(_VALIDATION) else (name, _VALIDATION + name)


def _having(histories: list[Any], column: str) -> list[Any]:
    return [each for each in histories if column in each]
