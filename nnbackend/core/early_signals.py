"""Ctrl-C while the command line starts: one line and an exit code, without a traceback.

Importing this package takes most of the start of a short command. It imports this module first, and this
module nothing that Python has not loaded by itself, or that imports anything else.
"""

from __future__ import annotations

import _signal  # what `signal` makes enumerations of, which takes as long as all of this
import os
import sys

from nnbackend.core.launcher import launched_rank

__all__ = ["end_at_once", "is_command_line", "leave", "unwatch", "watch"]


def is_command_line() -> bool:
    """Return whether the process was started as ``nnbackend`` or ``python -m nnbackend``."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # as long as the package of the program is imported
        for word, following in zip(sys.orig_argv, [*sys.orig_argv[1:], ""], strict=True):
            if word.startswith("-m"):
                return (word[2:] or following) == "nnbackend"
    return os.path.splitext(os.path.basename(started))[0] == "nnbackend"


def end_at_once(number: int, _: object) -> None:
    """End the process: nothing has begun that would have to be cleaned up."""
    if launched_rank() == 0:  # of several processes one says it
        os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def leave(code: str | int | None) -> None:
    """End the process with an exit code, now that all is done.

    Python would take a tenth of a second to take its modules apart, in which a signal ends it without a
    word, or remember a KeyboardInterrupt that was handled long ago.
    """
    import atexit
    import contextlib

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


_DEFAULTS = ((_signal.SIGINT, _signal.default_int_handler), (_signal.SIGTERM, _signal.SIG_DFL))


def watch() -> None:
    """End at once on Ctrl-C and SIGTERM, where nothing else was set for them."""
    for number, default in _DEFAULTS:
        if _signal.getsignal(number) == default:
            _signal.signal(number, end_at_once)


def unwatch() -> None:
    """Let Ctrl-C and SIGTERM do what they do in Python again."""
    for number, default in _DEFAULTS:
        if _signal.getsignal(number) is end_at_once:
            _signal.signal(number, default)


if is_command_line():
    watch()
