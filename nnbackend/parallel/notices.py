"""Short messages outside the training: that a process failed, waits, or has left.

They are sent without waiting, and looked for by processes that wait for something else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

__all__ = ["Notices"]

_TAG = 28_270  # of messages in the user's own communicator


class Notices:
    """The notices that processes send each other.

    Args:
        comm: the communicator of mpi4py. It need not be a duplicate, whose making could hang already.

    Attributes:
        received: the notices from each process, first to last: a kind and a text.
        sent: how many this process has sent to each other.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.received: list[list[tuple[str, str]]] = [[] for _ in range(comm.size)]
        self.sent = 0
        self._under_way: list[Any] = []  # buffers have to stay until a message is gone

    def send(self, kind: str, text: str = "") -> None:
        """Send a notice to all other processes."""
        self.sent += 1
        payload = np.frombuffer(json.dumps([kind, text[:2000]]).encode(), dtype=np.uint8)
        for rank in range(self._comm.size):
            if rank != self._comm.rank:
                self._under_way.append((payload, self._comm.Isend(payload, rank, _TAG)))

    def receive(self) -> None:
        """Take the notices that have come."""
        from mpi4py import MPI

        status = MPI.Status()
        while self._comm.Iprobe(MPI.ANY_SOURCE, _TAG, status):
            payload = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
            source = status.Get_source()
            self._comm.Recv(payload, source, _TAG)
            kind, text = json.loads(payload.tobytes())
            self.received[source].append((str(kind), str(text)))

    def have_come(self, sent: list[int]) -> bool:
        """Take the notices that have come; return whether those are all that each process sent."""
        self.receive()
        own = self._comm.rank
        return all(
            len(self.received[rank]) == count for rank, count in enumerate(sent) if rank != own
        )

    def text(self, rank: int, kind: str, number: int) -> str:
        """Return the text of a notice from a process: of those of a kind, the one of a number."""
        return [text for found, text in self.received[rank] if found == kind][number]

    def count(self, rank: int, kind: str) -> int:
        """Return how many notices of a kind have come from a process."""
        return sum(found == kind for found, _ in self.received[rank])
