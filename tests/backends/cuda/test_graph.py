"""Launches captured into a CUDA graph: on streams of the host, and on a card."""

from __future__ import annotations

from typing import Any

import host_cublas as host
import numpy as np
import pytest
from conftest import require

from nnbackend.backends.cuda import cublas
from nnbackend.backends.cuda.graph import Captured


class Counter:
    """Launches that add one to a number in memory that is there before and after."""

    def __init__(self) -> None:
        self.cupy = host.HostCuPy()
        self.number = self.cupy.asarray(np.zeros(1))
        self.asked = 0  # how often the host queued them
        self.last: Any = None
        self.also: Any = lambda stream: None

    def __call__(self, stream: host.Stream) -> None:
        assert stream is self.cupy.cuda.get_current_stream()
        self.asked += 1
        self.last = stream
        stream.queue(self.add, 1.0)
        self.also(stream)

    def add(self) -> None:
        self.number += 1.0


def replay(captured: Captured, times: int) -> None:
    for _ in range(times):
        captured.replay()


@pytest.fixture
def counter() -> Counter:
    return Counter()


def test_launches_are_run_once_captured_once_and_replayed(counter):
    captured = Captured(counter.cupy, counter)

    for n, after in [(1, 1), (0, 1), (1, 2), (5, 7), (1, 8)]:
        replay(captured, n)
        assert counter.number[0] == after

    assert counter.asked == 2  # as it is, and for the capture
    assert captured.refused == ""
    assert captured._graph.launches == 7
    assert captured._graph.uploads == 1
    assert counter.last.non_blocking


def test_what_runs_only_once_is_not_captured(counter):
    Captured(counter.cupy, counter).replay()

    assert len(counter.cupy.cuda.streams) == 1


def test_all_is_queued_on_the_stream_that_is_current(counter):
    captured, cuda = Captured(counter.cupy, counter), counter.cupy.cuda
    mine = cuda.Stream()

    with mine:
        replay(captured, 3)
    replay(captured, 2)

    assert counter.number[0] == 5
    assert captured._graph.launches == 4
    assert cuda.get_current_stream() is cuda.streams[0]
    assert all(stream.recorded is None for stream in cuda.streams)


def refusing(stream: host.Stream) -> None:
    if stream.recorded is not None:
        raise NotImplementedError("calling cuBLAS API during stream capture is not supported")


def synchronizing(stream: host.Stream) -> None:
    if stream.recorded is not None:
        stream.synchronize()


def breaking(stream: host.Stream) -> None:
    if stream.recorded is not None:
        stream.broken = True


@pytest.mark.parametrize(
    ("also", "reason"),
    [
        (refusing, "NotImplementedError: calling cuBLAS API during stream capture"),
        (synchronizing, "CUDARuntimeError: cudaErrorStreamCaptureUnsupported"),
        (breaking, "CUDARuntimeError: cudaErrorStreamCaptureInvalidated"),
    ],
)
def test_a_capture_that_fails_is_ended_and_nothing_is_lost(counter, also, reason):
    counter.also = also
    captured, cuda = Captured(counter.cupy, counter), counter.cupy.cuda

    replay(captured, 4)
    replay(captured, 1)

    assert captured.refused.startswith(reason)
    assert counter.number[0] == 5
    assert counter.asked == 6  # one of them for the capture, which runs nothing
    assert all(stream.recorded is None and not stream.broken for stream in cuda.streams)
    assert cuda.get_current_stream() is cuda.streams[0]
    assert cuda._allocator == [None]


def test_memory_that_is_asked_for_in_a_capture_refuses_it(counter):
    counter.also = lambda stream: counter.cupy.empty(16, np.float32)
    captured = Captured(counter.cupy, counter)

    replay(captured, 3)

    assert (
        captured.refused
        == "RuntimeError: 64 bytes of device memory were requested during a capture"
    )
    assert counter.number[0] == 3


def test_a_capture_that_cannot_begin_is_refused(counter):
    counter.cupy.cuda.no_captures = True
    captured = Captured(counter.cupy, counter)

    replay(captured, 3)

    assert captured.refused == "CUDARuntimeError: cudaErrorNotSupported"
    assert counter.number[0] == 3


def test_an_interruption_ends_the_capture(counter):
    def interrupted(stream: host.Stream) -> None:
        if stream.recorded is not None:
            raise KeyboardInterrupt

    captured = Captured(counter.cupy, counter)
    captured.replay()
    counter.also = interrupted
    with pytest.raises(KeyboardInterrupt):
        captured.replay()
    counter.also = lambda stream: None

    assert all(stream.recorded is None for stream in counter.cupy.cuda.streams)
    replay(captured, 2)
    assert (counter.number[0], captured.refused) == (3, "")


def test_an_error_of_the_launches_themselves_is_raised(counter):
    def wrong(stream: host.Stream) -> None:
        raise ZeroDivisionError

    captured = Captured(counter.cupy, counter)
    captured.replay()
    counter.also = wrong
    with pytest.raises(ZeroDivisionError):
        captured.replay()


def test_products_can_be_captured(counter, blas):
    cupy = counter.cupy
    cupy.cuda = blas.cuda
    a, b, out = (cupy.asarray(np.random.default_rng(i).normal(size=(4, 4))) for i in range(3))
    launch = cublas.product(cupy, a, b, out, cublas.new_workspace(cupy))
    captured = Captured(cupy, lambda stream: launch())
    replay(captured, 2)
    a += 1.0  # the graph reads the memory, not what was there

    captured.replay()

    np.testing.assert_allclose(out, a @ b)
    assert len(blas.launched) == 2
    assert captured._graph.launches == 2


@pytest.fixture
def card() -> Any:
    """CuPy with a device."""
    require("cupy")
    import cupy

    return cupy


def test_a_graph_on_a_card(card):
    number, total = card.zeros(1, np.float32), card.zeros(1, np.float32)
    add = card.RawKernel(
        'extern "C" __global__ void add(float* x, float* s) { x[0] += 1.0f; s[0] += x[0]; }', "add"
    )
    captured = Captured(card, lambda stream: add((1,), (1,), (number, total)))

    for n in (1, 1, 10, 3):
        replay(captured, n)

    assert captured.refused == ""
    assert (float(number[0]), float(total[0])) == (15.0, 120.0)


def test_products_in_a_graph_on_a_card(card):
    if reason := cublas.available(0):
        pytest.skip(reason)
    rng = np.random.default_rng(0)
    x, w = (card.asarray(rng.normal(size=s).astype(np.float32)) for s in ((64, 32), (32, 32)))
    w *= 0.1
    y, z = card.empty((64, 32), np.float32), card.empty((32, 32), np.float32)
    space = cublas.new_workspace(card)
    products = [
        cublas.product(card, x, w, y, space),
        cublas.product(card, x.T, y, z, space),
    ]
    update = card.ElementwiseKernel("float32 z", "float32 w", "w -= 1e-3f * z", "nnb_update")

    def launch_all(stream: Any) -> None:
        products[0]()
        card.maximum(y, 0.0, out=y)
        products[1]()
        update(z, w)

    expected = card.asnumpy(w).astype(np.float64)
    wide = card.asnumpy(x).astype(np.float64)
    for _ in range(20):
        expected -= 1e-3 * wide.T @ np.maximum(wide @ expected, 0.0)
    captured = Captured(card, launch_all)

    replay(captured, 8)
    with card.cuda.Stream(non_blocking=True) as stream:
        stream.wait_event(card.cuda.Stream.null.record())
        replay(captured, 12)
        stream.synchronize()

    assert captured.refused == ""
    np.testing.assert_allclose(card.asnumpy(w), expected, rtol=1e-4, atol=1e-6)


def test_cupys_own_products_are_refused_and_run(card):
    a, b = (card.asarray(np.random.default_rng(i).normal(size=(4, 4))) for i in range(2))
    out = card.zeros((4, 4))

    def launch_all(stream: Any) -> None:
        card.matmul(a, b, out=out)

    captured = Captured(card, launch_all)
    replay(captured, 3)

    assert captured.refused
    np.testing.assert_allclose(card.asnumpy(out), card.asnumpy(a) @ card.asnumpy(b))
