"""``nnbackend train`` in several processes, when a launcher of MPI started them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise

from nnbackend.core import early_signals
from nnbackend.core.launcher import let_first_speak
from nnbackend.errors import BackendUnavailableError, few
from nnbackend.parallel import MPI, is_launched

__all__ = [
    "CHOICES",
    "choose_device",
    "describe_processes",
    "join_processes",
    "speaking_as_one",
    "wants_processes",
]

CHOICES = ("mpi", "none")
_INTERRUPTED = 128  # from here exit codes are those of signals


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


def describe_processes(parallel: MPI) -> str:
    """Return a line that says which processes train together."""
    places = [f"{rank}: {place}" for rank, place in enumerate(parallel.processes.places)]
    return f"{parallel.size} processes over MPI ({few(places, 8)})"


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
    processes.shows_traceback = False
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
