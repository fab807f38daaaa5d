"""How a training run is watched, ended and resumed: options of ``nnbackend train``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nnbackend import callbacks
from nnbackend.callbacks import Callback
from nnbackend.cli.common import check_output
from nnbackend.cli.options import Text, run_option

__all__ = ["Running", "read_seconds"]

_LOG_CALLBACKS = {".jsonl": callbacks.JSONLines, ".csv": callbacks.CSVLog}
_SECONDS_IN = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_seconds(text: str) -> float:
    """Return the seconds that ``90``, ``90s``, ``15m``, ``1.5h`` or ``2d`` stand for.

    Raises:
        ValueError: it is no such text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ValueError(f"--max-time takes a time like 90, 90s, 15m, 1.5h or 2d; got {text!r}")
    return float(match[1]) * _SECONDS_IN[match[2]]


@dataclass(frozen=True)
class Running:
    """How a run is watched, ended and resumed; the help of each option says what it does.

    Raises:
        ValueError: a number is out of range, or a file of an unknown kind.
    """

    checkpoint: Annotated[
        Path | None,
        run_option(
            help="A folder for checkpoints: one after each epoch, the newest three are kept.",
            metavar="DIR",
            show_default="none are written",
        ),
    ] = None
    resume: Annotated[
        Path | None,
        run_option(
            help="A checkpoint, or a folder of them, to resume from exactly; repeat the other options.",
            metavar="PATH",
            show_default="a new run",
        ),
    ] = None
    patience: Annotated[
        int | None,
        run_option(
            min=1,
            help="Stop when the validation loss has not improved for so many epochs; keep the best "
            "weights.",
            show_default="all epochs",
        ),
    ] = None
    log: Annotated[
        Path | None,
        run_option(
            help="Write the metrics of each epoch to a .jsonl or .csv file.",
            metavar="FILE",
            show_default="none",
        ),
    ] = None
    max_time: Annotated[
        float | None,
        run_option(
            help="Stop after a time: 90 (seconds), 15m, 2h.",
            metavar="TIME",
            show_default="all epochs",
        ),
        Text(read_seconds),
    ] = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.checkpoint.is_file():
            raise ValueError(f"--checkpoint takes a folder, and {self.checkpoint} is a file")
        if self.resume is not None and not self.resume.exists() and self.resume != self.checkpoint:
            raise ValueError(f"--resume {self.resume}: there is no such checkpoint or folder")
        if self.log is not None and self.log.suffix not in _LOG_CALLBACKS:
            raise ValueError(f"--log writes {' or '.join(_LOG_CALLBACKS)}, not {self.log.name!r}")

    def check_files(self, data: Path) -> None:
        """Refuse a log that cannot be written, or that is among the data."""
        if self.log is not None:
            check_output(self.log, data, option="--log")

    def build_callbacks(self, validates: bool) -> list[Callback]:
        """Return the callbacks for the options; refuse early stopping without validation rows."""
        watching: list[Callback] = []
        if self.patience is not None:
            if not validates:
                raise ValueError(
                    "--patience watches the validation loss, and no rows are set aside; give "
                    "--validation a share of the rows"
                )
            watching.append(callbacks.EarlyStopping(patience=self.patience))
        if self.max_time is not None:
            watching.append(callbacks.TimeBudget(self.max_time))
        if self.log is not None:
            watching.append(_LOG_CALLBACKS[self.log.suffix](self.log))
        if self.checkpoint is not None:
            watching.append(callbacks.Checkpoint(self.checkpoint))
        return watching
