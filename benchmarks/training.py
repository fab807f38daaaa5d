"""Training: one step, its growth, the tutorial, and a whole fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nnbackend as nnb
from benchmarks.peers import entered
from benchmarks.peers.nnb import Steps
from benchmarks.peers.numpy_by_hand import NeuralNetwork
from benchmarks.timing import PAUSE, Contestant, Options, race, summary, table
from benchmarks.work import NETWORKS, Task, images, initial, name_of, step_task

Tables = list[dict[str, Any]]

_GROWTH = {
    "width": [((w, w, w, 10), 128) for w in (16, 64, 256, 1024, 4096)],
    "depth": [((128,) * (d + 1) + (10,), 128) for d in (1, 2, 4, 8, 16, 32)],
    "batch": [((256, 256, 256, 10), b) for b in (1, 8, 64, 512, 4096)],
}


def steps(options: Options) -> Tables:
    """Return the time of a training step of the five networks, over fresh batches."""
    tables = []
    for sizes, batch in NETWORKS[: 3 if options.quick else None]:
        task = step_task(sizes, batch, 0.05 if options.quick else 0.5)
        rows = race(entered("STEPS", task, options), options, task.steps)
        title = f"Training step, {name_of(sizes)}, batch {batch}"
        tables.append(
            table(f"steps/{name_of(sizes)}", title, "step", rows, steps=task.steps, batch=batch)
        )
    return tables


def profile(options: Options) -> Tables:
    """Return where the time of a training step goes: forward, loss, backward, and the rest."""
    tables = []
    for sizes, batch in NETWORKS[: 3 if options.quick else None]:
        task = step_task(sizes, batch, 0.05 if options.quick else 0.25)
        contestant = Steps(task, "numpy")
        parts: dict[str, list[float]] = {}
        for _ in range(options.rounds + 1):
            contestant.reset()
            time.sleep(PAUSE)
            measured = contestant.fit(profile=True).profile.to_dict()
            layers = measured["layers"].values()
            for name, seconds in {
                "layers forward": sum(layer["forward"] for layer in layers),
                "loss": measured["loss"],
                "layers backward": sum(layer["backward"] for layer in layers),
                "Adam, batches, the rest": measured["rest"],
                "all": measured["seconds"],
                "of it matrix products": sum(layer["floor"] for layer in layers),
            }.items():
                parts.setdefault(name, []).append(seconds / task.steps)
        rows = [{"name": name, **summary(found[1:])} for name, found in parts.items()]
        title = f"Where the time goes, {name_of(sizes)}, batch {batch}"
        tables.append(
            table(f"profile/{name_of(sizes)}", title, "step", rows, steps=task.steps, batch=batch)
        )
    return tables


def growth(options: Options) -> Tables:
    """Return the time of a training step against width, depth and batch."""
    wanted = [f"nnbackend {backend}" for backend in options.backends]
    wanted += ["PyTorch, fused Adam", *(f"matrix products, {b}" for b in options.backends)]
    tables = []
    for axis, points in _GROWTH.items():
        for sizes, batch in points[: 3 if options.quick else None]:
            task = step_task(sizes, batch, 0.05 if options.quick else 0.15, least=8)
            factories = entered("STEPS", task, options)
            chosen = {name: factories[name] for name in wanted if name in factories}
            rounds = max(3, options.rounds // 2)
            rows = race(chosen, options, task.steps, rounds)
            at = {"width": sizes[0], "depth": len(sizes) - 1, "batch": batch}[axis]
            title = f"Growth with {axis}: {name_of(sizes) if len(sizes) < 6 else f'{at} layers'}"
            key = f"growth/{axis}/{at}"
            tables.append(table(key, f"{title}, batch {batch}", "step", rows, axis=axis, at=at))
    return tables


def fit(options: Options) -> Tables:
    """Return the time of a whole fit: shuffling, accuracy, validation and all."""
    tasks: dict[str, Callable[[], Task]] = {"digits": _digits, "images": _images}
    tables = []
    for key, make in tasks.items():
        try:
            task = make(options.quick)  # type: ignore[call-arg]
        except ImportError as error:
            options.left_out[f"fit of {key}"] = f"not installed ({error.name})"
            continue
        rounds = min(options.rounds, 7)
        rows = race(entered("FIT", task, options), options, rounds=rounds)
        title = (
            f"Whole fit, {key}: {len(task.x)} x {task.sizes[0]}, {name_of(task.sizes)}, "
            f"batch {task.batch}, {task.epochs} epoch{'s' if task.epochs > 1 else ''}"
        )
        tables.append(table(f"fit/{key}", title, "fit", rows, epochs=task.epochs))
    return tables


def _digits(quick: bool) -> Task:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    sizes = (64, 64, 10)
    x = (x / 16.0).astype(np.float32)
    return Task(sizes, 32, x, y, initial(sizes), epochs=3 if quick else 20)


def _images(quick: bool) -> Task:
    sizes = (784, 256, 10)
    x, y = images(6_000 if quick else 60_000, 784, 10)
    return Task(sizes, 128, x, y, initial(sizes))


def tutorial(options: Options) -> Tables:
    """Return the time of an iteration of the exam-score network, three rows at a time."""
    iterations = 1_000 if options.quick else 10_000
    factories: dict[str, Callable[[], Contestant]] = {
        f"nnbackend {backend}": partial(_Tutorial, iterations, backend)
        for backend in options.backends
    }
    factories["its NumPy script"] = partial(_Script, iterations)
    factories["its NumPy script, loss each time"] = partial(_Script, iterations, loss=True)
    rows = race(factories, options, iterations)
    title = f"Tutorial, {iterations} iterations of all three rows"
    return [table("tutorial", title, "iteration", rows, iterations=iterations)]


class _Exam:
    """Hours studied and slept, exam scores, and weights to start from."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        x = np.array([[2.0, 9.0], [1.0, 5.0], [3.0, 6.0]])
        self.x, self.y = x / x.max(axis=0), np.array([[92.0], [86.0], [89.0]]) / 100
        rng = np.random.default_rng(1)
        self.w1, self.w2 = rng.standard_normal((2, 3)), rng.standard_normal((3, 1))


class _Script(_Exam):
    """The tutorial's script, with or without a look at the loss in each iteration."""

    def __init__(self, iterations: int, loss: bool = False) -> None:
        super().__init__(iterations)
        self.loss = loss

    def reset(self) -> None:
        self.net = NeuralNetwork(self.w1.copy(), self.w2.copy())

    def run(self) -> float:
        net, losses = self.net, []
        for _ in range(self.iterations):
            if self.loss:
                losses.append(np.mean(np.square(self.y - net.forward(self.x))))
            net.train(self.x, self.y)
        return float(np.mean(np.square(self.y - net.forward(self.x))))


class _Tutorial(_Exam):
    """The same with ``fit``. The script's step is that of a mean squared error and a rate of 3/2."""

    def __init__(self, iterations: int, backend: str) -> None:
        super().__init__(iterations)
        layers = [nnb.Dense(n, activation="sigmoid", bias=False) for n in (3, 1)]
        dtype = "float32" if backend == "jax" else "float64"
        self.net = nnb.Network(layers, backend=backend, dtype=dtype, input_shape=2)

    def reset(self) -> None:
        self.net.load_state_dict({"0.weight": self.w1, "1.weight": self.w2})
        self.net.backend.synchronize()

    def run(self) -> float:
        self.net.fit(
            self.x,
            self.y,
            loss="mse",
            optimizer=nnb.SGD(1.5),
            epochs=self.iterations,
            batch_size=None,
            verbose=0,
        )
        return self.net.evaluate(self.x, self.y)["loss"]
