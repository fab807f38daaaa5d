"""Two halves of every batch, in two threads, train as the whole does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from cases import RunningMean, rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.data.samples import Samples
from nnbackend.regularizers import L2
from nnbackend.training import communicator
from nnbackend.training.objective import Objective
from nnbackend.training.trainer import Trainer

ROWS, BATCH = 21, 8  # the last batch has five rows: two and three
LAYERS = [
    nnb.Dense(5, activation="tanh", regularizer=L2(0.01)),
    nnb.Dropout(0.3),
    RunningMean(),
    nnb.Dense(2),
]


class Hub:
    """Adds up what two threads give it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.given: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=20)
        self.calls = 0

    def add(self, rank: int, arrays: list[Any]) -> list[Any]:
        self.given[rank] = arrays
        self.barrier.wait()
        total = [sum(parts[1:], start=parts[0]) for parts in zip(*self.given, strict=True)]
        self.calls += rank == 0
        self.barrier.wait()
        return total


class InThreads:
    """The communicator of a thread."""

    def __init__(self, hub: Hub, rank: int) -> None:
        self.hub, self.rank, self.size = hub, rank, hub.size

    def sum(self, arrays: list[Any]) -> list[Any]:
        return self.hub.add(self.rank, arrays)


def trainer(backend: Any, member: Any = None, accumulate: int = 1, metrics: Any = None) -> Trainer:
    net = nnb.Network(LAYERS, backend=backend, seed=4, input_shape=3)
    terms = nnb.regularizers.terms(net.layers)
    objective = Objective(
        net.layers, nnb.losses.mse, nnb.activations.Identity(), metrics or {}, terms
    )
    with backend.scope():
        return Trainer(objective, nnb.Adam(0.02), backend, net.params, 4, accumulate=accumulate,
                       state=net.state, communicator=member)  # fmt: skip


def train(one: Trainer, weighted: bool, losses: list[float]) -> None:
    """Go through the samples three times."""
    backend = one.backend
    weight = np.random.default_rng(0).uniform(0.0, 2.0, ROWS) if weighted else None
    with backend.scope():
        x, y = backend.asarray(rows((ROWS, 3))), backend.asarray(rows((ROWS, 2), 1))
        samples = Samples(x, y, None if weight is None else backend.asarray(weight))
        for _ in range(3):
            with one.blocks(samples, BATCH) as blocks:
                losses.append(one.epoch(blocks, BATCH)["loss"])


def together(members: list[Trainer], weighted: bool) -> list[list[float]]:
    losses: list[list[float]] = [[] for _ in members]
    threads = [
        threading.Thread(target=train, args=(member, weighted, own))
        for member, own in zip(members, losses, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return losses


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("bucket", [1, 12, 1 << 22])
def test_two_halves_train_as_the_whole(weighted, bucket, backend64, monkeypatch):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    monkeypatch.setattr(communicator, "BUCKET_NUMBERS", bucket)
    whole, expected = trainer(backend64), []
    train(whole, weighted, expected)
    hub = Hub(2)
    members = [trainer(backend64, InThreads(hub, rank)) for rank in range(2)]
    losses = together(members, weighted)
    assert hub.calls == 9
    for member, own in zip(members, losses, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-12)
        assert_close(host(backend64, member.params), host(backend64, whole.params), 1e-12)
        state, wanted = (host(backend64, t.state)["2"] for t in (member, whole))
        np.testing.assert_allclose(state["mean"], wanted["mean"], atol=1e-12)
        np.testing.assert_allclose(state["count"], wanted["count"], rtol=1e-12)


def test_members_stay_together_with_microbatches(backend64):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    hub = Hub(2)
    first, second = (trainer(backend64, InThreads(hub, rank), 2) for rank in range(2))
    together([first, second], True)
    assert_close(host(backend64, first.params), host(backend64, second.params), 0.0)


def test_what_cannot_be_divided_is_refused():
    backend = nnb.get_backend("numpy", dtype="float64")
    hub = Hub(50)
    with pytest.raises(ValueError, match="8 rows cannot be divided among 50 processes"):
        train(trainer(backend, InThreads(hub, 0)), False, [])
    with pytest.raises(ValueError, match="metrics need all of them"):
        trainer(backend, InThreads(hub, 0), metrics={"mae": nnb.metrics.get("mae")})
