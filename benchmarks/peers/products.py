"""The floor: the matrix products of a training step and nothing else, into arrays that are there."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.nnb import backend_for
from benchmarks.timing import Options
from benchmarks.work import Task


def factories(options: Options) -> dict[str, Callable[..., Any]]:
    """Return the products in each library that writes into given arrays."""
    return {
        f"matrix products, {backend}": partial(Products, backend=backend)
        for backend in ("numpy", "torch", "cupy")
        if backend in options.backends
    }


class Products:
    """For each layer ``x @ W``, ``x.T @ dz`` and, but for the first, ``dz @ W.T``."""

    def __init__(self, task: Task, backend: str) -> None:
        self.backend = own = backend_for(task, backend)
        self.steps = task.steps
        forward, reverse = [], []
        with own.scope():
            x = self._brought(task.x[: task.batch])
            for weight, _ in task.weights:
                w = self._brought(weight)
                z, dw = x @ w, x.T @ (x @ w)
                forward.append((x, w, z))
                back = [(x.T, z, dw)]
                if forward[:-1]:  # not the first layer
                    back.append((z, w.T, z @ w.T))
                reverse = back + reverse
                x = z * (1.0 / math.sqrt(float((z * z).mean())))  # numbers of an ordinary size
        self.products = forward + reverse
        self.matmul = own.xp.matmul
        if backend == "torch":
            import torch

            self.matmul = torch.mm

    def _brought(self, array: np.ndarray[Any, Any]) -> Any:
        """Return a copy where the products are computed, in what they are computed in."""
        return self.backend.asarray(array.copy())

    def reset(self) -> None:
        """Nothing to do."""

    def run(self) -> float:
        """Do the products of all steps."""
        matmul, products = self.matmul, self.products
        with self.backend.scope():
            for _ in range(self.steps):
                for a, b, out in products:
                    matmul(a, b, out=out)
        self.backend.synchronize()
        return math.nan
