"""Several processes train as one does; each of them compares itself with a training of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import CLASSES, ROWS, data, fit, network, vector

import nnbackend as nnb
from nnbackend.data.adapter import BATCH_SIZE
from nnbackend.training.gradient_sums import GradientSums

parallel = nnb.parallel.MPI(timeout=100.0)
folder = Path(sys.argv[1])


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=tolerance * np.abs(wanted).max())


def check_alike(net: nnb.Network) -> None:
    """Assert that all processes have the same bits."""
    own = vector(net).tobytes().hex()
    assert set(parallel.processes.gather(own)) == {own}


def both(*layers: Any, x: Any = None, y: Any = None, **settings: Any) -> nnb.Network:
    """Train alone and together; compare parameters, state and history."""
    alone, together = network(*layers), network(*layers)
    wanted = fit(alone, x, y, **settings)
    found = fit(together, x, y, parallel=parallel, **settings)
    close(vector(together), vector(alone))
    check_alike(together)
    assert found.keys() - {"seconds", "waiting"} == wanted.keys() - {"seconds", "waiting"}
    for name in found.keys() - {"seconds", "waiting"}:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-11, err_msg=name)
    assert together.trained == alone.trained
    return together


def a_hundred_steps() -> None:
    weight = np.random.default_rng(1).uniform(0.0, 2.0, ROWS)
    both(
        epochs=30,
        sample_weight=weight,
        class_weight="balanced",
        metrics=["accuracy", "balanced_accuracy"],
        validation_split=0.2,
    )


def optimizers() -> None:
    clipped = nnb.optimizers.Clipped(nnb.AdamW(0.01), norm=0.05)
    both(optimizer=nnb.optimizers.EMA(clipped, 0.9), accumulate=2, epochs=5)
    both(optimizer=nnb.LAMB(nnb.schedules.Cosine(0.1, steps=12)))


def normalization() -> None:
    # A bias before it has no gradient but rounding, which Adam would make large.
    layers = nnb.Dense(6), nnb.BatchNorm(synchronized=True), nnb.Dropout(0.2)
    both(*layers, batch_size=22, optimizer=nnb.SGD(0.1, momentum=0.9))
    weightless = np.r_[np.zeros(22), np.ones(ROWS - 22)]  # all rows of the first batch
    both(*layers, batch_size=22, sample_weight=weightless, shuffle=False, optimizer="sgd")
    local = network(nnb.Dense(6), nnb.BatchNorm())
    fit(local, batch_size=22, parallel=parallel)
    check_alike(local)


def few_rows() -> None:
    x, y = data(17)  # the last batch has one row
    both(x=x, y=y, validation_data=data(2), metrics=["accuracy"], epochs=40)


def streams() -> None:
    x, y = data()

    def batches() -> Iterator[tuple[Any, Any]]:
        for start in range(0, ROWS, 10):  # the last one has one row
            yield x[start : start + 10], y[start : start + 10]

    both(x=batches, validation_data=batches, metrics=["accuracy"], batch_size=BATCH_SIZE)
    path = folder / f"x{parallel.rank}.npy"
    np.save(path, x)
    both(x=np.load(path, mmap_mode="r"), y=y)


def shares() -> None:
    x, y = data(5000)  # in five chunks
    mapped, layer = folder / f"shares{parallel.rank}.npy", nnb.Dense(4, "tanh")
    np.save(mapped, x)
    x, own = np.load(mapped, mmap_mode="r"), nnb.parallel.MPI(reads="share")
    for size, rate, epochs in (10**4, 0.1, 3), (100, 1e-300, 1):  # all rows, or none that moves
        alone, together = network(layer), network(layer)
        more = {"batch_size": size, "optimizer": nnb.SGD(rate), "epochs": epochs}
        wanted, found = (
            fit(net, x, y, metrics=["accuracy"], parallel=how, **more)
            for net, how in ((alone, None), (together, own))
        )
        close(vector(together), vector(alone))
        for name in "loss", "accuracy":
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-12)
    fit(together, x, y, parallel=own)
    check_alike(together)
    fit(network(), x[:9], y[:9], parallel=own)  # of one chunk each reads a part
    with pytest.raises(
        ValueError, match=f"1 rows cannot be divided among {parallel.size} processes"
    ):
        fit(network(), x[:1], y[:1], parallel=own)
    fit(network(), *data(), parallel=own)


def played() -> None:
    """Recorded steps exchange what the recorded one did, without its Python."""
    sums, counts = GradientSums.finish, [0]

    def counted(*args: Any) -> Any:
        counts[0] += 1
        return sums(*args)

    GradientSums.finish = counted  # type: ignore[method-assign]
    try:
        for rows, size in (64, 16), (8, 1):  # one row: the others have none
            counts[0], more = 0, {"batch_size": size, "metrics": ["accuracy"]}
            fit(network(), *data(rows), epochs=20, parallel=parallel, **more)
            assert 30 < counts[0] < 40, (size, counts)
    finally:
        GradientSums.finish = sums  # type: ignore[method-assign]


def trees() -> None:
    x, y = data()

    def made() -> nnb.Network:
        layers = [nnb.Concatenate(), nnb.Dense(CLASSES, "softmax")]
        return nnb.Network(layers, dtype="float64", input_shape=((2,), (3,)))

    alone, together = made(), made()
    for net, how in (alone, None), (together, parallel):
        fit(net, (x[:, :2], x[:, 2:]), y, parallel=how)
    close(vector(together), vector(alone))


def sixteen_bits() -> None:
    rough, twin, exact = (network(nnb.Dense(4000, "tanh")) for _ in range(3))
    for net in (rough, twin):
        fit(net, parallel=nnb.parallel.MPI(compress="float16"), optimizer="sgd")
        check_alike(net)
    fit(exact, optimizer="sgd")
    close(vector(rough), vector(exact), 1e-3)
    assert not np.array_equal(vector(rough), vector(exact))
    assert np.array_equal(vector(rough), vector(twin))


def two_runs() -> None:
    nets = [network(nnb.Dense(4000, "tanh"), nnb.Dropout(0.1)) for _ in range(2)]
    for net in nets:
        fit(net, parallel=parallel)
    assert np.array_equal(*map(vector, nets))


class FailingBackward(nnb.Dense):
    """Fails in its backward pass, when the sums of later layers' gradients are under way."""

    fails = True

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        y, layer_backward = super().forward(params, x, ctx)

        def backward(dy: Any, input_grad: bool = True) -> Any:
            if FailingBackward.fails:
                raise ArithmeticError("backward")
            return layer_backward(dy, input_grad=input_grad)

        return y, backward


class Watching(nnb.callbacks.Callback):
    """Notes who calls it; sets parameters and the learning rate; stops the run."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def epoch_end(self, run: Any) -> None:
        self.events.append("epoch")
        run.learning_rate_factor = 0.5
        if run.epoch == 2:
            state = run.network.state_dict()
            run.network.load_state_dict({name: 0.5 * array for name, array in state.items()})
        if run.epoch == 4:
            run.stop("enough")


def decisions() -> None:
    watching = Watching()
    net = network()
    history = fit(net, epochs=9, callbacks=[watching], parallel=parallel)
    check_alike(net)
    assert (len(history), history.stopped) == (4, "enough")
    assert len(watching.events) == (4 if parallel.rank == 0 else 0)
    np.testing.assert_array_equal(history["learning_rate"], [1e-3, 5e-4, 5e-4, 5e-4])
    both(callbacks=[nnb.callbacks.ReduceOnPlateau("loss", patience=1, min_delta=1.0)], epochs=6)
    both(callbacks=[nnb.callbacks.EarlyStopping("loss", patience=1, mode="max")], epochs=9)
    stopping = nnb.callbacks.EarlyStopping("loss", patience=1, mode="max")
    fit(network(), epochs=9, callbacks=[stopping], parallel=parallel)
    assert stopping.best_epoch >= 1
    assert len(set(parallel.processes.gather(stopping.best_epoch))) == 1
    stopped = fit(
        network(), epochs=10**6, callbacks=[nnb.callbacks.TimeBudget(0.3)], parallel=parallel
    )
    assert "time of 0.3 s is up" in (stopped.stopped or "")
    assert len(set(parallel.processes.gather(len(stopped)))) == 1


def interrupt(run: Any) -> None:
    if run.epoch == 3:
        raise KeyboardInterrupt


def interruptions() -> None:
    for epochs, reason in (3, None), (9, "interrupted in epoch 4; the 3 before it are kept"):
        history = fit(network(), epochs=epochs, callbacks=[interrupt], parallel=parallel)
        found = parallel.processes.gather([len(history), history.stopped])
        assert found == [[3, reason]] * parallel.size


def errors_of_all() -> None:
    x, y = data()
    net = network(nnb.Dense(4))
    for _ in range(2):
        with pytest.raises(nnb.errors.DivergenceError):
            fit(net, x, y, optimizer=nnb.SGD(1e300), epochs=9, parallel=parallel)
        check_alike(net)
    fit(net, parallel=parallel)
    large = FailingBackward(4), nnb.Dense(2**20 // 4, "tanh")  # which has a bucket of its own
    with pytest.raises(ArithmeticError):
        fit(network(*large), batch_size=ROWS, epochs=1, parallel=parallel)
    FailingBackward.fails = False
    both(*large, batch_size=ROWS, epochs=1)
    for wrong, message in (
        ({"optimizer": nnb.LBFGS(), "batch_size": None}, "driven by SciPy in one process"),
        ({"x": x[:1], "y": y[:1]}, f"1 rows cannot be divided among {parallel.size} processes"),
        ({"epochs": 0}, "epochs must be"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(network(), parallel=parallel, **wrong)


checks = [a_hundred_steps, optimizers, normalization, few_rows, streams, shares, played, trees,
          sixteen_bits, two_runs, decisions, interruptions, errors_of_all]  # fmt: skip
for check in checks:
    check()
    if parallel.rank == 0:
        print(check.__name__, flush=True)
