"""The arguments and options that commands share, and what is wrong with a call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import get_backend
from nnbackend.errors import BackendUnavailableError
from nnbackend.report.write import check_report_libraries
from nnbackend.tables.model import ArrayModel, TableModel, load
from nnbackend.tables.reading import find_tables

__all__ = [
    "BackendName",
    "DataFile",
    "Debug",
    "DeviceName",
    "Dtype",
    "HTMLFile",
    "Json",
    "LoadedPrecision",
    "ModelFile",
    "PrecisionName",
    "Quiet",
    "Reported",
    "Threads",
    "WrongCall",
    "check_html",
    "check_output",
    "check_tables",
    "choose_backend",
    "load_model",
    "wrong_call",
]


class WrongCall(Exception):
    """The command was called in a way that cannot work; exit code 2."""


@contextmanager
def wrong_call(option: str | None = None) -> Iterator[None]:
    """Turn errors about arguments, such as a rate out of range, into wrong calls; name the option."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise WrongCall(f"{option}: {error}" if option else str(error)) from error


def check_tables(path: Path | None) -> Path | None:
    """Check that a path exists, or that a folder or a pattern stands for some files."""
    if path is None:
        return None
    try:
        find_tables(path)
    except (FileNotFoundError, ValueError) as error:  # a pipe
        raise typer.BadParameter(str(error)) from error
    return path


_where_option = partial(typer.Option, rich_help_panel="Where it runs")
_result_option = partial(typer.Option, rich_help_panel="The result")

DataFile = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        callback=check_tables,
        help="A table: .csv or .tsv (also .gz), .parquet, .feather, .jsonl or .npz; or a folder or a "
        "quoted pattern, 'folder/*.parquet', of tables with the same columns. Or images or signals: an "
        ".npz file of an array (rows, ...) and one of targets.",
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
Quiet = Annotated[
    bool, _result_option("--quiet", "-q", help="Print nothing but answers and errors: no notes.")
]
Reported = Annotated[
    bool,
    _result_option(
        "--report", help="Show all metrics of the task, class by class, and the confusion matrix."
    ),
]
HTMLFile = Annotated[
    Path | None,
    _result_option(
        "--html",
        metavar="FILE",
        help="Write a report as one HTML file: what was done to the data, scores beside baselines, "
        "calibration, importance of columns, partial dependence, ...",
        show_default="none",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]


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


def check_html(path: Path | None, *files: Path, data: Path) -> None:
    """Check, before any work, that a report can be written.

    Args:
        path: the file of the report; None: there is none.
        files: others of the call, which are not to be overwritten.
        data: the table that is read.

    Raises:
        WrongCall: it cannot, it is one of the others, or its name is not that of a page.
        ModuleNotFoundError: what makes reports is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise WrongCall(f"--html writes a page: say report.html, not {str(path)!r}")
    if path.resolve() in [file.resolve() for file in files]:
        raise WrongCall(f"--html {path} is another file of this call")
    check_report_libraries()
    check_output(path, data, option="--html")


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


def load_model(
    path: Path, backend: str, device: str | None, precision: str | None
) -> TableModel | ArrayModel:
    """Return the model of a call; see :func:`choose_backend` and :func:`nnbackend.tables.model.load`."""
    choose_backend(backend, device, precision=precision)  # a wrong call, before the file is read
    return load(path, backend=backend, device=device, precision=precision)
