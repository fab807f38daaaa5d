"""What names a process that is killed: it needs no MPI, and listens to nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from nnbackend.parallel.watcher import watch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
HOST = socket.gethostname()
NAMES = [f"process {rank} of 3 (pid {10**8 + rank} on {HOST})" for rank in range(3)]


def connect(listener: socket.socket, greeting: str) -> socket.socket:
    connection = socket.create_connection(listener.getsockname())
    connection.sendall(greeting.encode())
    return connection


def test_the_first_that_ends_without_a_word_is_named():
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        connections = [
            stack.enter_context(connect(listener, f"secret {rank}\n")) for rank in range(3)
        ]
        connections[1].close()
        found = watch(listener, "secret", NAMES)
        assert found.startswith(f"{NAMES[1]} was killed, or has ended without a word")


def test_one_that_says_that_all_end_ends_the_watch():
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(connect(listener, "secret 0\nend\n"))
        assert watch(listener, "secret", NAMES) == ""


@pytest.mark.parametrize(
    "greeting", ["", "other 1\n", "secret one\n", "secret 9\n", "x" * 10**4, "é 1\n"]
)
def test_strangers_are_not_listened_to(greeting):
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        connect(listener, greeting).close()
        with connect(listener, "secret 2\n"):
            pass
        assert watch(listener, "secret", NAMES).startswith(NAMES[2])


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL)"),
        ("os._exit(3)", "has ended with code 3, without a word"),
    ],
)
def test_how_a_process_ended_is_said(program, words):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code = (
            "import os, socket; c = socket.create_connection(('127.0.0.1', " + str(port) + ")); "
            "c.sendall(b'secret 0\\n'); " + program
        )
        child = subprocess.Popen([sys.executable, "-c", code])  # a zombie until it is waited for
        try:
            name = f"process 0 of 1 (pid {child.pid} on {HOST})"
            assert watch(listener, "secret", [name]) == f"{name} {words}"
        finally:
            child.wait()
