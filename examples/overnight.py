"""Leave a run alone: early stopping, checkpoints, logs; and go on with it after it was cut short.

Run it with: python examples/overnight.py
"""

import tempfile
from pathlib import Path

import numpy as np

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, CSVLog, EarlyStopping, TimeBudget

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, size=(600, 4))
y = np.sin(3 * x[:, :1]) * x[:, 1:2] + 0.05 * rng.normal(size=(600, 1))


def network():
    """Return the network before it has learned anything."""
    return nnb.Network([nnb.Dense(32, "tanh"), nnb.Dropout(0.05), nnb.Dense(1)], seed=1)


def train(net, folder, seconds):
    """Train it for a time, from where the files in the folder say it was left."""
    return net.fit(
        x,
        y,
        optimizer=nnb.Adam(5e-3),
        epochs=60,
        validation_split=0.2,
        callbacks=[
            EarlyStopping(patience=15),
            Checkpoint(folder / "checkpoints", every_steps=5),
            CSVLog(folder / "log.csv"),
            TimeBudget(seconds),
        ],
        # Where the run was left, or None if it begins now: the same command line does for both.
        resume=nnb.checkpoints.newest(folder / "checkpoints"),
        verbose=0,
    )


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    piecewise, pieces = network(), 0
    history = None
    while history is None or (history.stopped or "").startswith("the time"):
        piecewise = network()  # as in a new process: nothing is left but the files
        history = train(piecewise, Path(one), seconds=0.2)
        pieces += 1
    print(f"{len(history)} epochs in {pieces} pieces: {history.stopped or 'all done'}")
    print((Path(one) / "log.csv").read_text().splitlines()[-1])

    whole = network()
    train(whole, Path(other), seconds=3600)
    same = all(
        np.array_equal(a, b)
        for a, b in zip(piecewise.state_dict().values(), whole.state_dict().values(), strict=True)
    )
    print("bit for bit the weights of a run in one piece:", same)
    assert same
