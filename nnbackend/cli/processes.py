"""``nnbackend train`` in several processes, when a launcher of MPI started them."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise

from nnbackend.cli.settings import Settings
from nnbackend.cli.streaming import TableStream
from nnbackend.core import early_signals
from nnbackend.core.launcher import let_first_speak
from nnbackend.errors import BackendUnavailableError, few
from nnbackend.parallel import MPI, is_launched

__all__ = [
    "CHOICES",
    "READS",
    "choose_device",
    "choose_reading",
    "describe_processes",
    "describe_reading",
    "join_processes",
    "note_together",
    "speaking_as_one",
    "wants_processes",
]

CHOICES = ("mpi", "none")
_INTERRUPTED = 128  # from here exit codes are those of signals
READS = ("share", "all")


def wants_processes(arguments: Sequence[str]) -> bool:
    """Return whether a command, before its options are read, is to be run by several processes.

    What is wrong with the options has to be said once, too.
    """
    if arguments[:1] != ["train"]:
        return False
    chosen = [b for a, b in pairwise(arguments) if a == "--parallel"]
    chosen += [a.partition("=")[2] for a in arguments if a.startswith("--parallel=")]
    return chosen[-1:] == ["mpi"] or (is_launched() and chosen[-1:] != ["none"])


def join_processes(choice: str | None) -> MPI | None:
    """Return the processes that train together; None: this one trains alone.

    Args:
        choice: ``"mpi"``, ``"none"``, or None: as the launcher's environment variables say.
    """
    wanted = is_launched() if choice is None else choice == "mpi"
    parallel = MPI() if wanted else None
    return None if parallel is None or parallel.size == 1 else parallel


def choose_device(backend: str, device: str | None, parallel: MPI) -> str | None:
    """Return the device of this process: with CuPy, unless one is given, the card of its number."""
    return f"cuda:{parallel.local_rank}" if backend == "cupy" and device is None else device


def choose_reading(
    parallel: MPI, reads: str | None, stream: TableStream, settings: Settings
) -> MPI:
    """Return the processes, each of which reads its share of a stream, or all of it.

    If ``reads`` does not say, they share what can be read in parts, with the settings that go with it.
    """
    if reads is None:
        parts, batch = len(stream.piece_rows) - 1, settings.batch_size or 1
        shares = settings.accumulate == 1 and min(parts, batch, stream.rows) >= parallel.size
        reads = "share" if shares else "all"
    return MPI(reads=reads)


def note_together(parallel: MPI, notes: Sequence[str]) -> None:
    """Let process 0 note what others have noted of the rows that they alone have read."""
    for others in parallel.processes.gather(list(notes)):
        for note in others if parallel.rank == 0 else ():
            warnings.warn(note, UserWarning, stacklevel=2)


def describe_processes(parallel: MPI, stream: bool) -> str:
    """Return a line that says which processes train together, and what each reads if not a stream."""
    places = [f"{rank}: {place}" for rank, place in enumerate(parallel.processes.places)]
    reading = "" if stream else "; each reads the whole table, and computes its share of each batch"
    return f"{parallel.size} processes over MPI ({few(places, 8)}){reading}"


def describe_reading(parallel: MPI) -> dict[str, str]:
    """Return a line that says what each process reads of a stream."""
    share = "each process reads its share of the rows, and makes its part of each batch of them"
    whole = "each process reads all rows, and computes its share of each batch"
    return {"reading": share if parallel.reads == "share" else whole}


@contextmanager
def speaking_as_one(arguments: Sequence[str]) -> Iterator[None]:
    """Let process 0 speak for all in a command, and an error of one end all.

    What another process prints is shown only if it fails alone. With the command MPI ends.
    """
    try:
        parallel = join_processes("mpi" if wants_processes(arguments) else "none")
    except (ImportError, BackendUnavailableError) as error:
        if let_first_speak():
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if parallel is None:
        yield
        return
    early_signals.unwatch()  # an interruption is an error of which process 0 speaks
    processes, kept = parallel.processes, io.StringIO()
    processes.shows_traceback = processes.silences = False
    with ExitStack() as stack:
        if parallel.rank:
            stack.enter_context(redirect_stdout(kept))
            stack.enter_context(redirect_stderr(kept))
        try:
            yield
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else int(bool(ending.code))
            if code and not processes.all_failed(ending):
                said = kept.getvalue().strip() or f"ended with code {code}"
                message = f"{processes.name(parallel.rank)}: {said}"
                has_said_it = parallel.rank == 0 and code >= _INTERRUPTED
                processes.abort("" if has_said_it else message, code)
            processes.end()
            raise
