"""Sums from card to card, with a stand-in for CuPy and NCCL in threads: they have not run on cards."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnbackend.backends.cupy import CuPyBackend
from nnbackend.parallel.nccl import NCCLCommunicator, nccl_of

SIZE = 3
FLOAT32, FLOAT64, SUM, STREAM = 7, 8, 0, 99


class Card:
    """What the processes have in common: memory by address, and the vectors that were sent."""

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.sent: list[Any] = [None] * SIZE
        self.barrier = threading.Barrier(SIZE, timeout=20)
        self.calls: list[tuple[Any, ...]] = []
        self.shared: Any = None

    def array(self, values: Any) -> Any:
        host = np.array(values)
        self.memory[id(host)] = host
        place = SimpleNamespace(ptr=id(host))
        return SimpleNamespace(host=host, data=place, size=host.size, dtype=host.dtype)


class Links:
    """The ``NcclCommunicator`` of a thread."""

    def __init__(self, card: Card, size: int, name: tuple[int, ...], rank: int) -> None:
        assert (size, name) == (SIZE, (1, 2, 3))
        self.card, self.rank = card, rank

    def allReduce(self, sent: int, total: int, *more: int) -> None:
        self.card.sent[self.rank] = self.card.memory[sent]
        self.card.calls.append(more)
        self.card.barrier.wait()
        self.card.memory[total][...] = sum(self.card.sent)
        self.card.barrier.wait()


class Processes:
    def __init__(self, card: Card, rank: int) -> None:
        self.card, self.rank, self.size, self.waited = card, rank, SIZE, 0
        self.exchange = None  # of sums through the host's memory

    def share(self, data: Any) -> Any:
        if self.rank == 0:
            self.card.shared = data
        self.card.barrier.wait()
        return self.card.shared

    def gather_numbers(self, *numbers: int) -> np.ndarray:
        return np.array([numbers] * SIZE)

    def wait(self, is_done: Any) -> None:
        self.waited += 1
        assert is_done()


def backend(card: Card, available: bool = True) -> Any:
    made = CuPyBackend.__new__(CuPyBackend)
    stream = SimpleNamespace(ptr=STREAM, record=lambda: SimpleNamespace(done=True))
    nccl = SimpleNamespace(
        available=available, NCCL_FLOAT32=FLOAT32, NCCL_FLOAT64=FLOAT64, NCCL_SUM=SUM,
        get_unique_id=lambda: (1, 2, 3), NcclCommunicator=lambda *given: Links(card, *given),
    )  # fmt: skip
    library = SimpleNamespace(
        cuda=SimpleNamespace(nccl=nccl, get_current_stream=lambda: stream),
        ascontiguousarray=lambda array: array,
        empty_like=lambda array: card.array(np.empty_like(array.host)),
    )
    own = {"_cupy": library, "device": contextlib.nullcontext(), "scope": contextlib.nullcontext}
    for name, value in own.items():
        object.__setattr__(made, name, value)
    return made


def test_sums_go_from_card_to_card():
    card, found = Card(), [None] * SIZE

    def work(rank: int) -> None:
        communicator = NCCLCommunicator(Processes(card, rank), backend(card))
        single = card.array(np.full(4, rank + 1.0, dtype=np.float32))
        finish = communicator.start_sum(single)
        (double,) = communicator.sum([card.array([float(rank)])])
        found[rank] = finish().host, double.host, communicator.processes.waited

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for single, double, waited in found:
        assert single.tolist() == [6.0] * 4
        assert double.tolist() == [3.0]
        assert waited == 2
    assert card.calls == [(4, FLOAT32, SUM, STREAM)] * SIZE + [(1, FLOAT64, SUM, STREAM)] * SIZE


def test_without_nccl_on_one_of_them_sums_go_through_the_host():
    processes = Processes(Card(), 0)
    assert nccl_of(backend(Card()), processes) is not None
    assert nccl_of(backend(Card(), available=False), processes) is None
    assert nccl_of(SimpleNamespace(name="numpy"), processes) is None
