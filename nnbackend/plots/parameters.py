"""Weights and gradients of each layer over a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nnbackend.callbacks.record import Record
from nnbackend.core.axes import get_axes, line_style
from nnbackend.core.checks import check_choice
from nnbackend.errors import few, given, unknown_name

__all__ = ["parameters_over_time"]

_MOST_LINES = 20  # that can be told apart
_MOST_VALUES = 1000  # lines of single numbers


def parameters_over_time(
    record: Record,
    names: str | Iterable[str] | None = None,
    *,
    of: str = "weights",
    show: str = "norm",
    ax: Any = None,
) -> Any:
    """Draw what a run did to weights or gradients, by step.

    Norms are drawn on a logarithmic scale if none is 0: lines of gradients that fan out by layer are
    gradients that vanish or explode.

    Args:
        record: the callback that watched the run.
        names: dotted names of parameters, such as ``"0.weight"``, one or several; default None: all but
            biases.
        of: ``"weights"`` (the default) or ``"gradients"``, for which the record needs a probe.
        show: ``"norm"`` (the default): a line for each parameter, the root of the sum of its squares;
            ``"quantiles"``: of one parameter the median, and bands from quartile to quartile and from
            the smallest number to the largest; ``"values"``: of one parameter of weights each number,
            at most 1,000, which the record keeps of small networks.
        ax: the axes to draw in; default None: those of a new figure.

    Returns:
        the axes.

    Raises:
        ValueError: nothing was recorded, or not that; a name is unknown; or there are more than 20 norms
            or one name to show otherwise.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if not isinstance(record, Record):
        raise TypeError(f"record must be a callbacks.Record, got {given(record)}")
    check_choice("of", of, ("weights", "gradients"))
    check_choice("show", show, ("norm", "quantiles", "values"))
    recorded = _recorded(record, of, show)
    chosen = _chosen(recorded, names)
    if show == "norm":
        if len(chosen) > _MOST_LINES:
            raise ValueError(
                f"{len(chosen)} lines cannot be told apart; name at most {_MOST_LINES} parameters, "
                f"names=[...]; there are {few(list(recorded))}"
            )
        ax = _draw_norms(record.steps, {name: recorded[name] for name in chosen}, get_axes(ax))
    else:
        if len(chosen) != 1:
            raise ValueError(f"{show} are of one parameter: name it; there are {few(chosen)}")
        ax = _draw_numbers(record.steps, recorded[chosen[0]], chosen[0], show, get_axes(ax))
    ax.set(xlabel="step", ylabel=f"{show} of {of}" if show == "norm" else of)
    return ax


def _recorded(record: Record, of: str, show: str) -> Mapping[str, Any]:
    """Return what was recorded of each parameter."""
    if not len(record):
        raise ValueError("nothing was recorded yet: give the record to fit, callbacks=[record]")
    if show == "values":
        if of == "gradients":
            raise ValueError("of gradients norms and quantiles are recorded, no values")
        if not record.parameters:
            raise ValueError(f"the record has no values of parameters: {record.note}")
        return record.parameters
    if of == "weights":
        return record.weight_norms if show == "norm" else record.weight_quantiles
    found = record.gradient_norms if show == "norm" else record.gradient_quantiles
    if not found:
        raise ValueError("the record has no gradients: give it some rows, Record(probe=(x, y))")
    return found


def _chosen(recorded: Mapping[str, Any], names: str | Iterable[str] | None) -> list[str]:
    """Return the names of what is drawn."""
    if names is None:
        return [n for n in recorded if n.rpartition(".")[2] != "bias"] or list(recorded)
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    for name in wanted:
        if name not in recorded:
            raise unknown_name("parameter", name, recorded)
    if not wanted:
        raise ValueError("names must name parameters; got none")
    return wanted


def _draw_norms(steps: Any, norms: Mapping[str, Any], ax: Any) -> Any:
    for i, (name, values) in enumerate(norms.items()):
        ax.plot(steps, values, label=name, **line_style(i, len(steps)))
    if all((values > 0).all() for values in norms.values()):
        ax.set_yscale("log")
    ax.legend()
    return ax


def _draw_numbers(steps: Any, values: Any, name: str, show: str, ax: Any) -> Any:
    """Draw quantiles, of shape (moments, 5), or single numbers, of shape ``(moments, *shape)``."""
    ax.set_title(name)
    if show == "values":
        lines = values.reshape(len(steps), -1)
        if lines.shape[1] > _MOST_VALUES:
            raise ValueError(
                f"{name} has {lines.shape[1]:,} numbers, at most {_MOST_VALUES:,} are drawn one by "
                "one; show='quantiles' draws how they are spread"
            )
        ax.plot(steps, lines, linewidth=1.0)
        return ax
    low, first, median, third, high = values.T
    ax.fill_between(steps, low, high, color="C0", alpha=0.15, linewidth=0, label="all")
    ax.fill_between(steps, first, third, color="C0", alpha=0.35, linewidth=0, label="half of them")
    ax.plot(steps, median, color="C0", label="median")
    ax.legend()
    return ax
