"""The options of ``nnbackend train`` besides its settings: files, backend, how the run is watched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from pathlib import Path

from nnbackend import callbacks
from nnbackend.callbacks import Callback
from nnbackend.cli.arguments import (
    BackendName,
    DataFile,
    Debug,
    DeviceName,
    Dtype,
    HTMLFile,
    Json,
    PrecisionName,
    Reported,
    Threads,
    check_html,
    check_output,
)
from nnbackend.cli.options import data_option, result_option, run_option, where_option
from nnbackend.cli.processes import CHOICES, READS
from nnbackend.tables.reading import is_table_name

__all__ = ["Call"]

LOG_CALLBACKS = {".jsonl": callbacks.JSONLines, ".csv": callbacks.CSVLog}
SECONDS_IN = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_seconds(text: str) -> float:
    """Return the seconds that ``90``, ``90s``, ``15m``, ``1.5h`` or ``2d`` stand for."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ValueError(f"--max-time takes a time like 90, 90s, 15m, 1.5h or 2d; got {text!r}")
    return float(match[1]) * SECONDS_IN[match[2]]


def read_parallel(text: str) -> str:
    """Return the choice that a text is."""
    if text not in CHOICES:
        raise ValueError(f"--parallel takes mpi or none, got {text!r}")
    return text


def read_reads(text: str) -> str:
    """Return the choice that a text is."""
    if text not in READS:
        raise ValueError(f"--reads takes share or all, got {text!r}")
    return text


def path_for(option: str) -> Callable[[str], Path]:
    """Return the function that reads a path; an empty text would be the current folder."""

    def read(text: str) -> Path:
        if not text.strip() or "\0" in text:
            raise ValueError(f"{option} takes a path, got {text!r}")
        return Path(text)

    return read


@dataclass(frozen=True)
class Call:
    """A call of the command; the help of each option says what it does.

    Raises:
        ValueError, WrongCall: a file cannot be read or written, or is of an unknown kind.
    """

    data: DataFile
    target: str = data_option(
        MISSING, "The column, or the array, to predict.", metavar="COLUMN", show_default=False
    )
    backend: BackendName = "numpy"
    device: DeviceName = None
    dtype: Dtype = None
    precision: PrecisionName = None
    threads: Threads = None
    parallel: str | None = where_option(
        None,
        "Whether the processes that mpiexec started train one network together: mpi or none.",
        metavar="mpi|none",
        show_default="mpi under a launcher of MPI",
        read=read_parallel,
    )
    reads: str | None = where_option(
        None,
        "With --stream in several processes: each reads its share of the rows, or all, for the very "
        "batches of one process: share or all.",
        metavar="share|all",
        show_default="share, where there are as many files or row groups as processes",
        read=read_reads,
    )

    checkpoint: Path | None = run_option(
        None,
        "A folder for checkpoints: one after each epoch, the newest three are kept.",
        metavar="DIR",
        show_default="none are written",
        read=path_for("--checkpoint"),
    )
    resume: Path | None = run_option(
        None,
        "A checkpoint, or a folder of them, to resume from exactly; repeat the other options.",
        metavar="PATH",
        show_default="a new run",
        read=path_for("--resume"),
    )
    patience: int | None = run_option(
        None,
        "Stop when the validation loss has not improved for so many epochs; keep the best weights. "
        "Networks for tables always keep them, and wait as many epochs longer as the best one's number.",
        min=1,
        show_default="all epochs",
    )
    log: Path | None = run_option(
        None,
        "Write the metrics of each epoch to a .jsonl or .csv file.",
        metavar="FILE",
        show_default="none",
    )
    max_time: float | None = run_option(
        None,
        "Stop after a time: 90 (seconds), 15m, 2h.",
        metavar="TIME",
        show_default="all epochs",
        read=read_seconds,
    )

    output: Path = result_option(
        Path("model.safetensors"), "The model file to write.", "--output", "-o"
    )
    profile: bool = result_option(False, "Show where the time goes, layer by layer.", "--profile")
    in_full: Reported = False
    html: HTMLFile = None
    as_json: Json = False
    quiet: bool = result_option(False, "Print nothing but errors.", "--quiet", "-q")
    debug: Debug = False

    def __post_init__(self) -> None:
        check_output(self.output, self.data)
        if is_table_name(self.output):
            raise ValueError(
                f"--output {self.output} names a table, and a model is written: say model.safetensors"
            )
        if (
            self.checkpoint is not None
            and self.checkpoint.exists()
            and not self.checkpoint.is_dir()
        ):
            raise ValueError(f"--checkpoint takes a folder, and {self.checkpoint} is none")
        if self.resume is not None and not self.resume.exists() and self.resume != self.checkpoint:
            raise ValueError(f"--resume {self.resume}: there is no such checkpoint or folder")
        if self.log is not None:
            if self.log.suffix not in LOG_CALLBACKS:
                raise ValueError(
                    f"--log writes {' or '.join(LOG_CALLBACKS)}, not {self.log.name!r}"
                )
            check_output(self.log, self.data, option="--log")
        check_html(self.html, self.output, *filter(None, [self.log]), data=self.data)

    @property
    def prints(self) -> bool:
        """Whether anything is printed for people."""
        return not (self.quiet or self.as_json)

    def check_patience(self, validates: bool) -> None:
        """Refuse early stopping without validation rows."""
        if self.patience is not None and not validates:
            raise ValueError(
                "--patience watches the validation loss, and no rows are set aside; give "
                "--validation a share of the rows"
            )

    def check_folds(self, folds: int) -> None:
        """Refuse what is of one network where there are several."""
        for option in ("checkpoint", "resume", "log", "profile"):
            if folds > 1 and getattr(self, option):
                raise ValueError(
                    f"--{option} is of one network, and {folds} are trained, one for each fold: "
                    "leave it out, or say --folds 1"
                )

    def build_callbacks(self, validates: bool, *, by_recipe: bool = False) -> list[Callback]:
        """Return the callbacks for the options; refuse early stopping without validation rows.

        With ``by_recipe`` the training itself sees to the patience and to the time.
        """
        self.check_patience(validates)
        watching: list[Callback] = []
        if self.patience is not None and not by_recipe:
            watching.append(callbacks.EarlyStopping(patience=self.patience))
        if self.max_time is not None and not by_recipe:
            watching.append(callbacks.TimeBudget(self.max_time))
        if self.log is not None:
            watching.append(LOG_CALLBACKS[self.log.suffix](self.log))
        if self.checkpoint is not None:
            watching.append(callbacks.Checkpoint(self.checkpoint))
        return watching
