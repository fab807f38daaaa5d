"""Train with a checkpoint after each step and be killed again and again; see test_checkpoints.py.

Run as a program: it forks a process that trains, kills it, looks at the newest checkpoint, forks the
next that resumes it, and so on; then it lets the run end and compares it with one never killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, EarlyStopping
from nnbackend.saving import checkpoint as checkpoints

KILLS = 50
EPOCHS = 1000  # of 5 steps: far more than 50 processes do in the time they are given
TASK = {"batch_size": 5, "optimizer": nnb.Adam(0.01), "metrics": ["mae"], "validation_split": 0.2}


def train(directory: Path | None, steps: int | None = None) -> nnb.Network:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    net = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dropout(0.2), nnb.Dense(1)], seed=1)
    callbacks = [EarlyStopping(patience=EPOCHS)]
    if directory is not None:
        callbacks.append(
            Checkpoint(directory, every=100 if steps is None else 1, every_steps=steps)
        )
        warnings.simplefilter("ignore")  # at first there is none
    net.fit(x, x[:, :1] ** 2, epochs=EPOCHS, callbacks=callbacks, resume=directory, **TASK)
    return net


def main(directory: Path) -> dict[str, float]:
    expected = train(None).state_dict()  # also imports what a run needs, once for all processes
    chance, found, remains = random.Random(0), [], 0
    for _ in range(KILLS):
        there = checkpoints.files(directory)[-1:]
        process = os.fork()
        if process == 0:
            train(directory, steps=1)
            os._exit(0)
        if chance.random() < 0.9 or not found:  # else perhaps while it begins
            while checkpoints.files(directory)[-1:] == there:
                time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.04))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), "the run ended before it was killed"
        remains += len(checkpoints.find_leftovers(directory))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a damaged one would be skipped with a warning
            newest = checkpoints.newest(directory)
        assert newest == checkpoints.files(directory)[-1]
        state = checkpoints.load(newest).state
        found.append((state["epoch"], state["batch"]))
        assert found == sorted(found), "steps that were done are lost"
    resumed = train(directory).state_dict()
    return {
        "kills": KILLS,
        "places": len(set(found)),
        "while writing": remains,
        "same": all(np.array_equal(resumed[name], expected[name]) for name in expected),
        "files": len(list(directory.iterdir())),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
