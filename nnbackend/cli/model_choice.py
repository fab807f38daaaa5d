"""Which network ``nnbackend train`` takes for a table: one of those for tables, or the plain one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace

from nnbackend.cli.settings import Settings
from nnbackend.errors import few
from nnbackend.tables.model import LOSSES
from nnbackend.tables.table import warn
from nnbackend.tabular.recipe import MODELS as TABLE_MODELS

__all__ = [
    "TABLE_OPTIONS",
    "TABLE_SETTINGS",
    "check_model_options",
    "choose_model",
    "is_for_tables",
]

_PLAIN_OPTIONS = (
    "scale", "stream", "activation", "output_activation", "bias", "init", "dropout", "optimizer",
    "momentum", "weight_decay", "l1", "l2", "clip_norm", "ema", "accumulate", "schedule", "warmup",
)  # fmt: skip
TABLE_OPTIONS = ("preset", "folds", "members", "quantiles")
"""The options that only networks for tables have."""

_ARRAY_OPTIONS = ("channels", "augment")
TABLE_SETTINGS = [
    field.name for field in fields(Settings) if field.name not in (*_PLAIN_OPTIONS, *_ARRAY_OPTIONS)
]
"""The settings that networks for tables have."""

_USUAL_LOSSES = [losses[0] for losses in LOSSES.values()]


def check_model_options(settings: Settings, given: Collection[str]) -> None:
    """Refuse options that the chosen model does not have, and those of two kinds of models.

    Args:
        settings: the settings.
        given: the names of the options that were given, rather than left at their defaults.

    Raises:
        ValueError: there is one; the message names it.
    """
    plain, of_tables = _plain_options(settings, given), _options(TABLE_OPTIONS, given)
    if settings.model in TABLE_MODELS:
        if plain:
            raise ValueError(
                f"{plain[0]} is for --model mlp, and --model {settings.model} has a recipe of its own: "
                "leave one of them out"
            )
        return
    if of_tables and (plain or settings.model is not None):
        other = f"--model {settings.model}" if settings.model else f"{plain[0]}, which is for mlp"
        raise ValueError(
            f"{of_tables[0]} is for the models {', '.join(TABLE_MODELS)}; it does not go with {other}"
        )


def choose_model(settings: Settings, given: Collection[str]) -> Settings:
    """Return settings for a table with their model: the plain one where an option asks for it.

    Without a model or such an option the model stays None: the preset chooses it.

    Args:
        settings: the settings, checked by :func:`check_model_options`.
        given: see there.
    """
    if settings.model is not None:
        return settings
    plain = _plain_options(settings, given)
    if not plain:
        return settings
    verb = "belongs" if len(plain) == 1 else "belong"
    warn(
        f"{few(plain, 3)} {verb} to the plain network, which is taken: --model mlp. Without such "
        "options a network for tables is taken, which is better for most"
    )
    return replace(settings, model="mlp")


def is_for_tables(settings: Settings) -> bool:
    """Return whether settings of a table, with their model chosen, are for a network of a recipe."""
    return settings.model is None or settings.model in TABLE_MODELS


def _plain_options(settings: Settings, given: Collection[str]) -> list[str]:
    """Return the options given that the plain network alone has."""
    found = _options(_PLAIN_OPTIONS, given)
    if "bias" in given and not settings.bias:
        found[found.index("--bias")] = "--no-bias"
    if settings.hidden is not None and not settings.hidden:
        found.append("--hidden none")
    if settings.loss is not None and settings.loss not in _USUAL_LOSSES:
        found.append(f"--loss {settings.loss}")
    return found


def _options(names: Collection[str], given: Collection[str]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if name in given]
