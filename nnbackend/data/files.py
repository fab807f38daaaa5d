"""Files of tables: those that a path, a folder or a pattern stands for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from nnbackend.core.checks import check_items, check_path

__all__ = ["ending_of", "find_files"]


def find_files(
    given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], endings: Iterable[str]
) -> list[Path]:
    """Return the files that a path, a folder or a pattern (or several) stand for.

    Those of a folder are the ones of a known ending; those of folders and patterns are in the order of
    their names.

    Raises:
        FileNotFoundError: a path, a folder or a pattern stands for none.
        ValueError: a path is a pipe or a device.
    """
    files: list[Path] = []
    one = isinstance(given, str | os.PathLike)
    for each in [given] if one else check_items("files", given, "a path, or several"):
        path = os.fspath(check_path("files", each))
        if os.path.isdir(path):
            inside = [file for file in Path(path).iterdir() if _ending(file, endings)]
        elif os.path.exists(path):
            if not os.path.isfile(path):  # a pipe would be waited for, and is read only once
                raise ValueError(f"{path} is not a regular file; write the table to one first")
            inside = [Path(path)]
        elif not glob.has_magic(path):
            raise FileNotFoundError(f"{path} does not exist")
        else:
            inside = [Path(name) for name in glob.glob(path, recursive=True)]
        inside = sorted(file for file in inside if file.is_file())
        if not inside:
            raise FileNotFoundError(f"there is no table in {path}; known: {', '.join(endings)}")
        files += inside
    if not files:
        raise FileNotFoundError("no files were given")
    return files


def ending_of(path: Path, endings: Iterable[str]) -> str:
    """Return the one of the known endings that a file has, or raise a ValueError."""
    ending = _ending(path, endings)
    if ending is None:
        raise ValueError(
            f"cannot tell what {path} holds by its ending; known: {', '.join(endings)}"
        )
    return ending


def _ending(path: Path, endings: Iterable[str]) -> str | None:
    return next((ending for ending in endings if path.name.lower().endswith(ending)), None)
