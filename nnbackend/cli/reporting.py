"""How a command fails, and what it notes: one message, an exit code, no traceback."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from nnbackend.cli.arguments import WrongCall
from nnbackend.cli.printing import say
from nnbackend.cli.signals import Interruption, interruptible
from nnbackend.errors import (
    BackendUnavailableError,
    DivergenceError,
    OutOfMemoryError,
    UnknownNameError,
)
from nnbackend.tables.table import ColumnError

__all__ = ["reporting"]

# Failures of the work itself, whose messages are written for users.
_OWN_ERRORS = (
    WrongCall,
    ValueError,
    OSError,
    BackendUnavailableError,
    DivergenceError,
    OutOfMemoryError,
)


@contextmanager
def reporting(debug: bool, quiet: bool = False) -> Iterator[tuple[list[str], Interruption]]:
    """Turn errors into one message and an exit code, warnings into notes, and watch for signals.

    The notes, and whether there was a signal, are yielded. With ``debug`` the traceback is shown as
    well; with ``quiet`` the notes are not printed.
    """
    notes: list[str] = []
    seen: set[str] = set()
    interruption = Interruption()

    def note(message: Warning | str, *_: Any) -> None:
        # A stream is read in many parts, and each part has the same note about its rows.
        kind = re.sub(r"\d+", "", str(message))
        if kind in seen:
            return
        seen.add(kind)
        notes.append(str(message))
        if not quiet:
            say(f"note: {message}", error=True)

    try:
        with interruptible(interruption), warnings.catch_warnings():
            # Those of other categories speak to programmers.
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = note  # type: ignore[assignment]
            yield notes, interruption
    except (typer.Exit, SystemExit, BrokenPipeError):
        raise
    except BaseException as error:
        if debug:
            traceback.print_exc()
        # What is interrupted in C may fail with another error.
        if isinstance(error, KeyboardInterrupt) or (
            interruption.number is not None and not isinstance(error, _OWN_ERRORS)
        ):
            advice = f"; {error}" if isinstance(error, KeyboardInterrupt) and error.args else ""
            _fail(f"interrupted{advice}", interruption.exit_code)
        _fail(_message(error), 2 if isinstance(error, WrongCall | UnknownNameError) else 1)


def _message(error: BaseException) -> str:
    if isinstance(error, ColumnError):
        return error.for_command_line
    if isinstance(error, (*_OWN_ERRORS, ImportError)) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this: {error}"
    return f"{type(error).__name__}: {error} (--debug shows where)"


def _fail(message: str, code: int) -> None:
    say(f"error: {message}", error=True)
    sys.exit(code)
