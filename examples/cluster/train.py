"""Train a network in the processes that a launcher of MPI started; in one where there is none.

    python train.py digits.npz
    mpiexec -n 4 python train.py digits.npz --checkpoints run

The file has arrays ``x``, rows of numbers, and ``y``, class numbers. Started again with the same folder
of checkpoints, in as many processes or another number, it goes on where it was.
"""

from __future__ import annotations

import argparse

import numpy as np

import nnbackend as nnb

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument(
    "data", help="an .npz file with x and y, on a file system that all machines see"
)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch-size", type=int, default=1024, help="rows of all processes together")
parser.add_argument("--local-steps", type=int, help="steps that each process takes alone")
parser.add_argument("--checkpoints", help="a folder, on a file system that all machines see")
parser.add_argument(
    "--backend", default="numpy", help="numpy, torch or cupy: a card for each process"
)
parser.add_argument("--output", default="model.safetensors")
options = parser.parse_args()

parallel = nnb.parallel.MPI(local_steps=options.local_steps)
device = f"cuda:{parallel.local_rank}" if options.backend == "cupy" else None
with np.load(options.data) as arrays:
    x, y = arrays["x"].astype("float32"), arrays["y"]
net = nnb.Network(
    [nnb.Dense(256, "relu"), nnb.Dense(256, "relu"), nnb.Dense(int(y.max()) + 1, "softmax")],
    backend=options.backend,
    device=device,
)
callbacks, resume = [], None
if options.checkpoints:
    callbacks = [nnb.callbacks.Checkpoint(options.checkpoints)]
    # All processes look before the first file is written: fit begins when all of them are there.
    resume = options.checkpoints if nnb.checkpoints.files(options.checkpoints) else None
history = net.fit(
    x,
    y,
    loss="softmax_cross_entropy",
    optimizer=nnb.LAMB(learning_rate=0.01),  # made for large batches
    epochs=options.epochs,
    batch_size=options.batch_size,
    validation_split=0.1,
    metrics=["accuracy"],
    callbacks=callbacks,
    resume=resume,
    parallel=parallel,
    verbose=1,
)
if parallel.rank == 0:
    net.save(options.output)
    print(f"{parallel.size} processes, accuracy {history['validation_accuracy'][-1]:.3f}")
