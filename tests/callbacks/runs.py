"""A small network and its data, for tests of callbacks."""

from __future__ import annotations

from cases import rows

import nnbackend as nnb
from nnbackend.callbacks import Callback

X, Y = rows((10, 3)), rows((10, 1), 1)


def network(backend="numpy"):
    return nnb.Network([nnb.Dense(1)], backend=backend, input_shape=3)


class Log(Callback):
    """Notes every event."""

    def __init__(self):
        self.events = []

    def start(self, run):
        self.events.append(("start", run.epoch, run.step))

    def epoch_start(self, run):
        self.events.append(("epoch_start", run.epoch, run.step))

    def batch_end(self, run):
        self.events.append(("batch_end", run.epoch, run.step))

    def epoch_end(self, run):
        self.events.append(("epoch_end", run.epoch, len(run.history)))

    def stop(self, run):
        self.events.append(("stop", run.epoch, len(run.history)))
