"""``nnbackend backends``: the backends and devices that can be used here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

import nnbackend as nnb
from nnbackend.backends.choose import BackendStatus
from nnbackend.backends.device import Device, in_words
from nnbackend.cli.arguments import Debug, Json
from nnbackend.cli.printing import plain_table, print_json, print_table, say
from nnbackend.cli.reporting import reporting

__all__ = ["backends"]


def backends(as_json: Json = False, debug: Debug = False) -> None:
    """List the backends: which ones can be used here and on which devices, and why the others cannot."""
    with reporting(debug):
        found = [_facts(status) for status in nnb.available_backends()]
        if as_json:
            print_json({"backends": found})
            return
        print_table(_table([facts for facts in found if facts["usable"]]))
        for facts in found:
            if not facts["usable"]:
                say()
                say(f"{facts['name']} is not usable: {facts['reason']}")


def _facts(status: BackendStatus) -> dict[str, Any]:
    """Return the facts about a backend, with its devices if it is usable."""
    devices, versions = list[Device](), dict[str, str]()
    if status.usable:
        backend = nnb.get_backend(status.name)
        devices, versions = backend.devices(), backend.versions()
    return asdict(status) | {"devices": [asdict(d) for d in devices], "versions": versions}


def _table(found: list[dict[str, Any]]) -> Table:
    """Return a table with a line for each device."""
    lines = []
    for facts in found:
        below = ", ".join(
            f"{what} {v.removeprefix('CUDA ')}" for what, v in facts["versions"].items()
        )
        first = facts["name"], facts["version"]
        for device in facts["devices"]:
            memory = ""
            if device["total"] is not None:
                memory = f"{in_words(device['free'])} of {in_words(device['total'])}"
            cells = device["name"], device["model"], memory, device["compute_capability"], below
            lines.append((*first, *cells))
            first, below = ("", ""), ""
    header = ("backend", "version", "--device", "model", "free memory", "capability", "CUDA")
    return plain_table(header, lines, justify="left")
