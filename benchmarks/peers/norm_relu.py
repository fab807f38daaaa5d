"""Batch norm with ReLU, forward and backward, and the memory that its formula goes over."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

SHAPES = {"32 x 32 x 32 x 16": (32, 32, 32, 16), "32 x 16 x 16 x 64": (32, 16, 16, 64)}
READS, WRITES = 6, 2
"""How often an array of that size has to be gone over.

Read: the input for its mean, for its variance, and to be normalized; the output's gradient and the
normalized input for two sums, and the gradient once more. Written: the output and the input's gradient.
"""


class Ours:
    """The two layers in a training step, on NumPy."""

    def __init__(self, shape: tuple[int, ...], calls: int) -> None:
        import nnbackend as nnb
        from nnbackend.core.types import Context

        self.calls, rng = calls, np.random.default_rng(0)
        layers = [nnb.BatchNorm(), nnb.Activation("relu")]
        net = nnb.Network(layers, input_shape=shape[1:], seed=0)
        self.net, self.context = net, Context
        self.x = rng.standard_normal(shape, dtype=np.float32)
        self.dy = rng.standard_normal(shape, dtype=np.float32)

    def reset(self) -> None:
        """Nothing to do."""

    def run(self) -> float:
        """Go forward and backward."""
        net = self.net
        for step in range(self.calls):
            ctx = self.context(net.backend, True, (0, 0), step, net.state)
            _, backward = net.layers.forward(net.params, self.x, ctx)
            dx, _ = backward(self.dy)
        return float(dx[0, 0, 0, 0])


class Theirs:
    """PyTorch, channels last."""

    def __init__(self, shape: tuple[int, ...], calls: int) -> None:
        import torch
        from torch import nn

        self.calls, generator = calls, torch.Generator().manual_seed(0)
        rows, height, width, channels = shape
        self.layers = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        x, dy = (torch.randn(rows, channels, height, width, generator=generator) for _ in range(2))
        last = torch.channels_last
        self.x = x.contiguous(memory_format=last).requires_grad_()
        self.dy = dy.contiguous(memory_format=last)

    def reset(self) -> None:
        """Nothing to do."""

    def run(self) -> float:
        """Go forward and backward."""
        for _ in range(self.calls):
            self.x.grad = None
            self.layers(self.x).backward(self.dy)
        return math.nan


class Floor:
    """Reading and writing as often as the formula has to."""

    def __init__(self, shape: tuple[int, ...], calls: int) -> None:
        rng = np.random.default_rng(0)
        self.calls = calls
        self.arrays = [rng.standard_normal(shape, dtype=np.float32) for _ in range(3)]

    def reset(self) -> None:
        """Nothing to do."""

    def run(self) -> float:
        """Read arrays by their sums, and write them by copies, which read once more."""
        x, dy, out = self.arrays
        for _ in range(self.calls):
            for i in range(READS - WRITES):
                np.add.reduce((x, dy)[i % 2], axis=None)
            for i in range(WRITES):
                np.copyto(out, (x, dy)[i % 2])
        return math.nan


MAKERS: dict[str, Any] = {
    "nnbackend numpy": Ours,
    "PyTorch, channels last": Theirs,
    "reading and writing, numpy": Floor,
}
