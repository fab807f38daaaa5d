"""``nnbackend backends``: what can be used here."""

from __future__ import annotations

from dataclasses import asdict

import nnbackend as nnb
from nnbackend.cli.common import Debug, Json, print_json, reporting, say

__all__ = ["backends"]


def backends(as_json: Json = False, debug: Debug = False) -> None:
    """List the backends: which ones can be used here, and why the others cannot."""
    with reporting(debug):
        found = nnb.available_backends()
        if as_json:
            print_json({"backends": [asdict(status) for status in found]})
            return
        for status in found:
            mark = "usable    " if status.usable else "not usable"
            detail = f"on {status.device}" if status.usable else status.reason
            say(f"{status.name:<17} {mark}  {status.version:<8} {detail}")
