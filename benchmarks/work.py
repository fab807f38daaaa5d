"""The work: networks, and data that resembles real data."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Weights = list[tuple[np.ndarray, np.ndarray]]

NETWORKS = [
    ((2, 3, 3), 3),
    ((64, 64, 10), 32),
    ((784, 256, 10), 128),
    ((784, 512, 512, 10), 256),
    ((784, 2048, 2048, 10), 1024),
]
"""Sizes of layers and rows of a batch. The smallest has three outputs because scikit-learn makes one
logistic output of two classes, which is other work."""


@dataclass
class Task:
    """A network to train on rows, with ReLU, softmax cross-entropy and Adam.

    Attributes:
        sizes: of the layers, the input first.
        batch: rows of a step.
        x: rows, float32; of the estimators, and with weights alike, float64.
        y: class numbers.
        weights: (in, out) and biases of each layer to start from.
        epochs: how often to go through the rows.
        calls: for predictions: how often to predict all rows.
        device: where to compute: ``"cpu"`` or ``"cuda"``.
        precision: of the arithmetic: ``"float32"``, or on a GPU ``"tf32"``, where products of float32
            numbers are rounded to 10 bits, or ``"bfloat16"``: forward and backward in bfloat16, weights
            and Adam in float32.
        rate: Adam's learning rate.
        kept: what contestants share; see :meth:`shared`.
    """

    sizes: tuple[int, ...]
    batch: int
    x: np.ndarray
    y: np.ndarray
    weights: Weights
    epochs: int = 1
    calls: int = 1
    device: str = "cpu"
    precision: str = "float32"
    rate: float = 1e-3
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what contestants of one library have in common, as the rows on their device."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return len(self.x) // self.batch


def name_of(sizes: tuple[int, ...]) -> str:
    """Return ``784-256-10``."""
    return "-".join(map(str, sizes))


def images(rows: int, features: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows between 0 and 1, many of them 0 as in images, and class numbers.

    Each class has a picture that its rows vary; a tenth of the labels is wrong, so that no network
    ends with a loss near zero and gradients too small for float32.
    """
    rng = np.random.default_rng(seed)
    pictures = rng.random((classes, features), dtype=np.float32) ** 3
    y = rng.integers(0, classes, rows)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    x *= 0.4
    x += pictures[y]
    np.clip(x, 0.0, 1.0, out=x)
    wrong = rng.random(rows) < 0.1
    y[wrong] = rng.integers(0, classes, int(wrong.sum()))
    return x, y


def initial(sizes: tuple[int, ...], seed: int = 0) -> Weights:
    """Return He's uniform weights and zero biases, the same for every contestant."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.uniform(-((6 / n) ** 0.5), (6 / n) ** 0.5, (n, m)).astype(np.float32),
            np.zeros(m, np.float32),
        )
        for n, m in itertools.pairwise(sizes)
    ]


def operations(sizes: tuple[int, ...], batch: int) -> int:
    """Return how many additions and multiplications the products of a training step have."""
    return 6 * batch * sum(n * m for n, m in itertools.pairwise(sizes))


def step_task(
    sizes: tuple[int, ...],
    batch: int,
    seconds: float,
    *,
    speed: float = 2e11,
    room: int = 1 << 28,
    least: int = 16,
    most: int = 5000,
    **settings: Any,
) -> Task:
    """Return a task of as many different batches as take about ``seconds``, where a step has its cost.

    What a fit does once, as checking data and recording a step, then shows as the little that it is.

    Args:
        sizes: of the layers.
        batch: rows of a step.
        seconds: that an epoch should take, at 60 µs for each step besides its operations.
        speed: operations in a second.
        room: bytes for the rows.
        least: steps at least; so many that what a fit does once does not count for much.
        most: steps at most.
        settings: further attributes of the task.
    """
    wanted = seconds / (60e-6 + operations(sizes, batch) / speed)
    fit = room / (4 * batch * sizes[0])
    steps = int(max(least, min(wanted, fit, most)))
    x, y = images(steps * batch, sizes[0], sizes[-1])
    return Task(sizes, batch, x, y, initial(sizes), **settings)
