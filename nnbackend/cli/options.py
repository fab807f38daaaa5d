"""A command's options, declared once: each is a field of a dataclass that the rest of the code uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, field, fields
from functools import partial
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

__all__ = [
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
HELP_PANELS = (
    "The data", "The network", "The training", "The run", "Where it runs", "The result",
)  # fmt: skip


def _field(
    panel: str,
    default: Any,
    help: str,
    *names: str,
    read: Callable[[Any], Any] | None = None,
    typed: type = str,
    **declared: Any,
) -> Any:
    """Return a dataclass's field that is an option; ``read`` makes its value of what is typed.

    What is typed is a text, or with the type ``list[str]`` one each time the option is given.
    """
    option = typer.Option(*names, help=help, rich_help_panel=panel, **declared)
    return field(default=default, metadata={"option": option, "read": read, "typed": typed})


(data_option, network_option, training_option, run_option, where_option, result_option) = (
    partial(_field, panel) for panel in HELP_PANELS
)


def takes_options(*classes: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each field of dataclasses.

    The command is called with the options by name, beside those that it has in its own signature; see
    :func:`build_from_options`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is not p.VAR_KEYWORD]
        parameters += [p for cls in classes for p in _parameters(cls)]
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
    for declared in fields(cls):  # type: ignore[arg-type]
        value, read = options[declared.name], declared.metadata.get("read")
        values[declared.name] = value if read is None or value is None else read(value)
    return cls(**values)


def _parameters(cls: type) -> list[inspect.Parameter]:
    hints = get_type_hints(cls, include_extras=True)
    parameters = []
    for declared in fields(cls):
        kind, default = hints[declared.name], declared.default
        option, read = declared.metadata.get("option"), declared.metadata.get("read")
        if option is not None:  # else the type is annotated with one that several commands have
            typed = declared.metadata["typed"] | None if read else kind
            kind = Annotated[typed, option]
        if read is not None and isinstance(default, Sequence):
            default = ",".join(map(str, default))
        parameters.append(
            inspect.Parameter(
                declared.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is MISSING else default,
                annotation=kind,
            )
        )
    return parameters


def _panel_number(parameter: inspect.Parameter) -> int:
    option = (*get_args(parameter.annotation), None)[1:2]  # the context of a call is no option
    panel = getattr(option[0] if option else None, "rich_help_panel", None)
    return HELP_PANELS.index(panel) if panel in HELP_PANELS else len(HELP_PANELS)
