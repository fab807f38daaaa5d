"""Ctrl-C and SIGTERM in a training that several processes share: noted at once, followed together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["NotedSignal", "noting_signals"]


class NotedSignal:
    """A signal that has come to this process.

    Attributes:
        number: its number; 0: none has.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    def follow(self, number: int) -> None:
        """Do what the signal means, as if it came now: raise a KeyboardInterrupt."""
        self.number = 0
        handler = self._before.get(signal.Signals(number))
        if callable(handler):
            handler(number, None)
        raise KeyboardInterrupt


@contextmanager
def noting_signals(twice: Callable[[], Any]) -> Iterator[NotedSignal]:
    """Note Ctrl-C and SIGTERM instead of leaving what the other processes wait for.

    SIGTERM is noted if something handles it already. A signal that was not followed is sent again.

    Args:
        twice: called when a signal comes a second time.
    """
    noted = NotedSignal()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, _: Any) -> None:
        if noted.number:
            twice()
        noted.number = number

    for known in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(known)):
            noted._before[known] = signal.signal(known, note)
    try:
        yield noted
    finally:
        for known, handler in noted._before.items():
            signal.signal(known, handler)
    if noted.number:
        signal.raise_signal(noted.number)
