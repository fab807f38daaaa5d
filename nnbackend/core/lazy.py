"""Modules that are loaded when something in them is first used, which keeps the import short."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], Any]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, see :pep:`562`.

    Args:
        package: the name of the package.
        names: for each public name the module of the package that has it, or the module that it is.
    """

    def load(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{names[name]}")
        value = getattr(module, name, module)
        setattr(sys.modules[package], name, value)  # found by itself from now on
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *names})
