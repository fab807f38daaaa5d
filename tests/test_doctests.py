"""The examples in docstrings, which show values."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import nnbackend as nnb

PACKAGES = ("core", "losses", "optimizers", "schedules", "activations", "regularizers")


def _modules() -> list[str]:
    names = []
    for name in PACKAGES:
        module = importlib.import_module(f"nnbackend.{name}")
        names.append(module.__name__)
        path = getattr(module, "__path__", [])
        names += [found.name for found in pkgutil.walk_packages(path, f"{module.__name__}.")]
    return names


@pytest.mark.parametrize("name", _modules())
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    known = (
        {"np": np, "nnb": nnb}
        | {name: getattr(nnb, name) for name in nnb.__all__}
        | {"L2": nnb.regularizers.L2}
    )
    assert doctest.testmod(module, extraglobs=known).failed == 0


REGISTRIES = [
    nnb.losses.LOSSES,
    nnb.schedules.SCHEDULES,
    nnb.optimizers.OPTIMIZERS,
    nnb.optimizers.WRAPPERS,
]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_each_has_an_example(registry):
    own = [
        registry[name] for name in registry if registry[name].__module__.startswith("nnbackend.")
    ]
    missing = [cls.__name__ for cls in own if ">>>" not in (cls.__doc__ or "")]
    assert not missing
