"""nnbackend on images."""

from __future__ import annotations

from typing import Any

import nnbackend as nnb
from benchmarks.peers.networks import ImageTask, Spec
from benchmarks.peers.nnb import LOSS, backend_for, wait


def layers(specs: tuple[Spec, ...]) -> list[Any]:
    """Return the layers of a network; an activation is fused into the layer before it."""
    found: list[Any] = []
    for i, (kind, *numbers) in enumerate(specs):
        following = specs[i + 1][0] if i + 1 < len(specs) else ""
        activation = "relu" if following == "relu" else None
        bias = following != "norm"
        match kind:
            case "conv":
                outputs, size, stride = numbers
                found.append(
                    nnb.Conv2D(outputs, size, stride, size // 2, activation=activation, bias=bias)
                )
            case "valid":
                found.append(nnb.Conv2D(*numbers, activation=activation, bias=bias))
            case "depthwise":
                size, stride = numbers
                found.append(nnb.DepthwiseConv2D(size, 1, stride, size // 2, bias=bias))
            case "norm":
                found.append(nnb.BatchNorm())
            case "relu":
                if specs[i - 1][0] in ("norm", "residual"):
                    found.append(nnb.Activation("relu"))
            case "pool":
                found.append(nnb.MaxPool2D(2))
            case "residual":
                inner, shortcut = numbers
                branches = [nnb.Sequential(layers(inner)), nnb.Sequential(layers(shortcut))]
                found.append(
                    nnb.Parallel(branches, "add") if shortcut else nnb.Residual(layers(inner))
                )
            case "mean":
                found.append(nnb.GlobalAveragePool2D())
            case "flatten":
                found.append(nnb.Flatten())
            case "dense":
                found.append(nnb.Dense(*numbers, activation=activation))
    return found


class Steps:
    """``fit`` over batches that are different each time, in their order."""

    def __init__(self, task: ImageTask, backend: str) -> None:
        assert task.network is not None
        self.task = task
        self.net = nnb.Network(
            layers(task.network.layers),
            backend=backend_for(task, backend),
            input_shape=task.network.shape,
        )
        own = self.net.backend
        self.x, self.y = own.asarray(task.x), own.asarray(task.y, dtype=own.xp.int32)
        self.start = self.net.state_dict()

    def reset(self) -> None:
        """Take the initial weights."""
        self.net.load_state_dict(self.start)
        self.net.backend.synchronize()

    def run(self) -> float:
        """Train for an epoch."""
        history = self.net.fit(
            self.x, self.y, loss=LOSS, optimizer=nnb.Adam(self.task.rate), epochs=1,
            batch_size=self.task.batch, shuffle=False, verbose=0,
        )  # fmt: skip
        wait(self.net)
        return history["loss"][-1]
