"""Train in a process of its own and print how much of a card's memory that took; see ``gpu.memory``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from benchmarks.peers import contestants, nnb
from benchmarks.timing import Options
from benchmarks.work import Task, images, initial


def counter(name: str, device: str) -> Callable[[], int]:
    """Return a function that tells the most bytes a contestant's library has used on the card so far.

    Each is the library's own figure. CuPy counts what it has taken from the card, which is never less
    than what its arrays used; the others count their arrays.
    """
    if name.startswith("nnbackend"):
        task = Task((), 0, *images(1, 1, 2), [], device=device)
        backend = nnb.backend_for(task, name.split()[1].strip(","))
        return lambda: memory.peak if (memory := backend.memory()) else 0
    if name.startswith("JAX"):
        import jax

        card = jax.devices(device)[0]
        return lambda: (card.memory_stats() or {}).get("peak_bytes_in_use", 0)
    import torch

    return torch.cuda.max_memory_allocated if device == "cuda" else lambda: 0


def main(name: str, backends: str, device: str, network: str, batch: str) -> None:
    """Print the peak of training, without the rows and the initial weights that are kept beside it."""
    sizes, rows = tuple(map(int, network.split("-"))), int(batch)
    options = Options(backends.split(","), device=device)
    make = contestants("GPU_STEPS", options)[name]
    steps = 4
    x, y = images(steps * rows, sizes[0], sizes[-1])
    weights = initial(sizes)
    task = Task(sizes, rows, x, y, weights, device=device, rate=1e-5)
    kept = x.nbytes + sum(array.nbytes for pair in weights for array in pair)
    peak = counter(name, device)
    trial = make(task)
    for _ in range(16):  # so many that a program is made of a step
        trial.reset()
        trial.run()
    print(json.dumps({"peak": max(peak() - kept, 0)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
