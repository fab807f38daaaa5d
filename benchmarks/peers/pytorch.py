"""PyTorch: eager with its default and its fused Adam, and compiled."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import nn

from benchmarks.work import Task

_device = "cpu"


def use_gpu() -> None:
    """Let PyTorch compute on the GPU, if it can."""
    global _device
    _device = "cuda" if torch.cuda.is_available() else "cpu"


def network(task: Task) -> nn.Sequential:
    """Return the task's network with its initial weights."""
    pairs = zip(task.sizes, task.sizes[1:], strict=False)
    layers = itertools.chain.from_iterable((nn.Linear(n, m), nn.ReLU()) for n, m in pairs)
    net = nn.Sequential(*list(layers)[:-1]).to(_device)
    load(net, task)
    return net


def load(net: nn.Sequential, task: Task) -> None:
    """Set the initial weights."""
    with torch.no_grad():
        for layer, (weight, bias) in zip(net[::2], task.weights, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))


def wait() -> None:
    """Wait for the GPU, if that is where it computes."""
    if _device == "cuda":
        torch.cuda.synchronize()


class Steps:
    """The usual loop. The losses are read at its end only."""

    def __init__(self, task: Task, fused: bool = False, compiled: bool = False) -> None:
        self.task, self.fused = task, fused
        self.net = network(task)
        x, y = (torch.from_numpy(a).to(_device) for a in (task.x, task.y))
        self.batches = list(zip(x.split(task.batch), y.split(task.batch), strict=True))
        criterion = nn.CrossEntropyLoss()
        self.loss = lambda x, y: criterion(self.net(x), y)
        if compiled:
            torch._dynamo.reset()
            self.loss = torch.compile(self.loss)

    def reset(self) -> None:
        """Take the initial weights and a new optimiser."""
        load(self.net, self.task)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=self.fused or None)

    def run(self) -> float:
        """Train for an epoch."""
        losses = []
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = self.loss(x, y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        wait()
        return float(torch.stack(losses).mean())


class Fit:
    """The loop that people write, with shuffling, accuracy and a tenth of the rows for validation."""

    def __init__(self, task: Task, loader: bool) -> None:
        self.task, self.loader = task, loader
        self.notes: dict[str, float] = {}

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Split the rows, build the network and train it."""
        task, criterion = self.task, nn.CrossEntropyLoss()
        net = network(task)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
        x, y = torch.from_numpy(task.x).to(_device), torch.from_numpy(task.y).to(_device)
        order = torch.randperm(len(x), device=_device)
        held_out, kept = order[: len(x) // 10], order[len(x) // 10 :]
        x, y, held_x, held_y = x[kept], y[kept], x[held_out], y[held_out]
        batches = self._batches(x, y)
        for _ in range(task.epochs):
            total = right = 0.0
            for rows, labels in batches() if callable(batches) else batches:
                optimizer.zero_grad()
                logits = net(rows)
                loss = criterion(logits, labels)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
                right += (logits.argmax(1) == labels).sum().item()
            with torch.no_grad():
                logits = net(held_x)
                float(criterion(logits, held_y))
                accuracy = float((logits.argmax(1) == held_y).float().mean())
        self.notes["validation_accuracy"] = accuracy
        return total / len(x)

    def _batches(self, x: torch.Tensor, y: torch.Tensor) -> object:
        if self.loader:
            data = torch.utils.data.TensorDataset(x, y)
            return torch.utils.data.DataLoader(data, batch_size=self.task.batch, shuffle=True)

        def by_index() -> object:
            for rows in torch.randperm(len(x), device=x.device).split(self.task.batch):
                yield x[rows], y[rows]

        return by_index


class Predict:
    """The network without a tape, many rows in batches of 4096."""

    def __init__(self, task: Task) -> None:
        self.net, self.calls = network(task).eval(), task.calls
        self.x = torch.from_numpy(task.x).to(_device)

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        with torch.inference_mode():
            for _ in range(self.calls):
                probabilities = self._probabilities(self.x)
                wait()
            return float(probabilities[:, 0].mean())

    def _probabilities(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) <= 4096:
            return torch.softmax(self.net(x), dim=-1)
        return torch.cat([torch.softmax(self.net(part), dim=-1) for part in x.split(4096)])


STEPS = {
    "PyTorch": Steps,
    "PyTorch, fused Adam": partial(Steps, fused=True),
    "torch.compile, fused Adam": partial(Steps, fused=True, compiled=True),
}
FIT = {
    "PyTorch, batches by index": partial(Fit, loader=False),
    "PyTorch, DataLoader": partial(Fit, loader=True),
}
PREDICT = {"PyTorch": Predict}
