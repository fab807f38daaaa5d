"""The application: its commands and its version."""

from __future__ import annotations

from typing import Annotated

import typer

import nnbackend
from nnbackend.cli.backends import backends
from nnbackend.cli.draw import draw
from nnbackend.cli.evaluate import evaluate
from nnbackend.cli.explain import explain
from nnbackend.cli.inspect import inspect
from nnbackend.cli.predict import predict
from nnbackend.cli.train import train

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nnbackend {nnbackend.__version__}")
        raise typer.Exit


@app.callback()
def command_line(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Neural networks on tables: train, predict and evaluate, on NumPy, CuPy, torch or JAX."""


for command in (train, predict, evaluate, inspect, draw, explain, backends):
    app.command()(command)
