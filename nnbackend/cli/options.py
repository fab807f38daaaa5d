"""A command's options, declared once: each is a field of a dataclass that the rest of the code uses.

A field is ``Annotated`` with typer's description of the option, and with :class:`Text` where what is
typed is not yet the field's value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

__all__ = [
    "Text",
    "build_from_options",
    "data_option",
    "network_option",
    "result_option",
    "run_option",
    "takes_options",
    "training_option",
    "where_option",
]

T = TypeVar("T")

# The help lists the options in panels, in this order.
_HELP_PANELS = (
    "The data", "The network", "The training", "The run", "Where it runs", "The result",
)  # fmt: skip
(data_option, network_option, training_option, run_option, where_option, result_option) = (
    partial(typer.Option, rich_help_panel=panel) for panel in _HELP_PANELS
)


@dataclass(frozen=True)
class Text:
    """Marks a field whose option is a text.

    Attributes:
        read: returns the field's value for the text, or raises a ValueError that says what is wrong.
    """

    read: Callable[[str], Any]


def takes_options(*classes: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each field of dataclasses.

    The command is called with the options by name; see :func:`build_from_options`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = [p for cls in classes for p in _parameters(cls)]
        parameters.sort(key=_panel_number)
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def build_from_options(cls: type[T], options: Mapping[str, Any]) -> T:
    """Return a dataclass made of those of a command's options that are its fields.

    Raises:
        ValueError: a text, or a value, is not what the field takes.
    """
    values = {}
    for name, (_, text) in _declarations(cls).items():
        value = options[name]
        values[name] = value if text is None or value is None else text.read(value)
    return cls(**values)


def _declarations(cls: type) -> dict[str, tuple[Any, Text | None]]:
    """Return for each field its option for typer, and the reader of its text."""
    hints = get_type_hints(cls, include_extras=True)
    found: dict[str, tuple[Any, Text | None]] = {}
    for name in (field.name for field in fields(cls)):
        kind, option, *texts = get_args(hints[name])
        found[name] = Annotated[str | None if texts else kind, option], texts[0] if texts else None
    return found


def _parameters(cls: type) -> list[inspect.Parameter]:
    defaults = {field.name: field.default for field in fields(cls)}
    parameters = []
    for name, (annotation, text) in _declarations(cls).items():
        default = defaults[name]
        if text is not None and isinstance(default, Sequence):
            default = ",".join(map(str, default))
        if default is MISSING:
            default = inspect.Parameter.empty
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
    return parameters


def _panel_number(parameter: inspect.Parameter) -> int:
    panel = getattr(get_args(parameter.annotation)[1], "rich_help_panel", None)
    return _HELP_PANELS.index(panel) if panel in _HELP_PANELS else len(_HELP_PANELS)
