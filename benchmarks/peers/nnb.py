"""nnbackend, through its public functions."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import nnbackend as nnb
from benchmarks.timing import Options
from benchmarks.work import Task

LOSS = nnb.losses.softmax_cross_entropy
WAYS = ("plain", "graph")
"""How the CuPy backend runs a training step: call by call, or as a CUDA graph."""


def factories(kind: str, options: Options) -> dict[str, Callable[..., Any]]:
    """Return contestants on each backend by name."""
    kinds = {"STEPS": Steps, "FIT": Fit, "PREDICT": Predict, "GPU_STEPS": Going}
    cls = kinds.get(kind) or kinds[kind.removeprefix("GPU_")]
    found: dict[str, Callable[..., Any]] = {}
    for backend in options.backends:
        found[f"nnbackend {backend}"] = partial(cls, backend=backend)
        if kind == "GPU_STEPS" and backend == "cupy":
            for way in WAYS[1:]:  # the first is what one gets without asking
                found[f"nnbackend cupy, {way}"] = partial(Way, backend=backend, way=way)
        if kind == "STEPS" and nnb.backends.choose.get_backend(backend).slices_are_views:
            found[f"nnbackend {backend}, own loop"] = partial(OwnLoop, backend=backend)
    return found


_used: set[nnb.Backend] = set()


def backend_for(task: Task, name: str) -> nnb.Backend:
    """Return the backend of that name as the task wants it."""
    device = task.device if name == "torch" else None
    backend = nnb.get_backend(name, device, precision=task.precision)
    _used.add(backend)
    return backend


def release() -> None:
    """Give back the memory that backends keep of arrays that are gone."""
    for backend in _used:
        backend.free_memory()


def wait(net: nnb.Network) -> None:
    """Wait until a network's parameters are what they will be.

    On JAX ``synchronize`` waits for each array there is, also the thousands of other contestants.
    """
    if net.backend.name == "jax":
        import jax

        jax.block_until_ready(net.params)
    else:
        net.backend.synchronize()


def network(task: Task, backend: str, output: str | None = None) -> nnb.Network:
    """Return the task's network."""
    *hidden, last = task.sizes[1:]
    layers = [nnb.Dense(n, activation="relu") for n in hidden]
    return nnb.Network(
        [*layers, nnb.Dense(last, activation=output)],
        backend=backend_for(task, backend),
        input_shape=task.sizes[0],
    )


class Steps:
    """``fit`` over batches that are different each time, in their order."""

    def __init__(self, task: Task, backend: str) -> None:
        self.net = network(task, backend)
        own = self.net.backend
        self.x, self.y = task.shared(
            f"rows of nnbackend {backend}",
            lambda: (own.asarray(task.x), own.asarray(task.y, dtype=own.xp.int32)),
        )
        self.batch, self.rate = task.batch, task.rate
        start = {
            f"{i}.{name}": values
            for i, pair in enumerate(task.weights)
            for name, values in zip(("weight", "bias"), pair, strict=True)
        }
        if task.device != "cpu":  # on the device, from where they are copied within a moment
            start = task.shared(
                f"weights of nnbackend {backend}",
                lambda: {name: own.asarray(values) for name, values in start.items()},
            )
        self.start = start

    def reset(self) -> None:
        """Take the initial weights."""
        self.net.load_state_dict(self.start)
        self.net.backend.synchronize()

    def run(self) -> float:
        """Train for an epoch."""
        history = self.fit()
        wait(self.net)
        return history["loss"][-1]

    def fit(self, profile: bool = False) -> nnb.History:
        """Train for an epoch."""
        return self.net.fit(
            self.x,
            self.y,
            loss=LOSS,
            optimizer=nnb.Adam(self.rate),
            epochs=1,
            batch_size=self.batch,
            shuffle=False,
            verbose=0,
            profile=profile,
        )


class Going(Steps):
    """``partial_fit``, which goes on where it was.

    What a backend makes of a step, from its first some on, is for the arrays of one training, and so
    are other libraries' graphs. ``fit`` would make it in every run, and a new start is a new training:
    the weights are set once.
    """

    def __init__(self, task: Task, backend: str) -> None:
        super().__init__(task, backend)
        super().reset()
        self.notes: dict[str, str] = {}

    def reset(self) -> None:
        """Stay."""

    def run(self) -> float:
        """Train for an epoch; a warning, as that a program cannot be made, is noted."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loss = self.net.partial_fit(
                self.x, self.y, loss=LOSS, optimizer=nnb.Adam(self.rate), batch_size=self.batch
            )
        self.net.backend.synchronize()
        if caught:
            self.notes["warned"] = str(caught[0].message)
        return loss


class Way(Going):
    """``partial_fit`` with the CuPy backend told how to run a step."""

    def __init__(self, task: Task, backend: str, way: str) -> None:
        super().__init__(task, backend)
        self.way = way

    def run(self) -> float:
        """Train for an epoch."""
        with environment("NNBACKEND_CUPY_STEP", self.way):
            return super().run()


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class OwnLoop(Steps):
    """The loop that a researcher writes: forward, loss, backward, update."""

    def __init__(self, task: Task, backend: str) -> None:
        super().__init__(task, backend)
        cuts = [slice(i, i + task.batch) for i in range(0, len(task.x), task.batch)]
        self.batches = [(self.x[cut], self.y[cut]) for cut in cuts]

    def run(self) -> float:
        """Train for an epoch."""
        net, optimizer, losses = self.net, nnb.Adam(self.rate), []
        state = optimizer.init(net.params)
        for x, y in self.batches:
            logits, backward = net.forward(x, training=True)
            loss, dy = LOSS(logits, y)
            _, grads = backward(dy, input_grad=False)
            net.params, state = optimizer.update(net.params, grads, state)
            losses.append(loss)
        mean = sum(losses) / len(losses)
        net.backend.synchronize()
        return float(mean)


class Fit:
    """Network and ``fit``, with shuffling, accuracy and a tenth of the rows for validation."""

    def __init__(self, task: Task, backend: str) -> None:
        self.task, self.backend = task, backend
        self.notes: dict[str, float] = {}

    def reset(self) -> None:
        """Nothing is kept from one run to the next."""

    def run(self) -> float:
        """Build and train."""
        history = network(self.task, self.backend).fit(
            self.task.x,
            self.task.y,
            loss=LOSS,
            optimizer=nnb.Adam(self.task.rate),
            epochs=self.task.epochs,
            batch_size=self.task.batch,
            metrics=["accuracy"],
            validation_split=0.1,
            verbose=0,
        )
        self.notes["validation_accuracy"] = history["validation_accuracy"][-1]
        return history["loss"][-1]


class Predict(Steps):
    """``predict`` of a network that ends in a softmax."""

    def __init__(self, task: Task, backend: str) -> None:
        super().__init__(task, backend)
        self.net = network(task, backend, output="softmax")
        super().reset()
        self.calls = task.calls

    def reset(self) -> None:
        """Nothing changes."""

    def run(self) -> float:
        """Predict."""
        net, x = self.net, self.x
        for _ in range(self.calls):
            probabilities = net.predict(x)
            net.backend.synchronize()
        return float(net.to_numpy(probabilities)[:, 0].mean())
