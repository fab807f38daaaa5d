"""MPI: the argument of ``fit`` that trains a network in several processes."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from nnbackend.core.checks import check_choice, check_number
from nnbackend.core.launcher import launched_size, let_first_speak, local_rank
from nnbackend.errors import BackendUnavailableError, unknown_name
from nnbackend.parallel.local_steps import LocalSteps
from nnbackend.parallel.processes import Processes

if TYPE_CHECKING:
    from nnbackend.backends.base import Backend
    from nnbackend.parallel.communicator import HostCommunicator

__all__ = ["MPI", "together"]

COMPRESSIONS = ("float16",)
_SHORTEST_TIMEOUT = 1.0
_SHORTEST_BEGINNING = 60.0  # seconds: machines start programs and import at different speeds
_known: dict[int, Processes] = {}  # by the number of their communicator


class MPI:
    """The processes that a launcher of MPI started: ``net.fit(x, y, parallel=nnb.parallel.MPI())``.

    Every process runs the same program with the same data. Each computes its share of every batch,
    and the gradients are added up, so that all take the same steps: those that one process would take,
    to rounding. Sums are added in the order of the processes, so that two runs with as many processes
    are equal bit for bit. Process 0 runs the callbacks, writes files and speaks. An error in one
    process ends all of them with a message; from this object's making on that holds for the whole
    program. In a program that no launcher started it changes nothing.

    Args:
        compress: ``"float16"``: gradients travel as numbers of 16 bits, with a factor for each piece, so
            that they neither overflow nor vanish; they have 11 bits then. None (the default): as they
            are.
        local_steps: how many steps each process takes alone before the parameters are averaged, for
            slow networks: a number, or a :class:`LocalSteps`. What is learned is then not what one
            process learns. None (the default): gradients are added up in each step.
        timeout: the seconds that a process may let the others wait before all are ended, with a message
            that names it; at least 1, default 600. So long, and at least a minute, they also wait for
            all to make this object. What one process does alone, such as writing a large checkpoint, has
            to fit in.
        reads: which rows of data that stream from files a process reads: ``"all"``, the default, for the
            batches that one process would make; or ``"share"``: a part of the files, row groups or
            memory map, of which the process makes its rows of each batch.
        comm: a communicator of mpi4py; None (the default): ``MPI.COMM_WORLD``, all processes.

    Attributes:
        processes: the processes, which met when all of them made this object; not where there is one.

    Raises:
        ImportError: mpi4py is not installed: ``pip install 'nnbackend[mpi]'``.
        BackendUnavailableError: there is no library of MPI, or another one than the launcher's.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        compress: str | None = None,
        local_steps: int | LocalSteps | None = None,
        timeout: float = 600.0,
        reads: str = "all",
        comm: Any = None,
    ) -> None:
        if compress is not None and compress not in COMPRESSIONS:
            raise unknown_name("compress", compress, COMPRESSIONS)
        self.compress = compress
        if local_steps is not None and not isinstance(local_steps, LocalSteps):
            local_steps = LocalSteps(local_steps)
        self.local_steps = local_steps
        self.reads = check_choice("reads", reads, ("all", "share"))
        self.timeout = check_number("timeout", timeout, _SHORTEST_TIMEOUT)
        library = _library(self.timeout)
        self._comm = library.COMM_WORLD if comm is None else comm
        if comm is None and self._comm.size == 1 and launched_size() > 1:
            message = (
                f"the launcher started {launched_size()} processes, and the library of MPI that mpi4py "
                f"uses sees one ({_first_line(library.Get_library_version())}): they do not belong "
                "together. Start the program with that library's own mpiexec, or build mpi4py for the "
                "launcher's library: pip install --no-binary mpi4py --force-reinstall mpi4py"
            )
            raise _shown_once(BackendUnavailableError(message))
        if self.size > 1:
            self.processes = _processes_of(self._comm, self.timeout)

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return int(self._comm.rank)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return int(self._comm.size)

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine, from 0: which card it takes.

        As the launcher says; of launchers that do not, all processes have to ask for it.
        """
        known = local_rank()
        if known is not None:
            return known
        here = self._comm.Split_type(_library(self.timeout).COMM_TYPE_SHARED)
        try:
            return int(here.rank)
        finally:
            here.Free()

    def connect(self, backend: Backend) -> HostCommunicator | None:
        """Return what adds up a backend's arrays over the processes; None: there is one process.

        Raises:
            ValueError: the steps of the backend are compiled, and cannot wait for other processes.
            BackendUnavailableError: several processes have one card.
        """
        if self.size == 1:
            return None
        from nnbackend.parallel.communicator import HostCommunicator
        from nnbackend.parallel.nccl import NCCLCommunicator, nccl_of

        self.processes.timeout = self.timeout
        if backend.static_shapes:
            raise ValueError(
                f"training in several processes does not go with {backend.name}, whose compiled steps "
                "cannot wait for each other: take numpy, cupy or torch"
            )
        self._check_cards(backend)
        if nccl_of(backend, self.processes) is not None and self.compress is None:
            made: HostCommunicator = NCCLCommunicator(self.processes, backend)
        else:
            made = HostCommunicator(self.processes, backend, self.compress)
        made.reads_share, made.local_steps = self.reads == "share", self.local_steps
        return made

    def _check_cards(self, backend: Backend) -> None:
        """Check that each process has a card of its own, if it computes on one."""
        number = getattr(backend.device, "id", None) if backend.name == "cupy" else None
        places = self.processes.gather([socket.gethostname(), number])
        for rank, place in enumerate(places):
            first = places.index(place)
            if place[1] is not None and first != rank:
                raise BackendUnavailableError(
                    f"processes {first} and {rank} both compute on cuda:{place[1]} of {place[0]}: start "
                    "no more processes than there are cards, and give each its own, "
                    "device=nnb.parallel.MPI().local_rank"
                )


@contextmanager
def together(parallel: MPI | None, backend: Backend) -> Iterator[HostCommunicator | None]:
    """Let several processes do the same: an error in all is raised in all, one of some ends all.

    What adds up a backend's arrays over them is yielded; None: this process is alone.

    Raises:
        RuntimeError: a callback asks for it, which the other processes do not call.
    """
    if parallel is None or parallel.size == 1:
        yield None
        return
    if parallel.processes.runs_callbacks:
        raise RuntimeError(
            "process 0 alone calls callbacks, and cannot train with the others in one: leave parallel= "
            "out there"
        )
    with parallel.processes.failing_together(), parallel.processes.silence():
        yield parallel.connect(backend)


def _library(timeout: float) -> Any:
    """Return the module MPI of mpi4py, which all processes import together.

    Args:
        timeout: the seconds to wait for the others.

    Raises:
        ImportError: mpi4py is not installed.
        BackendUnavailableError: it finds no library of MPI.
    """
    # MPICH would add lines of its own to the one that says why all processes end.
    os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")
    try:
        library = _begin_with_all_processes(max(timeout, _SHORTEST_BEGINNING))
    except ModuleNotFoundError:
        message = "training in several processes needs mpi4py: pip install 'nnbackend[mpi]'"
        raise _shown_once(ImportError(message, name="mpi4py")) from None
    except (ImportError, RuntimeError) as error:
        message = (
            "mpi4py finds no library of MPI: load your cluster's (module load mpi), or to try it on one "
            f"machine, pip install mpich ({_first_line(str(error))})"
        )
        raise _shown_once(BackendUnavailableError(message)) from error
    return library


def _begin_with_all_processes(timeout: float) -> Any:
    """Import what waits until all processes have begun MPI; end this one where one of them does not.

    MPI itself would wait without end for a process that failed before. No thread of Python runs
    meanwhile, but that of faulthandler does; the lines it writes name this function.
    """
    if launched_size() > 1 and "mpi4py.MPI" not in sys.modules:
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(timeout, exit=True, file=sys.__stderr__)
        try:
            with _ending_by_signals():
                from mpi4py import MPI as library
        finally:
            faulthandler.cancel_dump_traceback_later()
    from mpi4py import MPI as library

    return library


@contextmanager
def _ending_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end this process at once, where Python could not follow them."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for known in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(known)):
                before[known] = signal.signal(known, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown_once(error: Exception) -> Exception:
    """Return an error that each process has, and that the first one shows if nobody handles it."""
    show = sys.excepthook

    def hook(kind: type[BaseException], found: BaseException, trace: Any) -> None:
        if found is not error or let_first_speak():
            show(kind, found, trace)

    sys.excepthook = hook
    return error


def _processes_of(comm: Any, timeout: float) -> Processes:
    """Return the processes of a communicator, which meet the first time."""
    known = _known.get(comm.py2f())
    if known is None:
        known = _known[comm.py2f()] = Processes(comm, timeout)
        atexit.register(known.leave)  # before mpi4py's, which waits without end
        _end_all_on_error(known)
        _leave_before_exit(known)
    known.timeout = timeout
    return known


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].strip("\0 ")


def _end_all_on_error(processes: Processes) -> None:
    """Let an error that nobody handles end all processes, which would wait for this one."""
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if processes.is_child():
            show(kind, error, trace)
            return
        if issubclass(kind, KeyboardInterrupt):
            by = "" if processes.all_failed(error) else f"{processes.name(processes.rank)}: "
            processes.abort(f"{by}interrupted" if by or processes.rank == 0 else "", 130)
        if processes.has_been_said(error):
            return
        if not processes.all_failed(error):
            show(kind, error, trace)
            processes.abort(f"{processes.name(processes.rank)}: {kind.__name__}: {error}")
        if not processes.has_been_said(error):
            show(kind, error, trace)

    sys.excepthook = hook


def _leave_before_exit(processes: Processes) -> None:
    """Let ``os._exit`` tell the other processes, of which a launcher may end all without a word."""
    exit_at_once = os._exit

    def leave(status: int) -> NoReturn:
        # After has_left all have met at their end; a child of multiprocessing ends like this, too.
        if not (processes.is_child() or processes.has_left):
            if status or threading.current_thread() is not threading.main_thread():
                processes.abort(
                    f"{processes.name(processes.rank)}: os._exit({status})", status or 1
                )
            processes.leave()
        exit_at_once(status)

    os._exit = leave
