"""Ctrl-C and SIGTERM while a command runs."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
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


def send_again(number: int) -> None:
    """Send the process a signal, a little later."""

    def send() -> None:
        time.sleep(0.02)
        if os.name == "nt":
            signal.raise_signal(number)  # os.kill would end the process
        else:
            os.kill(os.getpid(), number)

    _thread.start_new_thread(send, ())


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM raise a KeyboardInterrupt, and remember that they came."""
    in_hook = False

    def interrupt(number: int, _: Any) -> None:
        interruption.number = number
        if in_hook:
            send_again(number)
        else:
            raise KeyboardInterrupt

    def look(lost: Any) -> None:
        # Where Python cannot raise (while it frees an object) it would print a traceback and go on.
        nonlocal in_hook
        in_hook = True
        if interruption.number is not None and lost.exc_type is KeyboardInterrupt:
            send_again(interruption.number)
        else:
            sys.__unraisablehook__(lost)
        in_hook = False

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    hook, sys.unraisablehook = sys.unraisablehook, look
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
