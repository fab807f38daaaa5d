"""What each process of a measurement does: ``mpiexec -n 2 python -m benchmarks.parallel.process JSON``.

Process 0 prints what was measured, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import nnbackend as nnb
from benchmarks.work import images

__all__: list[str] = []


def main() -> None:
    """Do what the argument says."""
    job = json.loads(sys.argv[1])
    found = messages(**job) if "bytes" in job else training(**job)
    if found is not None:
        print(json.dumps(found), flush=True)


def messages(bytes: list[int], times: list[int]) -> dict[str, Any] | None:
    """Send messages of each size there and back; return the seconds of half of it."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    found: dict[str, Any] = {}
    for size, count in zip(bytes, times, strict=True):
        message = np.zeros(size, dtype=np.uint8)
        seconds = []
        for _ in range(count):
            comm.Barrier()
            began = time.perf_counter()
            for sender in (0, 1):
                if comm.rank == sender:
                    comm.Send(message, 1 - sender)
                else:
                    comm.Recv(message, sender)
            seconds.append((time.perf_counter() - began) / 2)
        found[str(size)] = {"fastest": min(seconds), "median": float(np.median(seconds))}
    return found if comm.rank == 0 else None


def training(
    sizes: list[int],
    batch: int,
    steps: int,
    epochs: int,
    together: bool,
    elementwise: bool = False,
    **settings: Any,
) -> dict[str, Any] | None:
    """Train a network; return what a step takes by the clock and, without waiting, the processor.

    Args:
        sizes: of the layers, the input first.
        batch: rows of a step.
        steps: of an epoch.
        epochs: how many are timed.
        together: whether several processes train it.
        elementwise: whether most of the work is on single numbers: with LayerNorm, GELU and dropout.
        settings: of ``nnb.parallel.MPI``.
    """
    x, y = images(steps * batch, sizes[0], sizes[-1])
    *hidden, last = sizes[1:]
    layers = [layer for n in hidden for layer in hidden_layers(n, elementwise)]
    net = nnb.Network([*layers, nnb.Dense(last)], seed=0)
    parallel = nnb.parallel.MPI(**settings) if together else None
    several = parallel is not None and parallel.size > 1
    waited = count_waiting(parallel.processes) if parallel is not None and several else [0.0, 0.0]

    def fit(epochs: int) -> nnb.History:
        return net.fit(
            x, y, loss="softmax_cross_entropy", optimizer=nnb.Adam(1e-3), epochs=epochs,
            batch_size=batch, verbose=0, parallel=parallel,
        )  # fmt: skip

    fit(1)
    _, once = timed(lambda: fit(1), waited)  # what a fit does once, and an epoch
    history, whole = timed(lambda: fit(1 + epochs), waited)
    own = {"cpu": whole["cpu"] - once["cpu"], "waiting": whole["waiting"] / whole["seconds"]}
    every = parallel.processes.gather(own) if parallel is not None and several else [own]
    found = {
        "step": float(np.median(history["seconds"])) / steps,
        "cpu": max(one["cpu"] for one in every) / (steps * epochs),
        "waiting": float(np.mean([one["waiting"] for one in every])),
        "loss": history["loss"][-1],
    }
    return found if parallel is None or parallel.rank == 0 else None


def timed(fit: Any, waited: list[float]) -> tuple[Any, dict[str, float]]:
    """Fit; return the history, and the seconds by the clock, of the processor, and of waiting."""
    waited[:] = 0.0, 0.0
    cpu, began = time.process_time(), time.perf_counter()
    history = fit()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return history, {"seconds": seconds, "cpu": cpu - waited[1], "waiting": waited[0]}


def hidden_layers(units: int, elementwise: bool) -> list[Any]:
    """Return a hidden layer, and what follows it."""
    if not elementwise:
        return [nnb.Dense(units, activation="relu")]
    return [nnb.Dense(units), nnb.LayerNorm(), nnb.Activation("gelu"), nnb.Dropout(0.1)]


def count_waiting(processes: Any) -> list[float]:
    """Let processes count the seconds, by the clock and of the processor, in which they wait."""
    total, wait = [0.0, 0.0], processes.wait

    def counted(is_done: Any) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        try:
            wait(is_done)
        finally:
            total[0] += time.perf_counter() - began
            total[1] += time.process_time() - cpu

    processes.wait = counted
    return total


if __name__ == "__main__":
    main()
