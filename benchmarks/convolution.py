"""Training steps of convolutional networks, and the memory they take."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.peers.networks import FACTORIES, NETWORKS, image_task
from benchmarks.timing import Options, race, summary, table

Tables = list[dict[str, Any]]


def convolution(options: Options) -> Tables:
    """Return the time of a training step of each network, and the peak of memory in training."""
    tables = []
    for network in NETWORKS:
        task = image_task(network, steps=2 if options.quick else 12)
        factories = {name: partial(make, task) for name, make in contestants(options).items()}
        rows = race(factories, options, task.steps)
        title = f"Training step, {network.title}, batch {network.batch}"
        key = f"convolution/{network.name}"
        tables.append(table(key, title, "step", rows, steps=task.steps, batch=network.batch))
    tables += norm_relu(options)
    for network in NETWORKS[: 1 if options.quick else None]:
        rows = []
        for name in contestants(options):
            if name.startswith("matrix products"):
                continue
            try:
                peaks = [
                    _peak(name, network.name, options) for _ in range(1 if options.quick else 3)
                ]
            except RuntimeError as error:
                options.leave_out(name, error, f"memory of {network.name}")
                continue
            rows.append({"name": name, **summary(peaks)})
        title = f"Peak of memory in training, {network.title}, batch {network.batch}"
        tables.append(table(f"convolution-memory/{network.name}", title, "B", rows))
    return tables


def norm_relu(options: Options) -> Tables:
    """Return the time of batch norm with ReLU, forward and backward, and of going over its memory."""
    from benchmarks.peers.norm_relu import MAKERS, SHAPES

    tables, calls = [], 3 if options.quick else 20
    for name, shape in SHAPES.items():
        factories = {who: partial(make, shape, calls) for who, make in MAKERS.items()}
        rows = race(factories, options, calls, work=f"batch norm {name}")
        title = f"Batch norm with ReLU, forward and backward, {name}"
        key = f"convolution/norm-{name.replace(' ', '')}"
        tables.append(table(key, title, "step", rows, steps=calls, batch=shape[0]))
    return tables


def contestants(options: Options) -> dict[str, Any]:
    """Return factories of contestants by name; libraries that are not installed are left out."""
    found: dict[str, Any] = {}
    for backend in options.backends:
        found[f"nnbackend {backend}"] = partial(_ours, backend=backend)
    for module, names in FACTORIES.items():
        try:
            made = __import__(f"benchmarks.peers.{module}", fromlist=["CONVOLUTION"])
        except ImportError as error:
            options.left_out[module] = f"not installed ({error.name})"
            continue
        found |= {name: made.CONVOLUTION[name] for name in names}
    return found


def _ours(task: Any, backend: str) -> Any:
    from benchmarks.peers.nnb_images import Steps

    return Steps(task, backend)


def _peak(name: str, network: str, options: Options) -> float:
    """Return the peak of memory of a contestant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.convolution", name, network]
    found = subprocess.run(
        [*command, ",".join(options.backends)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise RuntimeError(found.stderr.strip().rpartition("\n")[2])
    return float(json.loads(found.stdout.splitlines()[-1])["training"])


def main(name: str, network: str, backends: str) -> None:
    """Print by how much a few training steps raise the memory of this process, as JSON."""
    from benchmarks.memory import forget_peak, resident

    chosen = next(n for n in NETWORKS if n.name == network)
    make = contestants(Options(backends.split(",")))[name]
    small = make(image_task(chosen, steps=2, batch=2))  # the code of the libraries is not measured
    small.reset()
    small.run()
    task = image_task(chosen, steps=4)
    before = resident(now=True)
    forget_peak()
    trial = make(task)
    trial.reset()
    trial.run()
    print(json.dumps({"training": resident(now=False) - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
