"""The command line: one file per command. Only this package imports typer and rich."""

from __future__ import annotations

import io
import sys

from nnbackend.core import early_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line; without its libraries, say how to install them and exit with 1."""
    early_signals.watch()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # where a locale lacks characters, they are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        from nnbackend.cli.app import app
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("typer", "rich"):
            raise
        sys.exit(f"nnbackend: {library} is not installed; run: pip install 'nnbackend[cli]'")
    from nnbackend.cli.processes import speaking_as_one

    try:
        with speaking_as_one(sys.argv[1:]):
            app(prog_name="nnbackend")
    except SystemExit as ending:
        early_signals.leave(ending.code)
