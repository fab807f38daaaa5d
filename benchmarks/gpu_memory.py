"""Train in a process of its own and print how much of a card's memory that took; see ``gpu.memory``."""

from __future__ import annotations

import json
import sys

from benchmarks.peers import contestants, nnb
from benchmarks.timing import Options
from benchmarks.work import Task, images, initial


def library(name: str) -> str:
    """Return the backend that counts the memory of a contestant's library."""
    if name.startswith("nnbackend "):
        return name.split()[1].strip(",")
    return "jax" if name.startswith("JAX") else "torch"


def main(name: str, backends: str, device: str, precision: str, network: str, batch: str) -> None:
    """Print the peak of training, without the rows and the initial weights that are kept beside it."""
    sizes, rows = tuple(map(int, network.split("-"))), int(batch)
    options = Options(backends.split(","), device=device)
    make = contestants("GPU_STEPS", options)[name]
    x, y = images(4 * rows, sizes[0], sizes[-1])
    weights = initial(sizes)
    task = Task(sizes, rows, x, y, weights, device=device, precision=precision, rate=1e-5)
    kept = x.nbytes + sum(array.nbytes for pair in weights for array in pair)
    trial = make(task)
    for _ in range(10):  # so many steps that a program is made of one
        trial.reset()
        trial.run()
    memory = nnb.backend_for(task, library(name)).memory()
    print(json.dumps({"peak": 0 if memory is None else max(memory.peak - kept, 0)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
