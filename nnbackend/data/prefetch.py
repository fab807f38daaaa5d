"""Reading ahead: the next items are prepared in a thread while the last one is worked on."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["ReadAhead"]

T = TypeVar("T")

_POLL_SECONDS = 0.2  # how often a thread that waits looks whether the other one is still there
_JOIN_SECONDS = 5.0  # that a reader is given to end what it is doing


class ReadAhead(Generic[T]):
    """An iterator over the items that a function yields, a few ahead, in a separate thread.

    Use it in a ``with`` statement: however the block is left, the thread is stopped, closes its
    iterator and is waited for. It stops between items; one that hangs in a read that never comes
    back is left behind after a few seconds, and does not keep the process from ending.

    An exception in the thread is raised where the next item is taken, with its own traceback. A
    thread that is gone without a word is noticed. Where no thread can be started, items are made when
    they are taken, as with ``ahead=0``.

    Args:
        make: returns the iterator; it is called, used and closed in the thread.
        ahead: the number of items that may be ready and waiting; 0: no thread, each is made when taken.

    Attributes:
        waiting: the seconds that were spent waiting for items.
    """

    def __init__(self, make: Callable[[], Iterator[T]], ahead: int) -> None:
        self._make = make
        self.waiting = 0.0
        self._closed = threading.Event()
        self._items: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=max(ahead, 1))
        self._direct: Iterator[T] | None = None
        self._thread: threading.Thread | None = None
        if ahead > 0:
            # A daemon: a reader that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._read, name="nnbackend reader", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        if self._thread is not None:
            try:
                self._thread.start()
            except RuntimeError:  # there are no threads, as in a browser, or no more of them
                self._thread = None
        if self._thread is None:
            self._direct = self._make()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._closed.set()
        _close(self._direct)
        if self._thread is not None:
            with contextlib.suppress(queue.Empty):
                self._items.get_nowait()  # room for a reader that waits for it
            self._thread.join(_JOIN_SECONDS)

    def __iter__(self) -> Iterator[T]:
        while True:
            started = time.perf_counter()
            kind, item = self._next()
            self.waiting += time.perf_counter() - started
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
            del item  # it is not kept while the next one is waited for

    def _next(self) -> tuple[str, Any]:
        """Return the next message of the reader."""
        if self._thread is None:
            assert self._direct is not None
            for item in self._direct:
                return "item", item
            return "end", None
        alive = True
        while alive:
            try:
                return self._items.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                alive = self._thread.is_alive()
        with contextlib.suppress(queue.Empty):  # its last words
            return self._items.get_nowait()
        raise RuntimeError(
            "the thread that reads the data ended without a word; "
            "with prefetch=0 the data are read without one"
        )

    def _read(self) -> None:
        """Put items in the queue until there are no more or they are no longer wanted; in the thread."""
        iterator: Iterator[T] | None = None
        try:
            iterator = self._make()
            for item in iterator:
                if not self._put(("item", item)):
                    return
                del item
            self._put(("end", None))
        except BaseException as error:  # whatever it is, it is the caller's to know
            self._put(("error", error))
        finally:
            _close(iterator)

    def _put(self, message: tuple[str, Any]) -> bool:
        """Wait until there is room; return False if it is no longer wanted."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(message, timeout=_POLL_SECONDS)
                return True
        return False


def _close(iterator: Any) -> None:
    """Let a generator run its ``finally`` clauses."""
    if hasattr(iterator, "close"):
        iterator.close()
