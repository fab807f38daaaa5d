"""What the commands share: their arguments, their messages, and how they fail."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.cli.signals import Interruption, interruptible
from nnbackend.errors import (
    BackendUnavailableError,
    DivergenceError,
    OutOfMemoryError,
    UnknownNameError,
)
from nnbackend.tables.reading import find_tables

__all__ = [
    "BackendName",
    "DataFile",
    "Debug",
    "DeviceName",
    "Dtype",
    "Json",
    "LoadedPrecision",
    "ModelFile",
    "PrecisionName",
    "Reported",
    "Threads",
    "WrongCall",
    "check_output",
    "choose_backend",
    "peak_memory",
    "plain_table",
    "print_facts",
    "print_json",
    "print_metrics",
    "print_table",
    "printable",
    "reporting",
    "say",
    "wrong_call",
]


def _check_tables(path: Path) -> Path:
    """Check that a path exists, or that a folder or a pattern stands for some files."""
    try:
        find_tables(path)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    return path


_where_option = partial(typer.Option, rich_help_panel="Where it runs")
_result_option = partial(typer.Option, rich_help_panel="The result")

DataFile = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        callback=_check_tables,
        help="A table: .csv or .tsv (also .gz), .parquet, .feather, .jsonl or .npz; or a folder or a "
        "quoted pattern, 'folder/*.parquet', of tables with the same columns.",
        show_default=False,
    ),
]
ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        exists=True,
        dir_okay=False,
        help="A file that 'nnbackend train' wrote.",
        show_default=False,
    ),
]
BackendName = Annotated[
    str, _where_option(help="numpy, cupy, torch, jax, array-api-strict or auto.")
]
DeviceName = Annotated[
    str | None,
    _where_option(
        help="A device as 'nnbackend backends' lists it: cuda:1, or 1.", show_default="the first"
    ),
]
Dtype = Annotated[
    str | None,
    _where_option(help="What parameters are kept in: float32 or float64.", show_default="float32"),
]
_precision_option = partial(
    _where_option,
    "--precision",
    help="What is computed in: float64, float32, tf32, or mixed: float16, bfloat16.",
)
PrecisionName = Annotated[str | None, _precision_option(show_default="that of --dtype")]
LoadedPrecision = Annotated[
    str | None, _precision_option(show_default="the model's, where the backend has it")
]
Threads = Annotated[
    int | None,
    _where_option(
        min=1,
        max=1 << 16,
        help="How many threads BLAS may use.",
        show_default="1 for small products, for others what the library chooses",
    ),
]
Json = Annotated[bool, _result_option("--json", help="Print one JSON object and nothing else.")]
Reported = Annotated[
    bool,
    _result_option(
        "--report", help="Show all metrics of the task, class by class, and the confusion matrix."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]

_out = Console(markup=False, emoji=False, highlight=False)
_err = Console(markup=False, emoji=False, highlight=False, stderr=True)
_wide = Console(markup=False, emoji=False, highlight=False, width=1000)


class WrongCall(Exception):
    """The command was called in a way that cannot work; exit code 2."""


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
            _err.print(f"note: {printable(message)}", soft_wrap=True)

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
    if isinstance(error, (*_OWN_ERRORS, ImportError)) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this: {error}"
    return f"{type(error).__name__}: {error} (--debug shows where)"


def _fail(message: str, code: int) -> None:
    _err.print(f"error: {printable(message)}", soft_wrap=True)
    sys.exit(code)


@contextmanager
def wrong_call(option: str | None = None) -> Iterator[None]:
    """Turn errors about arguments, such as a rate out of range, into wrong calls; name the option."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise WrongCall(f"{option}: {error}" if option else str(error)) from error


def check_output(output: Path, *inputs: Path, option: str = "--output") -> None:
    """Check, before any work, that a file can be written and is not among what is read.

    Raises:
        WrongCall: it cannot, or it is; the message names the option.
    """
    try:
        if output.exists():
            if any(output.samefile(file) for path in inputs for file in find_tables(path)):
                raise WrongCall(f"{option} {output} would overwrite what is read")
            if not output.is_file():
                raise WrongCall(f"{option} {output} is not a regular file")
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WrongCall(f"{option} {output} cannot be written: {reason}") from error


def choose_backend(
    name: str, device: str | None, dtype: str | None = None, precision: str | None = None
) -> Backend:
    """Return the backend of a call.

    Raises:
        WrongCall: there is no such backend, or it has no such device or precision.
        BackendUnavailableError: it cannot be used on this machine.
    """
    with wrong_call():
        try:
            return get_backend(name, device, dtype, precision)
        except BackendUnavailableError as error:
            if device is None:
                raise
            get_backend(name)  # if that can be used, it is the device that cannot
            raise WrongCall(f"--device {device}: {error}") from error


def peak_memory(backend: Backend) -> int | None:
    """Return the peak memory in bytes: of the device, or on the CPU of this process; None: unknown."""
    memory = backend.memory()
    if memory is not None:
        return memory.peak
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def printable(value: object) -> str:
    """Return a text with its control characters escaped: they could control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def say(message: str = "", error: bool = False) -> None:
    """Print one line for people, of any length."""
    (_err if error else _out).print(printable(message), soft_wrap=True)


def print_facts(facts: dict[str, Any]) -> None:
    """Print names and values side by side."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(printable(name), printable(value))
    _out.print(grid)


def print_metrics(
    rows: dict[str, dict[str, float] | None], remarks: dict[str, str], task: str
) -> None:
    """Print a table with a row for each set of values and a column for each metric."""
    filled = {name: values for name, values in rows.items() if values}
    lines = [
        (name, *(_METRIC_FORMATS.get(m, "{:.4g}").format(v) for m, v in values.items()),
         remarks.get(name, ""))
        for name, values in filled.items()
    ]  # fmt: skip
    # A target of numbers is scaled for the network, and so is its loss.
    headers = {"loss": "scaled loss"} if task == "regression" else {}
    names = [headers.get(name, name) for name in next(iter(filled.values()), ())]
    table = plain_table(("", *names, ""), lines)
    table.columns[-1].justify = "left"
    _out.print(table)


def plain_table(
    header: Sequence[str] | None, lines: Iterable[Iterable[object]], justify: Any = "right"
) -> Table:
    """Return a table without rules: a column of texts, and others, justified, under a header."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header is not None)
    for i, name in enumerate(header or ()):
        table.add_column(printable(name), justify=justify if i else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(printable, line))
    return table


def print_table(table: Table) -> None:
    """Print a table for people: as wide as the terminal, and elsewhere as wide as it is."""
    (_out if _out.is_terminal else _wide).print(table)


_METRIC_FORMATS = {"accuracy": "{:.1%}", "r2": "{:.4f}"}


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False))
