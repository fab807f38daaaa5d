"""What a fuzzer lets pass: an error with a message of ours, and no file where none belongs."""

from __future__ import annotations

import contextlib
import dis
import hashlib
import os
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from hypothesis import settings

import nnbackend as nnb

PLAIN = (TypeError, ValueError, OSError, ModuleNotFoundError)
PACKAGE = str(Path(nnb.__file__).parent)
SKLEARN = f"{os.sep}sklearn{os.sep}"  # whose checks the estimators use


def part_of_examples(divisor: int) -> settings:
    """Return settings for a test of which an example takes long: fewer of them than the profile has."""
    return settings(max_examples=max(settings.default.max_examples // divisor, 1))


def is_ours(error: BaseException) -> bool:
    """Return whether an error was raised by this package, on purpose, with a message.

    That is: one of a class of its own, or a plain one that the package's code (or scikit-learn's, of the
    estimators) raised by a ``raise`` statement; a file that is missing may be reported by the system's
    error, which names it.
    """
    if not isinstance(error, Exception) or not str(error):
        return False
    module = type(error).__module__
    if module.startswith(("nnbackend.", "sklearn.")):
        return True
    if module != "builtins" or not isinstance(error, PLAIN):
        return False
    return raised_on_purpose(error.__traceback__) or (
        isinstance(error, OSError) and error.filename is not None
    )


def raised_on_purpose(place: TracebackType | None) -> bool:
    """Return whether the innermost frame is the package's, and at a ``raise`` statement.

    Of scikit-learn, which checks what estimators are given, any place will do.
    """
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return False
    code = place.tb_frame.f_code
    if SKLEARN in code.co_filename:
        return True
    is_raise = code.co_code[place.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return code.co_filename.startswith(PACKAGE) and is_raise


def attempt(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> tuple[bool, Any]:
    """Call a function; return whether it returned, and what. Fail the test if an error is not ours."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), time_limit(repr(function)):
            warnings.simplefilter("ignore")
            return True, function(*args, **kwargs)
    except (Exception, *_panics()) as error:
        if is_ours(error):
            return False, error
        raise AssertionError(
            f"a foreign error: {type(error).__name__}: {error}\n"
            + "".join(traceback.format_exception(error)[-3:])
        ) from error


def _panics() -> tuple[type[BaseException], ...]:
    """Return what polars raises when it fails in Rust, which is no Exception."""
    with contextlib.suppress(ModuleNotFoundError):
        import polars

        return (polars.exceptions.PanicException,)
    return ()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder, with others around it that must stay as they are."""
    with tempfile.TemporaryDirectory(prefix="nnb-fuzz-") as name:
        outside = Path(name)
        inside = outside / "outer" / "inner"
        inside.mkdir(parents=True)
        for victim in (outside / "victim", outside / "outer" / "victim"):
            victim.write_text("stays")
            victim.with_suffix(".safetensors").write_text("stays")
        (outside / "outer" / "000001-epoch-0001.safetensors").write_text("stays")
        before = _contents(outside, inside)
        with contextlib.chdir(inside):
            yield inside
        assert _contents(outside, inside) == before, "files outside the folder changed"


def _contents(outside: Path, inside: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in outside.rglob("*")
        if not path.is_relative_to(inside) or path == inside
    }


class TooLongError(BaseException):
    """Something took so long that it may have no end."""


@contextlib.contextmanager
def time_limit(what: str, seconds: float = 60.0) -> Iterator[None]:
    """Fail the test if what is done takes longer than it ever should."""

    def stop(*_: Any) -> None:
        raise TooLongError(f"{what} took more than {seconds} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_command(*arguments: str) -> int:
    """Run a command; fail the test unless it ends in a code of ours, with a message if it failed."""
    from typer.testing import CliRunner

    from nnbackend.cli.app import app

    with time_limit(f"nnbackend {' '.join(map(repr, arguments))}"):
        result = CliRunner().invoke(app, list(arguments))
    shown = f"nnbackend {' '.join(map(repr, arguments))}\n{result.output[-2000:]}"
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        f"{shown}\n{''.join(traceback.format_exception(result.exception)[-6:])}"
    )
    assert result.exit_code in (0, 1, 2), shown
    assert "Traceback" not in result.output, shown
    assert "--debug shows where" not in result.output, shown  # an error that nobody thought of
    assert result.exit_code == 0 or result.output.strip(), shown
    return int(result.exit_code)
