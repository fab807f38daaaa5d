"""The contestants, a file for each library.

A peer's module has tables of factories by name, ``STEPS``, ``FIT`` and ``PREDICT``, and those for a
GPU, ``GPU_STEPS`` and so on; each takes a :class:`~benchmarks.work.Task`. A library that is not
installed is left out.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.peers import nnb, products
from benchmarks.timing import Contestant, Options
from benchmarks.work import Task

_PEERS = ("scikit_learn", "pytorch", "jax_by_hand", "thinc_peer", "numpy_by_hand")


def contestants(kind: str, options: Options) -> dict[str, Callable[[Task], Contestant]]:
    """Return factories for ``"STEPS"``, ``"FIT"``, ``"GPU_STEPS"`` ..., nnbackend's first."""
    found: dict[str, Any] = nnb.factories(kind, options)
    for peer in _PEERS:
        try:
            module = importlib.import_module(f"benchmarks.peers.{peer}")
        except ImportError as error:
            options.left_out[peer] = f"not installed ({error.name})"
            continue
        found |= getattr(module, kind, {})
    if kind.endswith("STEPS"):
        found |= products.factories(options)
    return found


def entered(kind: str, task: Task, options: Options) -> dict[str, Callable[[], Contestant]]:
    """Return what :func:`benchmarks.timing.race` takes for a task."""
    return {name: partial(make, task) for name, make in contestants(kind, options).items()}


def release() -> None:
    """Give back the memory that libraries keep of contestants that are gone."""
    gc.collect()
    for name in ("nnb", *_PEERS):
        module = sys.modules.get(f"benchmarks.peers.{name}")
        if hasattr(module, "release"):
            module.release()
