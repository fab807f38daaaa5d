"""Reading ahead in a thread: it is bounded, ends with the epoch, and hands errors on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from data.streams import (
    Broken,
    batches,
    network,
    weights,
)
from tools import assert_equal

import nnbackend as nnb
from nnbackend import data
from nnbackend.data import prefetch


def test_a_thread_that_dies_without_a_word_is_noticed(monkeypatch):
    monkeypatch.setattr(prefetch.ReadAhead, "_read", lambda self: None)
    with pytest.raises(RuntimeError, match=r"ended without a word.*prefetch=0"):
        network().fit(batches)


def test_a_system_exit_in_the_reader_is_not_lost():
    def leaves():
        yield from batches()
        sys.exit(3)

    net = network()
    with pytest.raises(SystemExit):
        net.fit(leaves)


def test_a_reader_is_ended_and_its_generator_closed_however_the_epoch_ends():
    closed = []

    def endless():
        try:
            while True:
                yield from batches()
        finally:
            closed.append(threading.current_thread().name)

    class Stops(nnb.callbacks.Callback):
        def batch_end(self, run):
            if run.step == 3:
                raise Broken

    with pytest.raises(Broken):
        network().fit(endless, callbacks=[Stops()])
    assert closed == ["nnbackend reader"]


def test_reading_ahead_is_bounded():
    made = []

    def counted():
        for batch in batches(5):
            made.append(0)
            yield batch

    class Watches(nnb.callbacks.Callback):
        def batch_end(self, run):
            time.sleep(0.005)
            # Two wait, one is in the reader's hand, one is being learned from.
            assert len(made) <= run.step + 4

    network().fit(counted, callbacks=[Watches()])
    assert len(made) == 14


def test_what_was_read_is_let_go_of():
    alive, most = [], 0

    class Rows(np.ndarray):
        pass

    def watched():
        nonlocal most
        for x, y in batches(5):
            x = x.view(Rows)
            alive.append(weakref.ref(x))
            most = max(most, sum(ref() is not None for ref in alive))
            yield x, y

    network().fit(watched)
    assert most <= 5


def test_the_next_block_is_read_while_this_one_is_worked_on():
    """The reader gets ahead although the caller takes nothing."""
    reached = threading.Event()

    def items():
        yield 1
        yield 2
        reached.set()
        yield 3

    with prefetch.ReadAhead(items, 2) as ahead:
        assert reached.wait(10)
        assert list(ahead) == [1, 2, 3]
        assert ahead.waiting >= 0


def test_waiting_is_measured():
    def slow():
        for batch in batches(35):
            time.sleep(0.05)
            yield batch

    history = network().fit(slow)
    assert history["waiting"][0] > 0.04
    assert history["waiting"][0] <= history["seconds"][0]


@pytest.fixture
def interruptible():
    """Python's way with Ctrl-C, which a shell takes from what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_an_epoch_keeps_the_one_before(capsys):
    def interrupted(epoch):
        for number, batch in enumerate(batches()):
            if (epoch, number) == (2, 3):
                signal.raise_signal(signal.SIGINT) if prefetching == 0 else (
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                )
                time.sleep(0.2)
            yield batch

    for prefetching in (0, 2):
        seen = []
        net = network()
        history = net.fit(
            data.Batches(interrupted, prefetch=prefetching),
            epochs=4,
            callbacks=[lambda run, seen=seen: seen.append(weights(run.network))],
        )
        assert len(history) == 1
        assert "interrupted in epoch 2" in history.stopped
        assert_equal(weights(net), seen[0])


def test_ctrl_c_ends_a_run_whose_reader_hangs(tmp_path, once):
    """In a process of its own: the reader never comes back, and must not keep the process."""
    script = tmp_path / "hang.py"
    script.write_text(
        "import signal, time, numpy as np, nnbackend as nnb\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # see `interruptible`
        "nnb.data.prefetch._JOIN_SECONDS = 0.5\n"
        "def hangs():\n"
        "    yield np.ones((4, 3)), np.ones((4, 1))\n"
        "    print('hanging', flush=True)\n"
        "    time.sleep(1000)\n"
        "history = nnb.Network([nnb.Dense(1)]).fit(hangs)\n"
        "print(history.stopped, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "hanging\n"
            child.send_signal(signal.SIGINT)
            assert "interrupted in epoch 1" in child.stdout.readline()
            assert child.wait(30) == 0
        finally:
            child.kill()
