"""A network of machines that are none: network namespaces whose links have a limited rate.

It needs root, and ``ip`` and ``tc`` of iproute2. A process in a namespace sees one network card, whose
link to all others lets through so many bits in a second each way (a token bucket). How long a message
is on its way is what the machine itself takes: a kernel without netem cannot add to that.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["shaped_links"]

_NAME, _NET = "nnbackend", "10.28.0"
# mpiexec starts a process by: launcher [options] host command
_LAUNCHER = f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "{_NAME}-${{host##*.}}" sh -c "$*"
"""
# Without these MPICH finds that all processes share memory. UCX is what its wheel sends with.
_VARIABLES = {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "eth0"}


@contextmanager
def shaped_links(count: int, megabits: float | None) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Make machines with limited links; yield how mpiexec is called there, and the variables for it.

    Args:
        count: of machines.
        megabits: in a second; None: as many as go.

    Raises:
        OSError: namespaces or limits cannot be had here.
    """
    names = [f"{_NAME}-hub", *(f"{_NAME}-{number}" for number in range(1, count + 1))]
    try:
        _build(names, megabits)
        with tempfile.TemporaryDirectory() as folder:
            launcher = Path(folder, "launcher")
            launcher.write_text(_LAUNCHER)
            launcher.chmod(0o700)
            hosts = ",".join(f"{_NET}.{number}" for number in range(1, count + 1))
            start = ["ip", "netns", "exec", names[0], "mpiexec", "-launcher", "ssh"]
            start += ["-launcher-exec", str(launcher), "-localhost", f"{_NET}.254"]
            yield [*start, "-hosts", hosts, "-ppn", "1", "-n", str(count)], _VARIABLES
    finally:
        for name in names:
            with suppress(OSError):
                _run("ip", "netns", "del", name)


def _build(names: list[str], megabits: float | None) -> None:
    """Make a namespace with a bridge, and others that are connected with it."""
    hub, *others = names
    _run("ip", "netns", "add", hub)
    _run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
    _run("ip", "-n", hub, "addr", "add", f"{_NET}.254/24", "dev", "bridge")
    for link in ("lo", "bridge"):
        _run("ip", "-n", hub, "link", "set", link, "up")
    for number, name in enumerate(others, 1):
        port = f"port{number}"
        _run("ip", "netns", "add", name)
        pair = ["eth0", "netns", name, "type", "veth", "peer", "name", port, "netns", hub]
        _run("ip", "link", "add", *pair)
        _run("ip", "-n", name, "addr", "add", f"{_NET}.{number}/24", "dev", "eth0")
        _run("ip", "-n", hub, "link", "set", port, "master", "bridge")
        for where, link in ((name, "lo"), (name, "eth0"), (hub, port)):
            _run("ip", "-n", where, "link", "set", link, "up")
        if megabits is not None:
            limit = ["tbf", "rate", f"{megabits:g}mbit", "burst", "128kb", "latency", "100ms"]
            for where, link in ((name, "eth0"), (hub, port)):
                _run("tc", "-n", where, "qdisc", "add", "dev", link, "root", *limit)


def _run(*words: str) -> None:
    """Run a command.

    Raises:
        OSError: it failed, or there is no such command.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
