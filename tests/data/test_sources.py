"""Sources: batches of every kind, memory maps, and the arguments that do not go together."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from data.streams import (
    LABELS,
    WEIGHTS,
    X,
    Y,
    batches,
    evaluates_alike,
    fails,
    mapped,
    network,
    order_of,
    weights,
)
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import data
from nnbackend.data import row_reader
from nnbackend.errors import DataError


def test_a_memory_map_trains_as_the_array_does(tmp_path, backend64):
    x, y = mapped(tmp_path, x=np.tile(X, (40, 1)), y=np.tile(Y, (40, 1)))
    net, twin = network(backend64), network(backend64)
    found = net.fit(x, y, shuffle=False, epochs=2, batch_size=100)
    expected = twin.fit(np.array(x), np.array(y), shuffle=False, epochs=2, batch_size=100)
    assert_equal(weights(net), weights(twin))
    assert "waiting" in found
    assert found["loss"] == expected["loss"]


def test_memory_maps_are_not_brought_to_the_backend_as_a_whole(tmp_path, monkeypatch):
    (x,) = mapped(tmp_path, x=np.tile(X, (100, 1)))
    net, seen = network(), []
    real = nnb.data.targets.inputs

    def watched(x, *args, **given):
        seen.append(len(x))
        return real(x, *args, **given)

    monkeypatch.setattr(nnb.data.targets, "inputs", watched)
    net.fit(x, np.tile(Y, (100, 1)), batch_size=64)
    assert sum(seen) == 7000
    assert max(seen) <= 1024


def test_a_memory_map_is_predicted_a_batch_at_a_time(tmp_path, monkeypatch, backend):
    (x,) = mapped(tmp_path, x=X)
    net, seen = network(backend), []
    expected = host(backend, net.predict(X, batch_size=20))
    real = nnb.data.validate.inputs
    watched = lambda x, *args, **given: seen.append(len(x)) or real(x, *args, **given)  # noqa: E731
    monkeypatch.setattr(row_reader, "inputs", watched)
    np.testing.assert_array_equal(host(backend, net.predict(x, batch_size=20)), expected)
    assert seen == [20, 20, 20, 10]


def test_validation_data_and_evaluation_may_stream(backend64):
    evaluates_alike([batches, (X, Y)], backend64)


def test_a_batch_may_be_filled_again_for_the_next():
    """What was read ahead is not changed by that."""
    net, twin = network(dtype="float64"), network(dtype="float64")

    def same_memory():
        x, y = np.empty((14, 3)), np.empty((14, 2))
        for i in range(0, 70, 14):
            x[:], y[:] = X[i : i + 14], Y[i : i + 14]
            yield x, y

    net.fit(same_memory)
    twin.fit(X, Y, batch_size=14, shuffle=False)
    assert_equal(weights(net), weights(twin))


@pytest.mark.parametrize("kind", ["torch", "jax", "pandas", "polars", "lists"])
def test_batches_may_be_of_any_arrays(kind):
    if kind == "lists":
        convert = np.ndarray.tolist
    else:
        library = pytest.importorskip({"jax": "jax.numpy"}.get(kind, kind))
        convert = {"torch": lambda a: library.tensor(a), "jax": lambda a: library.asarray(a)}.get(
            kind, lambda a: library.DataFrame(a)
        )
    net, twin = network(), network()
    net.fit([(convert(x), convert(y)) for x, y in batches()])
    twin.fit(list(batches()))
    assert_close(weights(net), weights(twin), 1e-6)


def test_arrays_of_the_backend_itself_may_stream(backend):
    net, twin = network(backend), network(backend)
    with backend.scope():
        own = [(backend.asarray(x), backend.asarray(y)) for x, y in batches()]
    net.fit(own)
    twin.fit(list(batches()))
    assert_close(weights(net), weights(twin), 1e-6)


def test_a_memory_map_is_shuffled_as_a_whole_if_the_buffer_holds_it(tmp_path):
    x, y = mapped(tmp_path, x=np.tile(X, (60, 1)) + np.arange(4200)[:, None], y=np.tile(Y, (60, 1)))
    whole = order_of(data.MemoryMap(x, y))
    small = order_of(data.MemoryMap(x, y, shuffle_buffer=100))
    for found in (whole, small):
        np.testing.assert_array_equal(np.sort(found), np.sort(x[:, 0].astype("f4")))
    # Rows of the first half are spread over all of the epoch, or stay about their chunk.
    assert abs((whole[:2100] < np.median(whole)).mean() - 0.5) < 0.05
    assert np.abs(np.diff(small)).mean() < np.abs(np.diff(whole)).mean()


def test_two_networks_with_the_same_seed_learn_the_same_from_a_shuffled_stream(backend):
    nets = [network(backend, seed=3) for _ in range(2)]
    for net in nets:
        net.fit(data.Batches(batches, shuffle_buffer=40), epochs=3, batch_size=10)
    assert_equal(weights(nets[0]), weights(nets[1]))


def test_batches_that_are_too_few_or_none_are_named():
    with pytest.raises(DataError, match="there were no batches in epoch 1"):
        network().fit([])
    with pytest.raises(DataError, match="there were no batches in epoch 1"):
        network().fit(lambda: iter(()))
    _, epochs = fails(
        network(), lambda epoch: batches() if epoch < 3 else [], "no batches in epoch 3"
    )
    assert epochs == 2
    fails(network(), data.Batches(batches, steps=9), "ended after 5 of 9 in epoch 1")

    class Short(list):
        def __len__(self):
            return 7

    fails(network(), Short(batches()), "the batches ended after 5 of 7 in epoch 1")
    _, epochs = fails(
        network(), data.Batches(iter([*batches(), *batches()]), steps=6),
        "ended after 4 of 6 in epoch 2: an iterator can be gone through only once",
    )  # fmt: skip
    assert epochs == 1


def test_an_iterator_is_refused_for_more_than_one_epoch_before_it_is_touched():
    made = batches()
    with pytest.raises(ValueError, match=r"only once.*3 epochs: give the function that makes it"):
        network().fit(made, epochs=3)
    with pytest.raises(ValueError, match="the validation batches come from an iterator"):
        network().fit(X, Y, epochs=3, validation_data=made)
    assert len(list(made)) == 5
    with pytest.raises(DataError, match=r"no batches in epoch 1: an iterator can be gone through"):
        network().fit(made)


ARGUMENTS = [
    ((batches, Y), {}, ValueError, "y is a part of the batches"),
    ((batches,), {"sample_weight": WEIGHTS}, ValueError, "sample_weight is a part of the batches"),
    ((X,), {}, TypeError, "there is no y"),
    ((5,), {}, TypeError, "there is no y"),
    ((batches,), {"validation_split": 0.2}, ValueError, "a stream cannot be split"),
    ((batches,), {"batch_size": 64}, ValueError, r"steps as they are given.*shuffle_buffer"),
    ((data.MemoryMap(X, Y),), {"batch_size": None}, ValueError, "stream need a batch_size"),
    ((lambda: None,), {}, TypeError, "the callable must return an iterable"),
    ((X, Y), {"stratify": True}, ValueError, "belong to validation_split"),
    ((X, Y), {"groups": LABELS}, ValueError, "belong to validation_split"),
    ((X, Y), {"validation_data": X}, ValueError, r"validation_data must be \(x, y\)"),
]


@pytest.mark.parametrize(("args", "others", "error", "words"), ARGUMENTS, ids=lambda v: str(v)[:20])
def test_arguments_that_do_not_go_together_are_named(args, others, error, words):
    net = network()
    before = weights(net)
    with pytest.raises(error, match=words):
        net.fit(*args, **others)
    assert_equal(weights(net), before)


def test_lengths_of_memory_maps_are_compared(tmp_path):
    (x,) = mapped(tmp_path, x=X)
    with pytest.raises(ValueError, match="X and y must have the same length, got 70 rows"):
        network().fit(x, Y[:9])
    with pytest.raises(ValueError, match="one row for each sample"):
        network().fit(np.memmap(tmp_path / "x.npy", dtype="u1", mode="r"), Y)


def test_what_is_not_finite_in_a_memory_map_is_named_by_its_row(tmp_path):
    x = np.tile(X, (40, 1))
    x[1500, 2] = np.nan
    (x,) = mapped(tmp_path, x=x)
    with pytest.raises(DataError, match=r"X has 1 number.*\(nan\) at X\[1500, 2\]"):
        network().fit(x, np.tile(Y, (40, 1)))


@pytest.mark.parametrize("offset", [0, 5000 * 4])
def test_a_mapped_file_that_becomes_shorter_does_not_kill_the_process(offset, tmp_path):
    path = tmp_path / "x.bin"
    np.tile(X, (100, 1)).astype("f4").tofile(path)
    rows_there = (path.stat().st_size - offset) // 12
    x = np.memmap(path, dtype="f4", mode="r", offset=offset, shape=(rows_there, 3))[5:]

    def shorten(run):
        with open(path, "r+b") as file:
            file.truncate(30_000)

    with pytest.raises(DataError, match=r"the mapped file .*x\.bin has become shorter"):
        network().fit(x, np.ones((len(x), 2)), epochs=2, callbacks=[shorten])


class MakeBelieve:
    """Of CuPy what a stager uses; it notes the order of what was asked."""

    def __init__(self):
        self.asked = asked = []
        self.streams = []

        class Stream:
            id = ptr = 0

            def __init__(self, name="copies", non_blocking=False):
                self.name, self.non_blocking = name, non_blocking

            def __enter__(self):
                asked.append(f"enter {self.name}")
                return self

            def __exit__(self, *_):
                asked.append(f"leave {self.name}")

            def record(self):
                asked.append(f"record {self.name}")
                return f"event of {self.name}"

            def wait_event(self, event):
                asked.append(f"{self.name} waits for {event}")

            def synchronize(self):
                asked.append(f"synchronize {self.name}")

        class Device(Stream):
            pass

        class There(np.ndarray):
            def set(self, array, stream):
                asked.append(f"copy on {stream.name}")
                self[...] = array

        self.device = Device("device")
        steps = Stream("steps")

        def empty(shape, dtype):
            asked.append("allocate")
            return np.empty(shape, dtype).view(There)

        self.empty = empty
        self.cuda = type("cuda", (), {
            "get_current_stream": staticmethod(lambda: steps),
            "Stream": Stream,
        })  # fmt: skip


def test_copies_to_a_gpu_come_after_the_steps_that_may_use_the_memory_and_are_waited_for(
    monkeypatch,
):
    from nnbackend.backends import cupy as backends_cupy
    from nnbackend.backends.cupy import CuPyBackend

    monkeypatch.setattr(backends_cupy, "_copies", {})
    cupy = MakeBelieve()

    def empty_pinned(shape, dtype):
        cupy.asked.append("pin")
        return np.empty(shape, dtype)

    module = type(sys)("cupyx")
    module.empty_pinned = empty_pinned
    monkeypatch.setitem(sys.modules, "cupyx", module)
    backend = object.__new__(CuPyBackend)
    backend._cupy, backend.device = cupy, cupy.device
    x, y, none = backend.uploader()([X, LABELS.astype(np.int32), None])
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, LABELS)
    assert y.dtype == np.int32
    assert none is None
    inside = cupy.asked[cupy.asked.index("enter copies") :]
    assert inside == [
        "enter copies", "allocate", "allocate", "record steps", "copies waits for event of steps",
        "pin", "copy on copies", "pin", "copy on copies", "synchronize copies", "leave copies",
        "leave device",
    ]  # fmt: skip


def test_what_is_staged_arrives_as_it_is(backend):
    x, y, none = backend.uploader()([X.astype("f4"), LABELS.astype(np.int32), None])
    assert none is None
    np.testing.assert_array_equal(host(backend, x), X.astype("f4"))
    np.testing.assert_array_equal(host(backend, y), LABELS)
    assert y.dtype == backend.xp.int32
