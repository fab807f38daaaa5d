"""A small process that outlives those that train, to say which of them was killed.

A launcher may kill all processes as soon as one is killed, so that none is left to say which one. So
process 0 starts one more, which shares no session with it, and to which each process holds a connection.
The first that ends without a word is named. It ends with them.

This file runs as a program of its own: it imports the standard library only.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnbackend.parallel.processes import Processes

__all__ = ["Watched"]

_CONNECTING = 5.0  # seconds to reach the machine of process 0
_BEGINNING = 60.0  # seconds for the first connection
_ENDING = 5.0  # seconds for the end, which takes a few milliseconds
_END = b"end\n"
_LONGEST = 200  # bytes that a stranger may send


class Watched:
    """The connection of a process to the one that names the killed; all processes make it together.

    Where there can be none (no POSIX, a program that is its own interpreter, a network that lets
    nothing through), what the launcher says has to do.

    Args:
        processes: the processes, which know each other's places.
    """

    def __init__(self, processes: Processes) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        where = self._start(processes) if processes.rank == 0 else None
        where = processes.share(where)
        if where is None:
            return
        host, port, token = where
        if host == socket.gethostname():
            host = "127.0.0.1"
        with suppress(OSError):
            self._connection = socket.create_connection((host, port), timeout=_CONNECTING)
            self._connection.sendall(f"{token} {processes.rank}\n".encode())
            os.register_at_fork(after_in_child=self._connection.close)

    def _start(self, processes: Processes) -> tuple[str, int, str] | None:
        """Start the process; return the machine and port where it listens, and what to say there."""
        may_start = os.name == "posix" and sys.executable and not getattr(sys, "frozen", False)
        if not may_start or not os.path.isfile(__file__):
            return None
        host, token = socket.gethostname(), secrets.token_hex()
        alone = all(place.endswith(f" on {host}") for place in processes.places)
        try:
            with socket.create_server(
                ("127.0.0.1" if alone else "", 0), backlog=processes.size
            ) as listener:
                self._watcher = subprocess.Popen(
                    [sys.executable, "-I", "-S", __file__, str(listener.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                )
                port = int(listener.getsockname()[1])
            assert self._watcher.stdin is not None
            names = [processes.name(rank) for rank in range(processes.size)]
            with self._watcher.stdin as pipe:
                pipe.write(json.dumps([token, names]).encode())
        except OSError:
            return None
        return host, port, token

    def end(self) -> None:
        """Say that all end, or that a message has been printed, and let the other process end."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.sendall(_END)
            self._connection.close()
        if self._watcher is not None:
            try:
                self._watcher.wait(_ENDING)
            except subprocess.TimeoutExpired:
                self._watcher.kill()
                self._watcher.wait()


def watch(listener: socket.socket, token: str, names: list[str]) -> str:
    """Wait for the end of the processes; return a message if one ended without a word, else "".

    Args:
        listener: where they connect.
        token: what they say first, and strangers do not know.
        names: each process in words.
    """
    greetings = {f"{token} {rank}".encode(): name for rank, name in enumerate(names)}
    lines: dict[Any, bytes] = {}  # by connection: a greeting, and the end
    # The selector of Linux returns what happened in its order, and the launcher kills the others later.
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        selector.register(listener, selectors.EVENT_READ)
        while found := selector.select(None if lines else _BEGINNING):
            for key, _ in found:
                if key.fileobj is listener:
                    accepted = stack.enter_context(listener.accept()[0])
                    selector.register(accepted, selectors.EVENT_READ)
                    lines[accepted] = b""
                    continue
                connection: Any = key.fileobj
                try:
                    came = connection.recv(1024)
                except OSError:
                    came = b""
                lines[connection] += came
                greeting, _, rest = lines[connection].partition(b"\n")
                name = greetings.get(greeting)
                if name is not None and rest == _END:
                    return ""
                if name is not None and not came:
                    return f"{name} {_describe_end(name)}"
                if not came or (name is None and len(lines[connection]) > _LONGEST):
                    selector.unregister(connection)
                    del lines[connection]
                    connection.close()
    return ""


def _describe_end(name: str) -> str:
    """Return how a process ended, as its entry on this machine says while it is still there."""
    place = name.partition("(pid ")[2].rstrip(")").partition(" on ")
    pid, host = place[0], place[2]
    code = None
    if host == socket.gethostname():
        with suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            code = int(fields[49])
    if code is None:
        return "was killed, or has ended without a word: the launcher may say how"
    if number := code & 0x7F:
        try:
            number_and_name = f"{number} ({signal.Signals(number).name})"
        except ValueError:
            number_and_name = str(number)
        return f"was killed by signal {number_and_name}"
    return f"has ended with code {code >> 8}, without a word"


def main() -> None:
    """Watch the processes that the standard input names, and print what is to be said."""
    token, names = json.loads(sys.stdin.buffer.read())
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        message = watch(listener, token, names)
    if message:
        with suppress(OSError):
            os.write(2, f"nnbackend: {message}\n".encode())


if __name__ == "__main__":
    main()
