"""Memory is counted, given back, and explained when it runs out."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from fake_cuda import CUDARuntimeError
from fake_cupy import LABELS, TASK, X, small_network
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.errors import OutOfMemoryError


def test_memory_is_counted_and_given_back(machine):
    backend = nnb.get_backend("cupy", 1)
    before = backend.memory()
    x = backend.asarray(np.ones((1000, 100)))
    now = backend.memory()
    assert now.used - before.used == now.held - before.held == 400_384  # a multiple of 512
    del x
    kept = backend.memory()
    assert kept.used == before.used
    assert kept.held == kept.peak == now.held
    assert kept.free == now.total
    backend.free_memory()
    assert backend.memory().held == 0
    assert machine.current.device == 0


def test_a_closed_network_gives_its_memory_back_and_refuses_work(machine):
    with small_network(input_shape=5) as net:
        net.fit(X, LABELS, **TASK)
        kept = net.state_dict()
        assert machine.held[1] > 0
    assert machine.used[1] == sum(-(-p.nbytes // 512) * 512 for p in kept.values())
    assert machine.held[1] == machine.used[1]
    net.close()
    for work in (lambda: net.predict(X), lambda: net.fit(X, LABELS, **TASK), lambda: net.params,
                 lambda: net.forward(X), lambda: net.build(5), lambda: net.state_dict(),
                 lambda: net.load_state_dict(kept), lambda: net.partial_fit(X, LABELS),
                 lambda: net.evaluate(X, LABELS, loss="mse"), lambda: net.save("nowhere"),
                 lambda: net.to("numpy"), lambda: net.__enter__()):  # fmt: skip
        with pytest.raises(ValueError, match="the network is closed: its arrays were released"):
            work()
    assert small_network(input_shape=5).load_state_dict(kept).predict(X).shape == (60, 3)


def test_a_closed_network_on_any_backend(backend):
    with nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3) as net:
        y = net.predict(np.ones((2, 3)))
    assert host(backend, y).shape == (2, 2)
    with pytest.raises(ValueError, match="closed"):
        net.predict(np.ones((2, 3)))


WIDE = np.random.default_rng(1).normal(size=(2048, 64)).astype("f4")


def test_a_batch_that_does_not_fit_says_what_to_try(machine):
    machine.total = 6 << 20
    net = nnb.Network([nnb.Dense(256, "tanh"), nnb.Dense(256, "tanh"), nnb.Dense(1)],
                      backend="cupy", device=1, input_shape=64)  # fmt: skip
    net.fit(WIDE[:64], WIDE[:64, 0], verbose=0)
    before = host(net.backend, net.params)
    with pytest.raises(OutOfMemoryError) as caught:
        net.fit(WIDE, WIDE[:, 0], batch_size=3000, epochs=2, verbose=0)
    text = str(caught.value)
    assert text.startswith(
        "Make-Believe 9000 (cuda:1) has too little memory for fit with batch_size=3000"
    )
    assert "more was asked for, and" in text
    assert "of 6.29 MB was free (this process held" in text
    assert "Try batch_size=1024, or accumulate=2, which computes each batch in parts" in text
    assert "With data_on='host' the data stay in the host's memory." in text
    assert "The network keeps the weights of the last whole epoch." in text
    assert isinstance(caught.value, MemoryError)
    assert caught.value.batch_size == 1024  # of 2,048 rows
    assert_equal(host(net.backend, net.params), before)
    # Nothing is left of the attempt, though its error is at hand: neither arrays nor what pools keep.
    parameters = sum(p.size * 4 for p in net.state_dict().values())
    assert machine.used[1] < 1.1 * parameters
    net.backend.free_memory()
    assert machine.held[1] == machine.used[1]


def test_who_follows_the_advice_arrives_at_a_batch_that_fits(machine):
    machine.total = 6 << 20
    layers = [nnb.Dense(256, "tanh"), nnb.Dense(256, "tanh"), nnb.Dense(1)]
    net = nnb.Network(layers, backend="cupy", input_shape=64)
    size, parts = 2048, 1
    while not hasattr(net, "history"):
        try:
            net.history = net.fit(WIDE, WIDE[:, 0], batch_size=size, verbose=0)
        except OutOfMemoryError as error:
            size = error.batch_size
    assert 1 < size < 2048
    with pytest.raises(OutOfMemoryError, match=r"accumulate=2,"):
        net.fit(WIDE, WIDE[:, 0], batch_size=2048, data_on="host", verbose=0)
    while parts < 2048 // size:
        with contextlib.suppress(OutOfMemoryError):
            net.fit(WIDE, WIDE[:, 0], batch_size=2048, accumulate=parts, verbose=0)
            break
        parts *= 2
    assert 1 < parts <= 2048 // size
    machine.total = machine.used[0] + 2048
    with pytest.raises(OutOfMemoryError) as caught:
        net.partial_fit(WIDE[:1], WIDE[:1, 0])
    assert caught.value.batch_size is None  # less than a row there is not
    assert "Try" not in str(caught.value)


def test_weights_are_those_of_the_last_whole_epoch_when_memory_runs_out_later(machine):
    net = nnb.Network([nnb.Dense(64), nnb.Dense(1)], backend="cupy", device=1, input_shape=64)
    kept = []

    class Grow(nnb.callbacks.Callback):
        def epoch_end(self, run):
            kept.append(host(run.network.backend, run.network.params))
            if len(run.history) == 2:
                machine.total = machine.used[1]

    with pytest.raises(OutOfMemoryError, match="last whole epoch"):
        net.fit(WIDE, WIDE[:, 0], epochs=5, callbacks=[Grow()], verbose=0)
    assert len(kept) == 2
    machine.total = 1 << 30
    assert_equal(host(net.backend, net.params), kept[-1])


def test_too_many_rows_to_predict_say_how_many_to_try(machine):
    net = nnb.Network([nnb.Dense(512), nnb.Dense(1)], backend="cupy", device=1, input_shape=64)
    machine.total = machine.used[1] + (3 << 20)
    x = net.backend.asarray(WIDE)
    with pytest.raises(OutOfMemoryError) as caught:
        net.predict(x)
    assert "too little memory for predict with batch_size=4096" in str(caught.value)
    assert "The network keeps its weights." in str(caught.value)
    assert "Try batch_size=1024." in str(caught.value)  # of 2,048 rows
    assert net.predict(x, batch_size=caught.value.batch_size).shape == (2048, 1)


def test_a_network_that_does_not_fit_on_the_device(machine, tmp_path):
    net = nnb.Network([nnb.Dense(512), nnb.Dense(512)], input_shape=64)
    net.save(tmp_path / "large.safetensors")
    machine.total = 1 << 20
    path, words = (
        tmp_path / "large.safetensors",
        r"\(cuda:0\) has too little memory for the parameters:",
    )
    for work in (lambda: net.to("cupy"), lambda: nnb.load(path, backend="cupy"),
                 lambda: nnb.Network(net.layers, backend="cupy", input_shape=64)):  # fmt: skip
        with pytest.raises(OutOfMemoryError, match=words):
            work()
        assert machine.held[0] == 0


def test_a_stream_of_batches_that_do_not_fit(machine):
    machine.total = 6 << 20
    net = nnb.Network([nnb.Dense(512), nnb.Dense(1)], backend="cupy", input_shape=64)
    with pytest.raises(OutOfMemoryError, match="has too little memory for fit: ") as caught:
        net.fit(lambda: [(WIDE, WIDE[:, 0])], batch_size=None, verbose=0)
    assert caught.value.batch_size is None
    assert "Try smaller batches, or accumulate=2" in str(caught.value)


def test_data_that_do_not_fit_on_a_card_train_from_the_host(machine, monkeypatch):
    """There is not room for them twice, nor for half of the memory."""
    x = np.random.default_rng(2).normal(size=(20_000, 64)).astype("f4")  # 5 MB
    machine.total = 8 << 20
    nets = []
    for data_on in ("auto", "host"):
        net = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)], backend="cupy", device=1)
        monkeypatch.setattr(type(net.backend), "block_bytes", 1 << 18)
        net.fit(x, x[:, 0], batch_size=256, epochs=2, data_on=data_on, verbose=0)
        y = net.predict(x, batch_size=1000, on_host=True)
        nets.append(net)
    assert set(machine.made) == {1}
    assert machine.held[1] < x.nbytes
    twin = nnb.Network([nnb.Dense(8, "tanh"), nnb.Dense(1)])
    twin.fit(x, x[:, 0], batch_size=256, epochs=2, verbose=0)
    for net in nets:
        assert_equal(host(net.backend, net.params), host(twin.backend, twin.params))
    np.testing.assert_allclose(y, twin.predict(x), rtol=1e-5, atol=1e-6)


def test_estimators_learn_from_data_that_do_not_fit_on_a_card(machine, monkeypatch):
    """With early stopping the rows to score stay on the host, too, and what predicts comes in parts."""
    pytest.importorskip("sklearn")
    from nnbackend.estimators import MLPRegressor

    x = np.random.default_rng(2).normal(size=(20_000, 64)).astype("f4")  # 5 MB
    machine.total = 8 << 20
    given = {"hidden_layer_sizes": (8,), "batch_size": 500, "max_iter": 1, "random_state": 0,
             "early_stopping": True, "validation_fraction": 0.5, "device": 1}  # fmt: skip
    warnings.simplefilter("ignore")  # training ends before it has converged
    for data_on in ("auto", "host"):
        mlp = MLPRegressor(**given, backend="cupy", data_on=data_on)
        monkeypatch.setattr(type(nnb.get_backend("cupy")), "block_bytes", 1 << 18)
        mlp.fit(x, x[:, 0])
        twin = MLPRegressor(**given | {"device": None}).fit(x, x[:, 0])
        np.testing.assert_array_equal(mlp.coefs_[0], twin.coefs_[0])
        assert mlp.validation_scores_ == twin.validation_scores_
        expected = twin.predict(x)
        for rows in (x, x.tolist()):  # a matrix, and what has to be validated
            np.testing.assert_allclose(mlp.predict(rows), expected, rtol=1e-5, atol=1e-6)
    assert set(machine.made) == {1}
    assert machine.held[1] < x.nbytes
    mlp = MLPRegressor(**given, backend="cupy", data_on="device")
    machine.total = x.nbytes
    with pytest.raises(MemoryError):
        mlp.fit(x, x[:, 0])


def test_errors_of_cuda_itself_are_recognized(machine):
    backend = nnb.get_backend("cupy")
    assert backend.is_out_of_memory(CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"))
    assert backend.is_out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert not backend.is_out_of_memory(
        CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access")
    )


@pytest.mark.parametrize("doing", ["forward", "predict", "fit", "partial_fit", "evaluate"])
def test_running_out_is_explained_on_every_backend(backend, doing, monkeypatch):
    """By the error that the library itself raises: of memory that no machine has."""
    if backend.name == "jax" and doing != "forward":
        pytest.skip("while a program is traced nothing is allocated")
    net = nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3)
    before = host(backend, net.params)
    xp, x, y = backend.xp, np.ones((4, 3)), np.ones((4, 2))
    task = {"fit": {"verbose": 0}, "evaluate": {"loss": "mse"}}.get(doing, {})

    def greedy(*_):
        return xp.zeros((1 << 46,), dtype=backend.dtype, device=backend.device)

    monkeypatch.setattr(nnb.Dense, "forward", greedy)
    with pytest.raises(OutOfMemoryError) as caught:
        getattr(net, doing)(x, *([] if doing in ("forward", "predict") else [y]), **task)
    assert f"has too little memory for {doing}" in str(caught.value)
    assert "more was asked for" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert_equal(host(backend, net.params), before)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (80 * 10**9, "80 GB"),
     (999_999_999, "1 GB")],
)  # fmt: skip
def test_bytes_in_words(count, words):
    from nnbackend.backends.device import in_words

    assert in_words(count) == words
