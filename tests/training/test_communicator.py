"""Two halves of every batch, in two threads, train as the whole does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from cases import RunningMean, rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend.backends.base import namespace
from nnbackend.core.tree import count_rows, map_arrays
from nnbackend.data.samples import Samples
from nnbackend.regularizers import L2
from nnbackend.training import gradient_sums
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

    def gather(self, rank: int, arrays: Any) -> list[Any]:
        self.given[rank] = arrays
        self.barrier.wait()
        every = list(self.given)
        self.barrier.wait()
        return every


class InThreads:
    """The communicator of a thread."""

    reads_share = is_recordable = False

    def __init__(self, hub: Hub, rank: int) -> None:
        self.hub, self.rank, self.size = hub, rank, hub.size
        self.local_steps = None

    def sum(self, arrays: list[Any]) -> list[Any]:
        return self.hub.add(self.rank, arrays)

    def start_sum(self, array: Any) -> Any:
        (total,) = self.sum([array])
        return lambda: total

    def gather_rows(self, arrays: Any, counts: list[int]) -> Any:
        every = self.hub.gather(self.rank, arrays)
        assert [count_rows(part) for part in every] == counts
        xp = namespace(every[0])
        return map_arrays(lambda *parts: xp.concat(parts), *every)


def trainer(
    backend: Any, member: Any = None, accumulate: int = 1, metrics: Any = None, layers: Any = LAYERS
) -> Trainer:
    net = nnb.Network(layers, backend=backend, seed=4, input_shape=3)
    terms = nnb.regularizers.terms(net.layers)
    objective = Objective(
        net.layers, nnb.losses.mse, nnb.activations.Identity(), metrics or {}, terms
    )
    with backend.scope():
        return Trainer(objective, nnb.Adam(0.02), backend, net.params, 4, accumulate=accumulate,
                       state=net.state, communicator=member)  # fmt: skip


def train(
    one: Trainer, weighted: bool, losses: list[float], count: int = ROWS, found: str = "loss"
) -> None:
    """Go through the samples three times."""
    backend = one.backend
    weight = np.random.default_rng(0).uniform(0.0, 2.0, count) if weighted else None
    with backend.scope():
        x, y = backend.asarray(rows((count, 3))), backend.asarray(rows((count, 2), 1))
        samples = Samples(x, y, None if weight is None else backend.asarray(weight))
        for _ in range(3):
            with one.blocks(samples, BATCH) as blocks:
                losses.append(one.epoch(blocks, BATCH)[found])


def together(members: list[Trainer], weighted: bool, *more: Any) -> list[list[float]]:
    losses: list[list[float]] = [[] for _ in members]
    threads = [
        threading.Thread(target=train, args=(member, weighted, own, *more))
        for member, own in zip(members, losses, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return losses


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("bucket", "buckets"), [(1, 4), (12, 3), (1 << 22, 1)])
def test_two_halves_train_as_the_whole(weighted, bucket, buckets, backend64, monkeypatch):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    monkeypatch.setattr(gradient_sums, "BUCKET_NUMBERS", bucket)
    whole, expected = trainer(backend64), []
    train(whole, weighted, expected)
    hub = Hub(2)
    members = [trainer(backend64, InThreads(hub, rank)) for rank in range(2)]
    losses = together(members, weighted)
    assert hub.calls == 9 * (1 + buckets)  # in each step one for loss and state
    for member, own in zip(members, losses, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-12)
        assert_close(host(backend64, member.params), host(backend64, whole.params), 1e-12)
        state, wanted = (host(backend64, t.state)["2"] for t in (member, whole))
        np.testing.assert_allclose(state["mean"], wanted["mean"], atol=1e-12)
        np.testing.assert_allclose(state["count"], wanted["count"], rtol=1e-12)


def assert_same_as_alone(
    backend: Any, size: int, weighted: bool, *more: Any, **settings: Any
) -> None:
    """Assert that several threads train as one trainer does."""
    whole, expected = trainer(backend, **settings), []
    train(whole, weighted, expected, *more)
    hub = Hub(size)
    members = [trainer(backend, InThreads(hub, rank), **settings) for rank in range(size)]
    for member, own in zip(members, together(members, weighted, *more), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-12)
        assert_close(host(backend, member.params), host(backend, whole.params), 1e-12)


STATELESS = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(2)]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("accumulate", [2, 3])
def test_microbatches_are_those_of_one_process(accumulate, weighted, backend64):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    settings = {"accumulate": accumulate, "layers": STATELESS}
    assert_same_as_alone(backend64, 3, weighted, **settings)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_a_process_may_have_no_rows_of_the_last_batch(weighted, backend64):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    assert_same_as_alone(backend64, 3, weighted, 2 * BATCH + 1, layers=STATELESS)


def test_metrics_are_those_of_all_rows(backend64):
    if backend64.name == "jax":
        pytest.skip("a compiled step cannot wait for another thread")
    metrics = {"mae": nnb.metrics.get("mae")}
    assert_same_as_alone(backend64, 3, True, 2 * BATCH + 1, "mae", metrics=metrics)


def test_rows_that_a_loss_would_count_are_refused():
    backend = nnb.get_backend("numpy", dtype="float64")
    net = nnb.Network(STATELESS, backend=backend, input_shape=3)

    def own_loss(prediction: Any, target: Any, weight: Any = None) -> Any:
        return nnb.losses.mse(prediction, target)

    objective = Objective(net.layers, own_loss, nnb.activations.Identity(), {})
    one = Trainer(objective, nnb.Adam(), backend, net.params, 4, communicator=InThreads(Hub(50), 0))
    with pytest.raises(ValueError, match="8 rows cannot be divided among 50 processes"):
        train(one, False, [], 4 * BATCH)


def test_synchronized_statistics_do_not_go_with_parts_of_a_batch():
    backend = nnb.get_backend("numpy", dtype="float64")
    layers = [nnb.Dense(2), nnb.BatchNorm(synchronized=True)]
    with pytest.raises(ValueError, match="does not go with accumulate=2 in several processes"):
        trainer(backend, InThreads(Hub(2), 0), 2, layers=layers)
