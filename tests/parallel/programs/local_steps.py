"""Processes that take steps alone: ``FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ROWS, data, fit, network, vector

import nnbackend as nnb

folder = Path(sys.argv[1])
summing = nnb.parallel.MPI(timeout=100.0)
rank, size = summing.rank, summing.size


def local(steps: int, *numbers: float, **settings: Any) -> nnb.parallel.MPI:
    options = nnb.parallel.LocalSteps(steps, *numbers)
    return nnb.parallel.MPI(local_steps=options, timeout=100.0, **settings)


def check_alike(net: nnb.Network) -> None:
    own = vector(net).tobytes().hex()
    assert set(summing.processes.gather(own)) == {own}


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=tolerance * np.abs(wanted).max())


def one_step_is_a_sum_of_gradients() -> None:
    """Batches of 16 rows in uneven shares, and a last one of 13."""
    weight = np.random.default_rng(1).uniform(0.0, 2.0, ROWS)
    each = {
        "optimizer": nnb.SGD(0.3),
        "epochs": 10,
        "metrics": ["accuracy"],
        "validation_split": 0.2,
    }
    for settings in (each, each | {"sample_weight": weight}, each | {"batch_size": 11}):
        one, other = network(), network()
        found = fit(one, parallel=local(1, 1.0, 0.0), **settings)
        wanted = fit(other, parallel=summing, **settings)
        close(vector(one), vector(other))
        check_alike(one)
        for name in found.keys() - {"seconds"}:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-11, err_msg=name)


def by_the_formula() -> None:
    """Three steps, and two, of each process are done here one after the other."""
    x, y = data()
    rate, momentum, batch = 0.7, 0.9, 13
    net = network(nnb.Dense(6, "tanh"))
    fit(net, optimizer=nnb.SGD(0.5), epochs=2, batch_size=batch, shuffle=False,
        parallel=local(3, rate, momentum))  # fmt: skip
    other = network(nnb.Dense(6, "tanh"))
    start = other.state_dict()
    velocity = {name: np.zeros_like(array) for name, array in start.items()}
    batches = [(a, min(a + batch, ROWS)) for a in range(0, ROWS, batch)]
    for a_round in [batches[:3], batches[3:]] * 2:
        mean = {name: np.zeros_like(array) for name, array in start.items()}
        for process in range(size):
            other.load_state_dict(start)
            weight = 0
            for first, last in a_round:
                count = last - first
                a, b = (first + count * (process + k) // size for k in (0, 1))
                rows, weight = slice(a, b), weight + b - a
                fit(other, x[rows], y[rows], optimizer=nnb.SGD(0.5), epochs=1, batch_size=None)
            total = sum(last - first for first, last in a_round)
            for name, array in other.state_dict().items():
                mean[name] += (start[name] - array) * weight / total
        for name, change in mean.items():
            velocity[name] = momentum * velocity[name] + change
            start[name] = start[name] - rate * (change + momentum * velocity[name])
    other.load_state_dict(start)
    close(vector(net), vector(other))
    check_alike(net)


def two_runs() -> None:
    layers = nnb.Dense(8), nnb.BatchNorm(), nnb.Dropout(0.1)
    nets = [network(*layers) for _ in range(2)]
    for net in nets:
        history = fit(net, batch_size=22, epochs=4, metrics=["accuracy"], parallel=local(2))
        check_alike(net)
        assert history["loss"][-1] < history["loss"][0]
    assert np.array_equal(*map(vector, nets))
    rough = network(*layers)
    fit(rough, batch_size=22, epochs=4, parallel=local(2, compress="float16"))
    check_alike(rough)
    close(vector(rough), vector(nets[0]), 0.02)


def other_backends() -> None:
    wanted, found = network(), network(backend="array-api-strict")
    for net in (wanted, found):
        fit(net, metrics=["accuracy"], parallel=local(2))
    close(vector(found), vector(wanted))
    check_alike(found)


def streams() -> None:
    x, y = data()

    def batches() -> Iterator[tuple[Any, Any]]:
        for start in range(0, ROWS, 10):  # the last one has one row
            yield x[start : start + 10], y[start : start + 10]

    settings = {"optimizer": "sgd", "metrics": ["accuracy"], "parallel": local(3)}
    one, other = network(), network()
    found = one.fit(batches, loss="softmax_cross_entropy", epochs=2, verbose=0, **settings)
    wanted = fit(other, x, y, shuffle=False, batch_size=10, epochs=2, **settings)
    close(vector(one), vector(other))
    assert found["accuracy"] == wanted["accuracy"]
    check_alike(one)


def each_reads_its_share() -> None:
    x, y = data(5000)  # in five chunks
    path = folder / f"x{rank}.npy"
    np.save(path, x)
    rows = np.load(path, mmap_mode="r")
    one, other = network(), network()
    settings = {"optimizer": "sgd", "batch_size": 120, "metrics": ["accuracy"]}
    found = fit(one, rows, y, parallel=local(1, 1.0, 0.0, reads="share"), **settings)
    summed = nnb.parallel.MPI(reads="share", timeout=100.0)
    wanted = fit(other, rows, y, parallel=summed, **settings)
    close(vector(one), vector(other))
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-11)
    check_alike(one)


def within_epochs() -> None:
    """Callbacks look where rounds end, and change nothing."""
    seen: list[float] = []

    class Looking(nnb.callbacks.Callback):
        only_watches = True
        batch_interval = 2

        def batch_end(self, run: Any) -> None:
            seen.extend(run.losses)

    one, other = network(), network()
    history = fit(one, callbacks=[Looking()], parallel=local(2))
    fit(other, parallel=local(2))
    assert np.array_equal(vector(one), vector(other))
    with pytest.raises(ValueError, match="every 2 steps, and with local_steps=3"):
        fit(network(), callbacks=[Looking()], parallel=local(3))
    assert len(seen) == (4 * len(history) if rank == 0 else 0)


def weightless() -> None:
    """A round of rows that count for nothing leaves parameters and state as they are."""
    x, y = data(60)
    weight = np.r_[np.zeros(24), np.ones(36)]
    net = network(nnb.Dense(6), nnb.BatchNorm())
    settings = {"optimizer": "sgd", "shuffle": False, "batch_size": 12, "epochs": 1}
    fit(net, x, y, sample_weight=weight, parallel=local(2), **settings)
    variance = net.state["1"]["running_var"]
    assert (np.asarray(variance) > 0.0).all(), net.state
    check_alike(net)


def checkpoints() -> None:
    settings = {"optimizer": nnb.Adam(0.01), "metrics": ["accuracy"], "parallel": local(3)}
    whole, parts, plain = (network() for _ in range(3))
    fit(whole, epochs=4, **settings)
    path = folder / "run"
    for epochs, resume in ((2, None), (4, path)):
        writing = nnb.callbacks.Checkpoint(path)
        fit(parts, epochs=epochs, callbacks=[writing], resume=resume, **settings)
    assert np.array_equal(vector(parts), vector(whole))
    check_alike(parts)
    errors = nnb.errors.ResumeError, nnb.errors.ModelFileError
    for how in (local(2), summing, None):
        with pytest.raises(errors, match="local_steps"):
            fit(plain, epochs=5, resume=path, **(settings | {"parallel": how}))


def refused() -> None:
    own = [nnb.callbacks.Checkpoint(folder / "never", every_steps=2)]
    ema = nnb.optimizers.EMA(nnb.SGD(0.1), 0.9)
    bound = nnb.Dense(6, constraint=nnb.constraints.MaxNorm(1.0))
    together = nnb.Dense(6), nnb.BatchNorm(synchronized=True)
    for layers, settings, message in (
        ((), {"optimizer": ema}, "average of the parameters"),
        ((bound,), {}, "constraints"),
        (together, {}, "synchronized"),
        ((), {"callbacks": own}, "every_steps"),
        (
            (),
            {"parallel": local(2 + rank)},
            "local_steps.steps is 2 in process 0 and 3 in process 1",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            fit(network(*layers), **({"parallel": local(2)} | settings))
    for wrong in ({"local_steps": 0}, {"local_steps": "4"}):
        with pytest.raises(ValueError, match="local_steps must be a whole number"):
            nnb.parallel.MPI(**wrong)
    with pytest.raises(ValueError, match="momentum"):
        nnb.parallel.LocalSteps(4, momentum=1.0)


checks = [one_step_is_a_sum_of_gradients, by_the_formula, two_runs, other_backends, streams,
          each_reads_its_share, within_epochs, weightless, checkpoints, refused]  # fmt: skip
for check in checks:
    check()
    if rank == 0:
        print(check.__name__, flush=True)
