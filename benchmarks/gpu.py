"""On one GPU: training steps, large networks, whole fits, predictions, memory, and the crossover.

The sections compute where ``options.device`` says. On ``"cpu"`` they do the same with less work, so
that they can be tried out, and tested, on a machine without a GPU.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.peers import contestants, entered, nnb, release
from benchmarks.timing import Options, Row, race, summary, table
from benchmarks.use import python
from benchmarks.work import (
    NETWORKS,
    Task,
    Weights,
    images,
    initial,
    name_of,
    operations,
    step_task,
)

Tables = Iterator[dict[str, Any]]

PRECISIONS = ("float32", "tf32", "bfloat16")
# To choose how many steps to time: roughly what a large card does in a second in float32, and how many
# bytes the rows may take.
_ON_CARD = {"speed": 4e13, "room": 1 << 29}
# How far the mean losses of contestants may be apart. bfloat16 has eight bits.
TOLERANCE = {"float32": 2e-3, "tf32": 1e-2, "bfloat16": 2e-2}

_WIDTHS, _DEPTHS, _BATCHES = (16, 64, 256, 1024, 4096), (2, 8), (32, 256, 2048)
# Of a step that the CPU is asked for: about a second on a few cores.
_MOST_OPERATIONS = 5e11


def steps(options: Options) -> Tables:
    """Return the time of a training step of the five networks in float32, over fresh batches."""
    for sizes, batch in NETWORKS[: 3 if options.quick else None]:
        task = _step_task(options, sizes, batch, 0.05 if options.quick else 0.1)
        yield _steps(options, task, "gpu-steps", "Training step")


def large(options: Options, precision: str) -> Tables:
    """Return the time of a step of eight layers of 4096 units, of many rows, in a precision."""
    if precision == "tf32" and options.device == "cpu":
        options.left_out["gpu-tf32"] = "TF32 is a mode of NVIDIA GPUs"
        return
    width, batch = (4096, 8192) if options.device == "cuda" else (64, 128)
    if options.quick and options.device == "cuda":
        width, batch = 2048, 4096
    sizes = (width,) * 9 + (10,)
    x, y, weights = _large_data(sizes, batch)
    rows = len(x) // 2 if precision == "float32" else len(x)  # which takes many times longer
    # The rate is small. So many weights that each move by a thousandth, all in the direction that their
    # gradients agree on, would throw a network of this width anywhere.
    task = Task(
        sizes, batch, x[:rows], y[:rows], weights,
        device=options.device, precision=precision, rate=1e-5,
    )  # fmt: skip
    rounds = min(options.rounds, 5)
    what = f"Training step in {precision}"
    yield _steps(options, task, f"gpu-{precision}", what, rounds, at=precision)


@lru_cache(maxsize=1)
def _large_data(sizes: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray, Weights]:
    """Return eight batches, which are a gigabyte, and weights: made once for all precisions."""
    return *images(8 * batch, sizes[0], sizes[-1]), initial(sizes)


def _step_task(
    options: Options, sizes: tuple[int, ...], batch: int, seconds: float, **settings: Any
) -> Task:
    """Return a task of many batches on the options' device."""
    on_card = _ON_CARD if options.device == "cuda" else {}
    return step_task(sizes, batch, seconds, device=options.device, **on_card, **settings)


def _steps(
    options: Options,
    task: Task,
    section: str,
    what: str,
    rounds: int | None = None,
    **settings: Any,
) -> dict[str, Any]:
    network = called(task.sizes)
    title = f"{what}, {network}, batch {task.batch}"
    rows = race(
        entered("GPU_STEPS", task, options),
        options,
        task.steps,
        rounds,
        work=title,
        tolerance=TOLERANCE[task.precision],
        warm=_warm(task.steps),
    )
    done = table(
        f"{section}/{network}", title, "step", rows,
        steps=task.steps, batch=task.batch, precision=task.precision, **settings,
    )  # fmt: skip
    task.kept.clear()
    release()
    return done


def _warm(steps: int) -> int:
    """Return how many runs come before those that are timed.

    A backend makes a program of a step when it has done some tens of them.
    """
    return math.ceil(40 / steps)


def fit(options: Options) -> Tables:
    """Return the time of a whole epoch of 60,000 images from NumPy arrays, shuffling and all."""
    sizes, rows = (784, 256, 10), 6_000 if options.quick else 60_000
    x, y = images(rows, 784, 10)
    task = Task(sizes, 128, x, y, initial(sizes), device=options.device)
    title = f"Whole fit, {rows} x 784, {name_of(sizes)}, batch 128, 1 epoch"
    factories = entered("GPU_FIT", task, options)
    found = race(factories, options, rounds=min(options.rounds, 7), work=title, tolerance=0.1)
    yield table("gpu-fit/images", title, "fit", found)
    release()


def predict(options: Options) -> Tables:
    """Return the latency of one row that is on the card already, and the time of 100,000 rows."""
    many = 10_000 if options.quick else 100_000
    calls = 200 if options.quick else 2000
    for sizes, rows, count in (
        ((64, 64, 10), 1, calls),
        ((784, 256, 10), 1, calls),
        ((784, 256, 10), many, 1),
    ):
        x, y = images(rows, sizes[0], sizes[-1])
        task = Task(sizes, rows, x, y, initial(sizes), calls=count, device=options.device)
        title = f"Prediction, {'one row' if rows == 1 else f'{rows} rows'}, {name_of(sizes)}"
        factories = entered("GPU_PREDICT", task, options)
        found = race(factories, options, count, work=title, tolerance=TOLERANCE["float32"])
        key = f"gpu-predict/{'one' if rows == 1 else 'many'}/{name_of(sizes)}"
        yield table(key, title, "call", found, rows_predicted=rows)
        release()


def crossover(options: Options) -> Tables:
    """Return the time of a step on NumPy and on the GPU for networks of many sizes."""
    backends = list(dict.fromkeys(("numpy", *options.backends)))
    widths = _WIDTHS[:3] if options.quick else _WIDTHS
    for width in widths:
        for depth in _DEPTHS:
            for batch in _BATCHES[: 2 if options.quick else None]:
                sizes = (width,) * (depth + 1) + (10,)
                if operations(sizes, batch) > _MOST_OPERATIONS:
                    continue
                yield _crossing(options, backends, sizes, batch)


def _crossing(
    options: Options, backends: list[str], sizes: tuple[int, ...], batch: int
) -> dict[str, Any]:
    """Return one cell of the crossover: the time of a step on each backend."""
    width, depth = sizes[0], len(sizes) - 2
    title = f"Crossover, {depth} layers of {width}, batch {batch}"
    rows: list[Row] = []
    for backend in backends:
        # The CPU has time for fewer steps, so each has rows of its own.
        if backend == "numpy":
            task = step_task(sizes, batch, 0.1, least=2, rate=1e-5)
        else:
            task = _step_task(options, sizes, batch, 0.05, rate=1e-5)
        found = {f"nnbackend {backend}": partial(nnb.Going, task, backend)}
        warm = 1 if backend == "numpy" else _warm(task.steps)
        rows += race(found, options, task.steps, 3, work=title, warm=warm)
    key = f"crossover/{depth} layers of {width}/{batch}"
    done = table(key, title, "step", rows, width=width, depth=depth, batch=batch)
    release()
    return done


def memory(options: Options) -> Tables:
    """Return the peak of the card's memory while training, each contestant in a process of its own."""
    if options.device == "cpu":
        options.left_out["gpu-memory"] = "there is no card whose memory could be counted"
        return
    # tf32 takes the memory of float32 and a fraction of its time.
    networks = [((784, 2048, 2048, 10), 1024, "float32"), ((4096,) * 9 + (10,), 8192, "tf32")]
    if options.quick:
        networks = [((784, 256, 256, 10), 256, "float32")]
    skip = ("matrix products", "torch.compile")
    peaks: dict[int, list[dict[str, Any]]] = {i: [] for i in range(len(networks))}
    for name in contestants("GPU_STEPS", options):
        if name.startswith(skip):
            continue
        for i, (sizes, batch, precision) in enumerate(networks):
            arguments = (
                name,
                ",".join(options.backends),
                options.device,
                precision,
                name_of(sizes),
                str(batch),
            )
            try:
                printed = python("-m", "benchmarks.gpu_memory", *arguments)
            except Exception as error:
                options.leave_out(name, error, f"memory of {called(sizes)}")
                continue
            peak = json.loads(printed.splitlines()[-1])["peak"]
            peaks[i].append({"name": name, **summary([peak])})
    for i, (sizes, batch, precision) in enumerate(networks):
        numbers = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
        counted = 16 * numbers + 4 * batch * sum(sizes[1:])
        rows = [{"name": "counted", **summary([counted])}, *peaks[i]]
        title = f"Peak memory of training {called(sizes)} in {precision}, batch {batch}"
        yield table(f"gpu-memory/{called(sizes)}", title, "B", rows, batch=batch)


def called(sizes: tuple[int, ...]) -> str:
    """Return ``784-256-10``, or for a deep network ``8 layers of 4096``."""
    return name_of(sizes) if len(sizes) < 6 else f"{len(sizes) - 2} layers of {sizes[0]}"


SECTIONS: dict[str, Callable[[Options], Tables]] = {
    "gpu-steps": steps,
    **{f"gpu-{precision}": partial(large, precision=precision) for precision in PRECISIONS},
    "gpu-fit": fit,
    "gpu-predict": predict,
    "crossover": crossover,
    "gpu-memory": memory,
}
