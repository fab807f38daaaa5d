"""How a training run is watched, ended and gone on with: options of ``nnbackend train``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nnbackend import callbacks
from nnbackend.callbacks import Callback
from nnbackend.cli.common import check_output

__all__ = ["Running", "seconds"]

_LOGS = {".jsonl": callbacks.JSONLines, ".csv": callbacks.CSVLog}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Running:
    """What is asked of a run beside what it learns; the options of the command explain them.

    Attributes:
        data: what is read, and must not be written to.

    Raises:
        ValueError: a number is out of range, or a file of an unknown kind.
        WrongCall: a file cannot be written.
    """

    checkpoint: Path | None = None
    resume: Path | None = None
    patience: int | None = None
    log: Path | None = None
    max_time: float | None = None

    data: Path | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.checkpoint.is_file():
            raise ValueError(f"--checkpoint takes a folder, and {self.checkpoint} is a file")
        if self.resume is not None and not self.resume.exists() and self.resume != self.checkpoint:
            raise ValueError(f"--resume {self.resume}: there is no such checkpoint or folder")
        if self.log is not None:
            if self.log.suffix not in _LOGS:
                raise ValueError(f"--log writes {' or '.join(_LOGS)}, not {self.log.name!r}")
            check_output(self.log, *([] if self.data is None else [self.data]), option="--log")

    def callbacks(self, validates: bool) -> list[Callback]:
        """Return the callbacks that do what was asked.

        Args:
            validates: whether there are validation rows.

        Raises:
            ValueError: there are none, and early stopping needs them.
        """
        asked: list[Callback] = []
        if self.patience is not None:
            if not validates:
                raise ValueError(
                    "--patience watches the validation loss, and no rows are set aside; give "
                    "--validation a share of the rows"
                )
            asked.append(callbacks.EarlyStopping(patience=self.patience))
        if self.max_time is not None:
            asked.append(callbacks.TimeBudget(self.max_time))
        if self.log is not None:
            asked.append(_LOGS[self.log.suffix](self.log))
        if self.checkpoint is not None:
            asked.append(callbacks.Checkpoint(self.checkpoint))
        return asked


def seconds(text: str) -> float:
    """Return the seconds that ``90``, ``90s``, ``15m``, ``1.5h`` or ``2d`` stand for.

    Raises:
        ValueError: it is no such text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ValueError(f"--max-time takes a time like 90, 90s, 15m, 1.5h or 2d; got {text!r}")
    return float(match[1]) * _UNITS[match[2]]
