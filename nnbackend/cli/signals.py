"""Ctrl-C and SIGTERM while a command runs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interruption", "interruptible"]


class Interruption:
    """Whether a signal asked the command to end.

    Attributes:
        number: the number of the signal; None: there was none.
    """

    number: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code that programs have which end by a signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise a KeyboardInterrupt, and remember that they came."""

    def interrupt(number: int, _: Any) -> None:
        interruption.number = number
        raise KeyboardInterrupt

    def try_again(lost: Any) -> None:
        # Where Python cannot raise (while it frees an object) it would print a traceback and go on.
        if interruption.number is None or lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
        else:
            threading.Timer(0.01, os.kill, (os.getpid(), interruption.number)).start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    hook, sys.unraisablehook = sys.unraisablehook, try_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
