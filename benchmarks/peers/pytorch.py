"""PyTorch: eager with its default and its fused Adam, compiled, and as a CUDA graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.work import Task

_PRODUCTS = {"float32": "highest", "tf32": "high", "bfloat16": "highest"}


def network(task: Task) -> nn.Sequential:
    """Return the task's network with its initial weights, and set how exact products are."""
    torch.set_float32_matmul_precision(_PRODUCTS[task.precision])
    pairs = zip(task.sizes, task.sizes[1:], strict=False)
    layers = itertools.chain.from_iterable((nn.Linear(n, m), nn.ReLU()) for n, m in pairs)
    net = nn.Sequential(*list(layers)[:-1]).to(task.device)
    load(net, task)
    return net


def load(net: nn.Sequential, task: Task) -> None:
    """Set the initial weights."""
    with torch.no_grad():
        for layer, (weight, bias) in zip(net[::2], _weights(task), strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def _weights(task: Task) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the initial weights where the task computes; torch's are (out, in)."""

    def there() -> list[tuple[torch.Tensor, torch.Tensor]]:
        pairs = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in task.weights]
        return [(w.to(task.device).T, b.to(task.device)) for w, b in pairs]

    found: list[tuple[torch.Tensor, torch.Tensor]] = task.shared("torch weights", there)
    return found


def _rows(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the task's rows where it computes."""

    def there() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(task.x).to(task.device), torch.from_numpy(task.y).to(task.device)

    found: tuple[torch.Tensor, torch.Tensor] = task.shared("torch rows", there)
    return found


def wait(task: Task) -> None:
    """Wait for the GPU, if that is where the task computes."""
    if task.device == "cuda":
        torch.cuda.synchronize()


def release() -> None:
    """Give back the memory of compiled programs and of tensors that are gone."""
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Steps:
    """The usual loop. The losses are read at its end only."""

    def __init__(self, task: Task, fused: bool = False, compiled: str | None = None) -> None:
        self.task, self.fused = task, fused
        self.net = network(task)
        x, y = _rows(task)
        self.batches = list(zip(x.split(task.batch), y.split(task.batch), strict=True))
        criterion = nn.CrossEntropyLoss()
        self.loss = lambda x, y: criterion(self.net(x), y)
        if task.precision == "bfloat16":

            def mixed(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                # Each weight is cast once in a pass: there is nothing to keep for a second time.
                with torch.autocast(task.device, torch.bfloat16, cache_enabled=False):
                    return criterion(self.net(x), y)

            self.loss = mixed
        if compiled:
            task.shared("torch compiler", torch._dynamo.reset)  # once: it forgets what is compiled
            self.loss = torch.compile(self.loss, mode=compiled)

    def reset(self) -> None:
        """Take the initial weights and a new optimizer."""
        load(self.net, self.task)
        self.optimizer = self._adam()
        wait(self.task)

    def _adam(self, **settings: bool) -> torch.optim.Adam:
        return torch.optim.Adam(
            self.net.parameters(), lr=self.task.rate, fused=self.fused or None, **settings
        )

    def run(self) -> float:
        """Train for an epoch."""
        losses = []
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = self.loss(x, y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        wait(self.task)
        return float(torch.stack(losses).mean())


class Autotuned(Steps):
    """Forward and backward compiled, the fastest kernels chosen by trial, each as a CUDA graph."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, fused=True, compiled="max-autotune")
        compiled = self.loss

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(x, y)

        self.loss = loss

    def run(self) -> float:
        """Train for an epoch. A loss is in the graph's memory, which the next step writes over."""
        total = torch.zeros((), device=self.task.device)
        for x, y in self.batches:
            self.optimizer.zero_grad()
            loss = self.loss(x, y)
            total += loss.detach()
            loss.backward()
            self.optimizer.step()
        wait(self.task)
        return float(total) / len(self.batches)


class Graph(Steps):
    """The whole step, Adam and the sum of losses with it, as one CUDA graph.

    It reads each batch from the same place, where the batch is copied to beforehand.
    """

    def __init__(self, task: Task, compiled: str | None = None) -> None:
        super().__init__(task, fused=True, compiled=compiled)
        self.x, self.y = (torch.empty_like(part) for part in self.batches[0])
        self.total = torch.zeros((), device=task.device)
        self.optimizer = self._adam(capturable=True)
        self._place(*self.batches[0])
        self.step = captured(self._step)

    def _place(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x.copy_(x)
        self.y.copy_(y)

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()

    def reset(self) -> None:
        """Take the initial weights and an optimizer like new, in the memory that the graph knows."""
        load(self.net, self.task)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        wait(self.task)

    def run(self) -> float:
        """Train for an epoch."""
        self.total.zero_()
        for x, y in self.batches:
            self._place(x, y)
            self.step()
        wait(self.task)
        return float(self.total) / len(self.batches)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Return the step as a CUDA graph, after a few steps on a stream of their own to warm up.

    So it is in "Whole-network capture" of PyTorch's notes on CUDA semantics.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # What other libraries' threads may be doing does not matter.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


class Fit:
    """The loop that people write, with shuffling, accuracy and a tenth of the rows for validation.

    Args:
        task: the work.
        loader: whether batches come from a ``DataLoader``, from the host; or else by index from
            where the network computes.
        patient: whether losses and accuracy are read once, at the end of the epoch, so that none
            waits for them in each step.
    """

    def __init__(self, task: Task, loader: bool, patient: bool = False) -> None:
        self.task, self.loader, self.patient = task, loader, patient
        self.notes: dict[str, float] = {}

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Split the rows, build the network and train it."""
        task, criterion, patient = self.task, nn.CrossEntropyLoss(), self.patient
        device = task.device
        net = network(task)
        optimizer = torch.optim.Adam(net.parameters(), lr=task.rate, fused=True)
        x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
        if not self.loader:
            x, y = x.to(device), y.to(device)
        order = torch.randperm(len(x), device=x.device)
        held_out, kept = order[: len(x) // 10], order[len(x) // 10 :]
        x, y, held_x, held_y = x[kept], y[kept], x[held_out].to(device), y[held_out].to(device)
        batches = self._batches(x, y)
        for _ in range(task.epochs):
            total = right = torch.zeros((), device=device) if patient else 0.0
            for rows, labels in batches() if callable(batches) else batches:
                if self.loader and device != "cpu":
                    rows = rows.to(device, non_blocking=True)
                    labels = labels.to(device, non_blocking=True)
                optimizer.zero_grad()
                logits = net(rows)
                loss = criterion(logits, labels)
                loss.backward()
                optimizer.step()
                correct = (logits.argmax(1) == labels).sum()
                if patient:
                    total, right = total + loss.detach() * len(rows), right + correct
                else:
                    total += loss.item() * len(rows)
                    right += correct.item()
            total, right = float(total), float(right)
            with torch.no_grad():
                logits = net(held_x)
                float(criterion(logits, held_y))
                accuracy = float((logits.argmax(1) == held_y).float().mean())
        self.notes["validation_accuracy"] = accuracy
        return total / len(x)

    def _batches(self, x: torch.Tensor, y: torch.Tensor) -> object:
        if self.loader:
            data = torch.utils.data.TensorDataset(x, y)
            pinned = self.task.device == "cuda"
            return torch.utils.data.DataLoader(
                data, batch_size=self.task.batch, shuffle=True, pin_memory=pinned
            )

        def by_index() -> object:
            for rows in torch.randperm(len(x), device=x.device).split(self.task.batch):
                yield x[rows], y[rows]

        return by_index


class Predict:
    """The network without a tape, many rows in batches of 4096."""

    def __init__(self, task: Task) -> None:
        self.task, self.net, self.calls = task, network(task).eval(), task.calls
        self.x, _ = _rows(task)

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        with torch.inference_mode():
            for _ in range(self.calls):
                probabilities = self._probabilities(self.x)
                wait(self.task)
            return float(probabilities[:, 0].mean())

    def _probabilities(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) <= 4096:
            return torch.softmax(self.net(x), dim=-1)
        return torch.cat([torch.softmax(self.net(part), dim=-1) for part in x.split(4096)])


STEPS = {
    "PyTorch": Steps,
    "PyTorch, fused Adam": partial(Steps, fused=True),
    "torch.compile, fused Adam": partial(Steps, fused=True, compiled="default"),
}
FIT = {
    "PyTorch, batches by index": partial(Fit, loader=False),
    "PyTorch, DataLoader": partial(Fit, loader=True),
}
PREDICT = {"PyTorch": Predict}
GPU_STEPS = {
    "PyTorch": Steps,
    "PyTorch, fused Adam": partial(Steps, fused=True),
    "torch.compile, max-autotune": Autotuned,
    "PyTorch, CUDA graph": Graph,
    "torch.compile, CUDA graph": partial(Graph, compiled="max-autotune-no-cudagraphs"),
}
GPU_FIT = {
    "PyTorch, DataLoader": partial(Fit, loader=True),
    "PyTorch, data on the GPU": partial(Fit, loader=False, patient=True),
}
GPU_PREDICT = PREDICT
