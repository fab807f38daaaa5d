"""Fixtures of the tests of data: nothing hangs, and no reading thread is left."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from conftest import chosen


@pytest.fixture(autouse=True)
def no_hang():
    """A test that hangs fails."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def too_long(*_):
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 60)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_thread_stays():
    """No reading thread outlives a test."""
    yield
    deadline = time.monotonic() + 10
    while any(t.name == "nnbackend reader" for t in threading.enumerate()):
        assert time.monotonic() < deadline, "a reading thread is left"
        time.sleep(0.01)


@pytest.fixture
def once(request):
    """What takes long and does not depend on the backend is tested with NumPy only."""
    if "numpy" not in chosen(request.config):
        pytest.skip("tested with --backend numpy")


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")
