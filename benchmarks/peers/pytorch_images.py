"""PyTorch on images, channels first, as it wants them, and last, which is faster."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from benchmarks.peers.networks import ImageTask, Spec


class Residual(nn.Module):
    """Two branches, added up."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.inner, self.shortcut = inner, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        y: torch.Tensor = self.inner(x) + self.shortcut(x)
        return y


def module(specs: tuple[Spec, ...], channels: int, length: int) -> tuple[nn.Sequential, int, int]:
    """Return the network, and the channels and the length of its outputs."""
    found: list[nn.Module] = []
    for i, (kind, *numbers) in enumerate(specs):
        bias = i + 1 == len(specs) or specs[i + 1][0] != "norm"
        match kind:
            case "conv":
                outputs, size, stride = numbers
                found.append(nn.Conv2d(channels, outputs, size, stride, size // 2, bias=bias))
                channels, length = outputs, -(-length // stride)
            case "valid":
                outputs, size = numbers
                found.append(nn.Conv2d(channels, outputs, size, bias=bias))
                channels, length = outputs, length - size + 1
            case "depthwise":
                size, stride = numbers
                found.append(
                    nn.Conv2d(
                        channels, channels, size, stride, size // 2, groups=channels, bias=bias
                    )
                )
                length = -(-length // stride)
            case "norm":
                found.append(nn.BatchNorm2d(channels))
            case "relu":
                found.append(nn.ReLU())
            case "pool":
                found.append(nn.MaxPool2d(2))
                length //= 2
            case "residual":
                inner, after, shorter = module(numbers[0], channels, length)
                shortcut, _, _ = module(numbers[1], channels, length)
                found.append(Residual(inner, shortcut))
                channels, length = after, shorter
            case "mean":
                found += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
                length = 1
            case "flatten":
                found.append(nn.Flatten())
                channels, length = channels * length * length, 1
            case "dense":
                found.append(nn.Linear(channels, *numbers))
                (channels,) = numbers
    return nn.Sequential(*found), channels, length


class Steps:
    """The usual loop, with the fused Adam. The losses are read at its end only."""

    def __init__(self, task: ImageTask, layout: torch.memory_format) -> None:
        assert task.network is not None
        self.task = task
        torch.manual_seed(0)
        net, _, _ = module(task.network.layers, task.network.shape[-1], task.network.shape[0])
        self.net = net.to(memory_format=layout)  # type: ignore[call-overload]
        self.start = {name: value.clone() for name, value in self.net.state_dict().items()}
        x = torch.from_numpy(task.x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        y = torch.from_numpy(task.y)
        self.batches = list(zip(x.split(task.batch), y.split(task.batch), strict=True))
        self.loss = nn.CrossEntropyLoss()

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        self.net.load_state_dict(self.start)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=self.task.rate, fused=True)

    def run(self) -> float:
        """Train for an epoch."""
        losses = []
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.net(x), y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())


CONVOLUTION = {
    "PyTorch, channels first": partial(Steps, layout=torch.contiguous_format),
    "PyTorch, channels last": partial(Steps, layout=torch.channels_last),
}
