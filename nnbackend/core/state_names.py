"""The names that parameters and the state of layers have in one dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["known_name", "state_name"]

_PREFIX = "state."


def state_name(name: str, params: Mapping[str, Any]) -> str:
    """Return the name of an array of state: with a prefix where a parameter is called alike."""
    return f"{_PREFIX}{name}" if name in params else name


def known_name(name: str, own: Mapping[str, Any]) -> str:
    """Return the name by which a network knows an array; earlier versions put a prefix before state."""
    short = name.removeprefix(_PREFIX)
    return short if name not in own and short in own else name
