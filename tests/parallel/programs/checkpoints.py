"""Train with checkpoints, or go on from one: ``FOLDER EPOCHS RESULT [resume]``."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from common import fit, network, vector

import nnbackend as nnb

folder, epochs, result, *resume = sys.argv[1:]
parallel = nnb.parallel.MPI(timeout=60.0)
net = network(nnb.Dense(6, "tanh"), nnb.BatchNorm(synchronized=True), nnb.Dropout(0.2))


class Telling(nnb.callbacks.Callback):
    """Prints the numbers of the processes when an epoch is done, for those who end one of them."""

    only_watches = True

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids

    def epoch_end(self, run: Any) -> None:
        print(*self.pids, flush=True)


pids = parallel.processes.gather(os.getpid()) if parallel.size > 1 else [os.getpid()]
watching = [nnb.callbacks.Checkpoint(folder, every_steps=3), Telling(pids)]
if not os.path.isdir(folder):
    resume = []
settings = {"resume": folder} if resume else {}
fit(net, epochs=int(epochs), optimizer=nnb.SGD(0.1, momentum=0.9), batch_size=11,
    callbacks=watching if parallel.rank == 0 or resume else [], parallel=parallel,
    metrics=["accuracy"], **settings)  # fmt: skip
if parallel.rank == 0:
    np.save(result, vector(net))
