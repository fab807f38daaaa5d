"""Several networks, backends and groups of processes in one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import BACKENDS, COLUMNS, ROWS, data, fit, network, vector
from mpi4py import MPI as library

import nnbackend as nnb

parallel = nnb.parallel.MPI(timeout=100.0)
rank, size = parallel.rank, parallel.size


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=tolerance * np.abs(wanted).max())


def check_alike(net: nnb.Network, processes: Any = parallel.processes) -> None:
    own = vector(net).tobytes().hex()
    assert set(processes.gather(own)) == {own}


def other_backends() -> None:
    """Each of them trains in several processes as NumPy does in one; float32 to its rounding."""
    weight = np.random.default_rng(1).uniform(0.0, 2.0, ROWS)
    layers = nnb.Dense(6, "tanh"), nnb.BatchNorm(synchronized=True), nnb.Dropout(0.3)
    settings: dict[str, Any] = {
        "optimizer": nnb.SGD(0.1, momentum=0.9),
        "epochs": 8,
        "sample_weight": weight,
        "class_weight": "balanced",
        "metrics": ["accuracy"],
        "validation_split": 0.2,
        "batch_size": 11,
    }
    for dtype, tolerance in ("float64", 1e-12), ("float32", 1e-4):
        alone = network(*layers, dtype=dtype)
        wanted = fit(alone, **settings)
        for name in BACKENDS:
            net = network(*layers, dtype=dtype, backend=name)
            found = fit(net, parallel=parallel, **settings)
            close(vector(net), vector(alone), tolerance)
            check_alike(net)
            for metric in ("loss", "validation_loss"):
                np.testing.assert_allclose(found[metric], wanted[metric], rtol=10.0 * tolerance)


def one_after_the_other() -> None:
    """Two networks by one MPI(), one of which goes on, alone, together and by local steps."""
    one, other, alone = network(), network(seed=2), network()
    fit(one, parallel=parallel)
    fit(other, parallel=parallel, optimizer="sgd")
    fit(one, parallel=parallel)
    for _ in range(2):
        fit(alone)
    close(vector(one), vector(alone))
    check_alike(other)
    fit(one)
    fit(alone)
    close(vector(one), vector(alone))
    for how in (nnb.parallel.MPI(local_steps=2, timeout=100.0), parallel):
        fit(one, parallel=how, optimizer="sgd")
        check_alike(one)
    x, y = data()
    found = [one.evaluate(x, y)["loss"], one.predict(x).sum()]
    assert parallel.processes.gather(found) == [found] * size


def regression() -> None:
    x, _ = data()
    y = x @ np.arange(COLUMNS) / COLUMNS
    nets = [
        nnb.Network([nnb.Dense(6, "tanh"), nnb.Dense(1)], dtype="float64", input_shape=(COLUMNS,))
        for _ in range(2)
    ]
    for net, how in zip(nets, (None, parallel), strict=True):
        net.fit(x, y, loss="mse", batch_size=16, epochs=3, verbose=0, metrics=["mae"], parallel=how)
    close(vector(nets[1]), vector(nets[0]))


def weighted(z: Any, y: Any, weight: Any = None) -> Any:
    """The weighted mean of squared errors."""
    w = np.ones(len(z)) if weight is None else weight
    w = w[:, None] / w.sum()
    return np.sum(w * (z - y) ** 2), 2.0 * w * (z - y)


def without_weights(z: Any, y: Any, weight: Any = None) -> Any:
    return weighted(z, y)


def total(z: Any, y: Any, weight: Any = None) -> Any:
    value, dy = weighted(z, y, weight)
    return len(z) * value, len(z) * dy


def losses_of_users() -> None:
    """Those that are means train as in one process; others are refused in all."""
    x, _ = data(60)
    y, weight = np.tanh(x[:, :3]), np.random.default_rng(1).uniform(0.0, 2.0, 60)

    def trained(loss: Any, how: Any, **more: Any) -> nnb.Network:
        net = nnb.Network([nnb.Dense(3)], dtype="float64", input_shape=(COLUMNS,))
        settings = {"optimizer": "sgd", "batch_size": 16, "epochs": 3, "verbose": 0}
        net.fit(x, y, loss=loss, parallel=how, **(settings | more))
        return net

    for loss, more in (
        (weighted, {}),
        (weighted, {"sample_weight": weight}),
        (weighted, {"sample_weight": weight, "accumulate": 2}),
        (without_weights, {}),
    ):
        close(vector(trained(loss, parallel, **more)), vector(trained(loss, None, **more)))
    for loss, more in ((without_weights, {"sample_weight": weight}), (total, {})):
        for also in ({}, {"profile": True}, {"batch_size": size}):
            with pytest.raises(ValueError, match=f"the loss {loss.__name__} cannot be computed in"):
                trained(loss, parallel, **(more | also))


def groups() -> None:
    """Two groups of processes train two networks at the same time; one of them is one process."""
    if size < 3:
        return
    color = int(rank == size - 1)
    comm = library.COMM_WORLD.Split(color, rank)
    own = nnb.parallel.MPI(comm=comm, timeout=100.0)
    assert own.size == (1 if color else size - 1)
    alone, together = network(seed=color), network(seed=color)
    for net, how in (alone, None), (together, own):
        fit(net, epochs=2 + 3 * color, metrics=["accuracy"], parallel=how)
    close(vector(together), vector(alone))
    fit(together, parallel=own)
    both = network()
    fit(both, parallel=parallel)  # and then all together
    check_alike(both)


checks = [other_backends, one_after_the_other, regression, losses_of_users, groups]
for check in checks:
    check()
    if rank == 0:
        print(check.__name__, flush=True)
