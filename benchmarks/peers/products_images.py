"""The floor: the matrix products of a training step, of windows that are copied beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.peers.networks import ImageTask, Spec


def shapes(specs: tuple[Spec, ...], length: int, channels: int, batch: int) -> list[Any]:
    """Return (rows, inner, outputs) of each product of a forward pass; none of depthwise layers."""
    found: list[Any] = []
    for kind, *numbers in specs:
        match kind:
            case "conv" | "valid":
                outputs, size = numbers[:2]
                length = -(-length // numbers[2]) if kind == "conv" else length - size + 1
                found.append((batch * length * length, size * size * channels, outputs))
                channels = outputs
            case "depthwise":
                length = -(-length // numbers[1])
            case "pool":
                length //= 2
            case "residual":
                found += shapes(numbers[1], length, channels, batch)
                found += shapes(numbers[0], length, channels, batch)
                _, _, channels = found[-1]
                length = math.isqrt(found[-1][0] // batch)
            case "mean":
                length = 1
            case "flatten":
                channels, length = channels * length * length, 1
            case "dense":
                found.append((batch, channels, numbers[0]))
                (channels,) = numbers
    return found


class Products:
    """For each layer ``x @ W``, ``x.T @ dz`` and, but for the first, ``dz @ W.T``, in blocks."""

    BLOCK = 1 << 18  # bytes of a block of windows

    def __init__(self, task: ImageTask) -> None:
        assert task.network is not None
        side, _, channels = task.network.shape
        self.steps = task.steps
        self.products = []
        rng = np.random.default_rng(0)
        for i, (rows, inner, outputs) in enumerate(
            shapes(task.network.layers, side, channels, task.batch)
        ):
            part = max(1, min(rows, self.BLOCK // (4 * inner)))
            x, w, z = (
                rng.standard_normal(shape, dtype=np.float32)
                for shape in ((part, inner), (inner, outputs), (part, outputs))
            )
            calls = [(x, w, np.empty_like(z)), (x.T, z, np.empty_like(w))]
            calls += [(z, w.T, np.empty_like(x))] if i else []
            self.products.append((-(-rows // part), calls))

    def reset(self) -> None:
        """Nothing to do."""

    def run(self) -> float:
        """Do the products of all steps."""
        for _ in range(self.steps):
            for blocks, calls in self.products:
                for a, b, out in calls:
                    for _ in range(blocks):
                        np.matmul(a, b, out=out)
        return math.nan


CONVOLUTION = {"matrix products, numpy": Products}
