"""The floor: the matrix products of a training step and nothing else, into arrays that are there."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

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
        self.steps = task.steps * task.epochs
        forward, reverse = [], []

        def rounded(array: Any) -> Any:
            """Return an array in what products are computed in."""
            return own.xp.astype(array, own.product_dtype, copy=False)

        with own.scope():
            x = own.asarray(task.x[: task.batch].copy())
            for weight, _ in task.weights:
                w = own.asarray(weight.copy())
                z = x @ w
                left, right, out = rounded(x), rounded(w), rounded(z)
                forward.append((left, right, out))
                back = [(left.T, out, rounded(x.T @ z))]
                if forward[:-1]:  # not the first layer
                    back.append((out, right.T, rounded(z @ w.T)))
                reverse = back + reverse
                x = z * (1.0 / math.sqrt(float(own.xp.mean(z * z))))  # numbers of an ordinary size
        self.products = forward + reverse
        self.matmul = own.xp.matmul
        if backend == "torch":
            import torch

            self.matmul = torch.mm

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
