"""Logs: the loss and the metrics of each epoch in a file."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, TextIO

from nnbackend.callbacks.base import Callback
from nnbackend.core.checks import check_path
from nnbackend.saving.atomic import write_atomically

if TYPE_CHECKING:
    from nnbackend.callbacks.run import Run

__all__ = ["CSVLog", "JSONLines"]


class _FileLog(Callback):
    """A text file with the loss and the metrics of each epoch, written when the epoch is done.

    A new run replaces the file. A resumed run writes the epochs before the checkpoint again, so that the
    file has each epoch once. A file that cannot be written at the start ends the run; later (a full
    disk) that is a warning, and each epoch tries again to write the whole file.
    """

    every_epoch = False  # epochs that are run together are written together

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path("path", path)
        self._file: TextIO | None = None
        self._names: list[str] = []
        self._epochs = 0
        self._warned = False

    def start(self, run: Run) -> None:
        """Write the earlier epochs of a resumed run, and open the file."""
        self._close()
        self._names, self._epochs = list(run.history), len(run.history)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self._text(run.history.rows(), header=True)
        write_atomically(self.path, text.encode())
        self._file = self.path.open("a", encoding="utf-8", newline="")

    def epoch_end(self, run: Run) -> None:
        """Write the epochs done."""
        try:
            if self._file is None or list(run.history) != self._names:  # other columns than before
                self.start(run)
            else:
                self._append(run)
        except OSError as error:  # which must not cost the training
            self._close()
            if not self._warned:
                self._warned = True
                problem = (
                    f"the log {self.path} cannot be written, and the training goes on: {error}"
                )
                warnings.warn(problem, UserWarning, stacklevel=2)

    def _append(self, run: Run) -> None:
        """Write the epochs since the last call, all of them or none."""
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        try:
            self._file.write(self._text(run.history.rows(self._epochs)))
            self._file.flush()
        except OSError:
            self._close()
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            raise
        self._epochs = len(run.history)

    def stop(self, run: Run) -> None:
        """Close the file."""
        self._close()
        self._warned = False

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # all is written, or it is known that it is not
                file.close()

    @abstractmethod
    def _text(self, rows: list[dict[str, float]], header: bool = False) -> str:
        """Return epochs as lines, if there are any under a header."""


class JSONLines(_FileLog):
    """Writes a JSON object for each epoch to a file, one per line, with the names of the history.

    A value that is not finite becomes ``null``: JSON has no such numbers.

    Args:
        path: the file; an existing one is replaced, and the folder is made if needed.

    Raises:
        OSError: the file cannot be written at the start; later that is a warning.
    """

    def _text(self, rows: list[dict[str, float]], header: bool = False) -> str:
        finite = ({n: v if math.isfinite(v) else None for n, v in row.items()} for row in rows)
        return "".join(f"{json.dumps(row)}\n" for row in finite)


class CSVLog(_FileLog):
    """Writes a line for each epoch to a CSV file, under the names of the history.

    Args:
        path: the file; an existing one is replaced, and the folder is made if needed.

    Raises:
        OSError: the file cannot be written at the start; later that is a warning.
    """

    def _text(self, rows: list[dict[str, float]], header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(rows[:1] if header else [])
        writer.writerows(row.values() for row in rows)
        return text.getvalue()
