"""What streams: every way of giving data that do not lie in arrays, their order, and their faults."""

from __future__ import annotations

import gzip
import itertools
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from conftest import chosen
from hypothesis import given
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import data
from nnbackend.core.random import Generator
from nnbackend.data import prefetch, stream
from nnbackend.data.samples import Samples
from nnbackend.errors import DataError, UnknownNameError

X, Y = rows((70, 3)), rows((70, 2), 1)
LABELS = np.arange(70) % 2
WEIGHTS = np.linspace(0.5, 2.0, 70)


@pytest.fixture(autouse=True)
def no_hang():
    """A test that hangs fails."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def too_long(*_):
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 60)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_thread_stays():
    """No reading thread outlives a test."""
    yield
    deadline = time.monotonic() + 10
    while any(t.name == "nnbackend reader" for t in threading.enumerate()):
        assert time.monotonic() < deadline, "a reading thread is left"
        time.sleep(0.01)


@pytest.fixture
def once(request):
    """What takes long and does not depend on the backend is tested with NumPy only."""
    if "numpy" not in chosen(request.config):
        pytest.skip("tested with --backend numpy")


def network(backend="numpy", **given):
    layers = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.1), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, **{"input_shape": 3} | given)


def weights(net):
    return host(net.backend, net.state_dict())


def batches(size=16, x=X, y=Y, weight=None):
    """Yield the rows in their order."""
    for i in range(0, len(x), size):
        part = slice(i, i + size)
        yield (x[part], y[part]) if weight is None else (x[part], y[part], weight[part])


def mapped(tmp_path, **arrays):
    """Return memory maps of arrays."""
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays]


# The same as from arrays


WAYS = {
    "a list": lambda: list(batches()),
    "a callable": lambda: batches,
    "a callable of the epoch": lambda: lambda epoch: batches(),
    "without a thread": lambda: data.Batches(batches, prefetch=0),
    "a callable of lists": lambda: lambda: list(batches()),
    "regrouped": lambda: data.Batches(lambda: batches(7), shuffle_buffer=20),
    "without end": lambda: data.Batches(lambda: itertools.cycle(batches()), steps=5),
    "an iterator with steps": lambda: data.Batches(itertools.cycle(batches()), steps=5),
    "mapped": lambda: data.Batches(lambda: batches(x=X / 2)).map(lambda x, y: (x * 2, y)),
}


@pytest.mark.parametrize("way", ["a callable", "regrouped"])
def test_batches_train_as_the_arrays_do(way, backend64):
    trains_alike(way, backend64)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_batches_trains_as_the_arrays_do(way):
    trains_alike(way, nnb.get_backend("numpy", dtype="float64"))


def trains_alike(way, backend64):
    net, twin = network(backend64), network(backend64)
    task = {"epochs": 3, "metrics": ["mae"], "shuffle": False}
    source = WAYS[way]()
    extra = {"batch_size": 16} if getattr(source, "whole_batches", None) is False else {}
    found = net.fit(source, **task, **extra)
    expected = twin.fit(X, Y, batch_size=16, **task)
    assert_close(weights(net), weights(twin), 1e-12)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert found["mae"] == pytest.approx(expected["mae"], rel=1e-12)
    assert set(found) == set(expected) | {"waiting"}
    assert all(0 <= w <= s for w, s in zip(found["waiting"], found["seconds"], strict=True))


def test_batches_of_one_size_train_to_the_last_bit_as_the_arrays_do(backend):
    net, twin = network(backend), network(backend)
    net.fit(batches_of := list(batches(14)), epochs=2)
    twin.fit(X, Y, epochs=2, batch_size=14, shuffle=False)
    assert len(batches_of) == 5
    assert_equal(weights(net), weights(twin))


def test_weights_and_class_numbers_stream_too(backend64):
    net, twin = network(backend64), network(backend64)
    task = {"loss": "softmax_cross_entropy", "epochs": 2, "metrics": ["accuracy"]}
    found = net.fit(lambda: batches(y=LABELS, weight=WEIGHTS), **task)
    expected = twin.fit(X, LABELS, sample_weight=WEIGHTS, shuffle=False, batch_size=16, **task)
    assert_close(weights(net), weights(twin), 1e-12)
    assert found["accuracy"] == pytest.approx(expected["accuracy"])


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
    real = nnb.data.validate.inputs

    def watched(x, *args, **given):
        seen.append(len(x))
        return real(x, *args, **given)

    monkeypatch.setattr(nnb.data.validate, "inputs", watched)
    net.fit(x, np.tile(Y, (100, 1)), batch_size=64)
    assert sum(seen) == 7000
    assert max(seen) <= 1024


def test_a_memory_map_is_predicted_a_batch_at_a_time(tmp_path, monkeypatch, backend):
    (x,) = mapped(tmp_path, x=X)
    net, seen = network(backend), []
    expected = host(backend, net.predict(X, batch_size=20))
    real = nnb.data.validate.inputs
    watched = lambda x, *args, **given: seen.append(len(x)) or real(x, *args, **given)  # noqa: E731
    monkeypatch.setattr(nnb.data, "inputs", watched)
    np.testing.assert_array_equal(host(backend, net.predict(x, batch_size=20)), expected)
    assert seen == [20, 20, 20, 10]


def test_validation_data_and_evaluation_may_stream(backend64):
    evaluates_alike([batches, (X, Y)], backend64)


def test_validation_data_may_be_of_every_kind(tmp_path):
    x, y = mapped(tmp_path, x=X, y=Y)
    ways = [batches, list(batches()), data.MemoryMap(X, Y), (x, y), data.Batches(batches), (X, Y)]
    evaluates_alike(ways, nnb.get_backend("numpy", dtype="float64"))


def evaluates_alike(ways, backend64):
    figures = []
    for way in ways:
        net = network(backend64)
        history = net.fit(X, Y, epochs=2, metrics=["r2"], validation_data=way)
        figures.append([history[f"validation_{n}"] for n in ("loss", "r2")])
        if not isinstance(way, tuple):
            assert net.evaluate(way) == pytest.approx(net.evaluate(X, Y), rel=1e-9)
    for found in figures:
        np.testing.assert_allclose(found, figures[-1], rtol=1e-9)


def test_the_shape_is_taken_from_the_first_batch_which_is_not_lost(backend64):
    net = network(backend64, input_shape=None)
    twin = network(backend64)
    net.fit(batches())
    twin.fit(X, Y, batch_size=16, shuffle=False)
    assert net.input_shape == (3,)
    assert_close(weights(net), weights(twin), 1e-12)


def test_a_batch_may_be_filled_anew_for_the_next():
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


# Order


def pairs(x):
    return Samples(np.asarray(x)[:, None].astype(float), np.asarray(x)[:, None].astype(float))


def cut(count, sizes):
    start = 0
    for size in itertools.cycle(sizes):
        if start >= count:
            return
        yield pairs(np.arange(start, min(start + size, count)))
        start += size


def numbers(parts):
    return np.concatenate([part.x[:, 0] for part in parts]).astype(int)


@given(count=st.integers(1, 300), capacity=st.integers(1, 100), seed=st.integers(0, 99),
       sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))  # fmt: skip
def test_a_shuffle_buffer_gives_every_row_once_however_they_were_cut(count, capacity, seed, sizes):
    found = numbers(stream.shuffle_rows(cut(count, sizes), capacity, Generator.of(seed)))
    again = numbers(stream.shuffle_rows(cut(count, [7]), capacity, Generator.of(seed)))
    assert sorted(found) == list(range(count))
    np.testing.assert_array_equal(found, again)
    # A row does not come before the buffer reached it.
    assert (found <= np.arange(count) + capacity).all()


@given(count=st.integers(1, 300), size=st.integers(1, 50), steps=st.none() | st.integers(1, 5),
       sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))  # fmt: skip
def test_rows_are_regrouped_in_whole_batches(count, size, steps, sizes):
    parts = list(stream.regroup(cut(count, sizes), size, steps))
    np.testing.assert_array_equal(numbers(parts), np.arange(count))
    assert all(len(part) % size == 0 for part in parts[:-1])
    if steps is not None:
        assert all(len(part) == steps * size for part in parts[:-1])


def order_of(source, epoch=1, seed=0, size=16, backend="numpy"):
    """Return the first feature of the rows in the order in which they are trained on."""
    made = data.BatchStream(
        source,
        nnb.get_backend(backend),
        nnb.losses.get("mse"),
        (data.InputSpec((3,)), (2,)),
        size,
        seed,
    )
    with made.epoch(epoch) as parts:
        host = made._backend.to_numpy
        return np.concatenate([np.array(host(part.x))[:, 0] for part, _ in parts])


def test_each_epoch_of_a_stream_has_an_order_of_its_own_and_the_seed_fixes_it(backend):
    source = data.Batches(batches, shuffle_buffer=30)
    first = order_of(source, backend=backend)
    np.testing.assert_array_equal(np.sort(first), np.sort(X[:, 0].astype("f4")))
    np.testing.assert_array_equal(first, order_of(source))  # NumPy's
    np.testing.assert_array_equal(
        first, order_of(data.Batches(lambda: batches(9), shuffle_buffer=30))
    )
    assert not np.array_equal(first, order_of(source, epoch=2))
    assert not np.array_equal(first, order_of(source, seed=1))
    assert not np.array_equal(first, X[:, 0].astype("f4"))


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


# Files


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


ENDINGS = ["parquet", "csv", "csv.gz", "tsv", "arrow", "ipc"]


def write(path, table):
    """Write an Arrow table in the format that the ending names."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    name = path.name
    if name.endswith("parquet"):
        parquet.write_table(table, path, row_group_size=13)
    elif ".csv" in name or ".tsv" in name:
        options = csv.WriteOptions(delimiter="\t" if ".tsv" in name else ",")
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "wb") as file:
            csv.write_csv(table, file, options)
    else:
        make = pa.ipc.new_stream if name.endswith("ipc") else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as file, make(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=13)


def table_of(x, y=None, weight=None):
    import pyarrow as pa

    columns = {name: x[:, i] for i, name in enumerate("abc")}
    columns |= {} if y is None else {f"y{i}": y[:, i] for i in range(y.shape[1])}
    return pa.table(columns | ({} if weight is None else {"w": weight}))


def folder_of(tmp_path, ending, parts=3, weight=None):
    for i, part in enumerate(np.array_split(np.arange(70), parts)):
        w = None if weight is None else weight[part]
        write(tmp_path / f"part-{i}.{ending}", table_of(X[part], Y[part], w))
    return tmp_path / f"*.{ending}"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_dataset_of_files_trains_as_the_arrays_do(ending, tmp_path, arrow):
    pattern = folder_of(tmp_path, ending, weight=WEIGHTS)
    dataset = data.Dataset(pattern, target=["y0", "y1"], weight="w")
    net, twin = network(dtype="float64", input_shape=None), network(dtype="float64")
    found = net.fit(dataset, epochs=2, batch_size=16, shuffle=False)
    expected = twin.fit(X, Y, sample_weight=WEIGHTS, epochs=2, batch_size=16, shuffle=False)
    assert dataset.features == ["a", "b", "c"]
    assert dataset.rows == (70 if ending == "parquet" else None)
    assert "3 files" in repr(dataset)
    assert_close(weights(net), weights(twin), 1e-12)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow"])
def test_a_dataset_is_shuffled_by_seed_and_epoch(ending, tmp_path, arrow):
    dataset = data.Dataset(folder_of(tmp_path, ending), target=["y0", "y1"], shuffle_buffer=20)
    first = order_of(dataset)
    np.testing.assert_array_equal(np.sort(first), np.sort(X[:, 0].astype("f4")))
    np.testing.assert_array_equal(first, order_of(dataset))
    assert not np.array_equal(first, order_of(dataset, epoch=2))
    # Not only within the buffer: the first row of an epoch may be of any file.
    starts = {float(order_of(dataset, epoch)[0]) for epoch in range(1, 12)}
    places = {int(np.argmin(np.abs(X[:, 0].astype("f4") - start))) // 24 for start in starts}
    assert len(places) > 1


def test_a_dataset_takes_folders_files_and_lists_of_them(tmp_path, arrow):
    pattern = folder_of(tmp_path, "parquet")
    (tmp_path / "README.txt").write_text("not data")
    every = sorted(tmp_path.glob("*.parquet"))
    for given_files in (
        pattern,
        str(pattern),
        tmp_path,
        every,
        [str(f) for f in every],
        [tmp_path],
    ):
        assert data.Dataset(given_files, target="y0").files == every
    one = data.Dataset(every[0], target="y0", features=["c", "a"])
    assert one.rows == 24
    chunk = one.peek()
    np.testing.assert_array_equal(chunk.x, X[:13, [2, 0]])
    np.testing.assert_array_equal(chunk.y, Y[:13, 0])


def test_columns_of_whole_numbers_and_truth_values_are_numbers(tmp_path, arrow):
    table = arrow.table(
        {"a": [1, 2, 3], "b": [True, False, True], "y": arrow.array([0, 1, 1], "int8")}
    )
    for ending in ("parquet", "arrow"):
        write(tmp_path / f"t.{ending}", table)
        chunk = data.Dataset(tmp_path / f"t.{ending}", target="y").peek()
        np.testing.assert_array_equal(chunk.x, [[1, 1], [2, 0], [3, 1]])
        np.testing.assert_array_equal(chunk.y, [0, 1, 1])


def test_a_csv_file_may_start_with_whole_numbers_only(tmp_path, arrow):
    lines = ["a,y", *(f"{i},{i}" for i in range(200_000)), "0.5,1.5"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    chunks = list(data.Dataset(tmp_path / "t.csv", target="y").chunks(1, None))
    assert len(chunks) > 1
    assert chunks[-1].x[-1, 0] == 0.5
    assert sum(len(chunk.x) for chunk in chunks) == 200_001


DATASETS = [
    ({"target": "z"}, UnknownNameError, "unknown column 'z'"),
    ({"target": "y0", "features": ["a", "bb"]}, UnknownNameError, "did you mean 'b'"),
    ({"target": "y0", "features": ["a", "y0"]}, ValueError, "y0 cannot be a feature and a target"),
    ({"target": []}, ValueError, "needs a target"),
    ({"target": "y0", "shuffle_buffer": 0}, ValueError, "shuffle_buffer must be a whole number"),
    ({"target": "y0", "prefetch": -1}, ValueError, "prefetch must be a whole number"),
]


@pytest.mark.parametrize(("given_arguments", "error", "words"), DATASETS, ids=lambda v: str(v)[:30])
def test_what_a_dataset_cannot_do_is_said(given_arguments, error, words, tmp_path, arrow):
    pattern = folder_of(tmp_path, "parquet")
    with pytest.raises(error, match=words):
        data.Dataset(pattern, **given_arguments)


def test_files_that_are_not_there_or_not_tables_are_named(tmp_path, arrow):
    with pytest.raises(FileNotFoundError, match=r"no file of a known format in .*\*\.parquet"):
        data.Dataset(tmp_path / "*.parquet", target="y")
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"what .*t\.xlsx holds"):
        data.Dataset(tmp_path / "t.xlsx", target="y")
    for ending in ENDINGS:
        (tmp_path / f"t.{ending}").write_bytes(b"\x00\xff\n\x01,")
        with pytest.raises((DataError, UnknownNameError)):
            data.Dataset(tmp_path / f"t.{ending}", target="y")
    write(tmp_path / "0.parquet", table_of(X, Y))
    write(tmp_path / "1.parquet", table_of(X))
    with pytest.raises(
        DataError, match=r"1\.parquet has no column 'y1', 'y0', which .*0\.parquet has"
    ):
        data.Dataset([tmp_path / "0.parquet", tmp_path / "1.parquet"], target="y0")
    write(
        tmp_path / "2.parquet", arrow.table({"a": ["x"], "b": [1], "c": [1], "y0": [1], "y1": [1]})
    )
    with pytest.raises(DataError, match=r"column 'a' of .*2\.parquet holds string, not numbers"):
        data.Dataset([tmp_path / "0.parquet", tmp_path / "2.parquet"], target="y0")


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnbackend\[data\]'"):
        data.Dataset("*.parquet", target="y")


# Faults


def fails(net, source, words, error=DataError, **given):
    """Assert that a fit fails in its second epoch, and keeps the weights of the first."""
    seen = []
    given = {"epochs": 3, "callbacks": [lambda run: seen.append(weights(run.network))]} | given
    with pytest.raises(error, match=words) as found:
        net.fit(source, **given)
    if seen:
        assert_equal(weights(net), seen[-1])
    return found.value, len(seen)


def second_epoch(*changed):
    """Return a callable whose second epoch ends in other batches."""
    return lambda epoch: itertools.chain(batches(), changed if epoch == 2 else ())


NAN = np.where(np.arange(30).reshape(10, 3) == 13, np.nan, 1.0)
SPOILT = {
    "nan": ((NAN, Y[:10]), r"batch 6 of epoch 2: X has 1 number.*\(nan\) at X\[4, 1\]"),
    "nan in y": ((X[:1], [[1.0, np.inf]]), r"batch 6 of epoch 2: y has 1 number.*y\[0, 1\]"),
    "features": ((X[:4, :2], Y[:4]), r"batch 6 of epoch 2: X has rows of shape \(2,\)"),
    "targets": ((X[:4], Y[:4, :1]), r"batch 6 of epoch 2: y must have shape \(4, 2\)"),
    "lengths": ((X[:4], Y[:3]), "batch 6 of epoch 2: .*same length, got 4 rows and 3"),
    "texts": (([["a", "b", "c"]], Y[:1]), "batch 6 of epoch 2: X: expected real numbers"),
    "weights": ((X[:4], Y[:4], WEIGHTS[:4]), "batch 6 of epoch 2: either all batches or none"),
    "empty": ((X[:0], Y[:0]), "batch 6 of epoch 2: X has no rows"),
    "one array": (X, r"batch 6 of epoch 2 must be \(x, y\) or \(x, y, weight\), got.*ndarray"),
    "four": ((1, 2, 3, 4), r"batch 6 of epoch 2 must be \(x, y\).*got 4 things"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT)
def test_a_batch_that_does_not_fit_is_named_and_the_last_epoch_kept(kind):
    batch, words = SPOILT[kind]
    _, epochs = fails(network(), second_epoch(batch), words)
    assert epochs == 1


def test_every_backend_keeps_the_last_epoch_when_a_batch_does_not_fit(backend):
    batch, words = SPOILT["nan"]
    _, epochs = fails(network(backend), second_epoch(batch), words)
    assert epochs == 1


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
    ((batches,), {"validation_split": 0.2}, ValueError, "what streams cannot be split"),
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


class Broken(Exception):
    pass


@pytest.mark.parametrize("prefetch_blocks", [0, 2])
def test_an_exception_of_the_users_comes_through_with_its_traceback(prefetch_blocks):
    def breaks(epoch):
        yield from batches()
        if epoch == 2:
            raise Broken("the tape is torn")

    source = data.Batches(breaks, prefetch=prefetch_blocks)
    error, epochs = fails(network(), source, "the tape is torn", Broken)
    assert epochs == 1
    names = []
    trace = error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "breaks" in names


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("fault", ["gone", "truncated", "replaced"])
def test_a_file_that_changes_during_a_run_is_named(fault, ending, tmp_path, arrow):
    dataset = data.Dataset(folder_of(tmp_path, ending), target=["y0", "y1"])
    path = tmp_path / f"part-1.{ending}"
    net = network()

    def spoil(run):
        if run.epoch != 1:
            return
        if fault == "gone":
            path.unlink()
        elif fault == "truncated":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            write(path, table_of(np.where(X > 1, np.nan, X)[:9], Y[:9]))

    seen = []
    with pytest.raises(DataError, match=re.escape(f"part-1.{ending}")):
        net.fit(dataset, epochs=3, callbacks=[spoil, lambda run: seen.append(weights(run.network))])
    assert len(seen) == 1
    assert_equal(weights(net), seen[0])


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow"])
def test_a_gap_in_a_file_is_named_by_file_column_and_row(ending, tmp_path, arrow):
    table = table_of(X, Y)
    values = [None if i == 17 else float(i) for i in range(70)]
    write(tmp_path / f"t.{ending}", table.set_column(1, "b", arrow.array(values)))
    where = "record batch 1 of " if ending == "arrow" else ""
    row = 4 if ending == "arrow" else 17
    with pytest.raises(
        DataError, match=rf"column 'b' of {where}.*t\.{ending} has no value in row {row} "
    ):
        network().fit(data.Dataset(tmp_path / f"t.{ending}", target=["y0", "y1"]))


def test_a_thread_that_dies_without_a_word_is_noticed(monkeypatch):
    monkeypatch.setattr(prefetch.ReadAhead, "_read", lambda self: None)
    with pytest.raises(RuntimeError, match=r"ended without a word.*prefetch=0"):
        network().fit(batches)


def test_a_system_exit_in_the_reader_is_not_lost():
    def leaves():
        yield from batches()
        sys.exit(3)

    net = network()
    with pytest.raises(SystemExit):
        net.fit(leaves)


def test_a_reader_is_ended_and_its_generator_closed_however_the_epoch_ends():
    closed = []

    def endless():
        try:
            while True:
                yield from batches()
        finally:
            closed.append(threading.current_thread().name)

    class Stops(nnb.callbacks.Callback):
        def batch_end(self, run):
            if run.step == 3:
                raise Broken

    with pytest.raises(Broken):
        network().fit(endless, callbacks=[Stops()])
    assert closed == ["nnbackend reader"]


def test_reading_ahead_is_bounded():
    made = []

    def counted():
        for batch in batches(5):
            made.append(0)
            yield batch

    class Watches(nnb.callbacks.Callback):
        def batch_end(self, run):
            time.sleep(0.005)
            # Two wait, one is in the reader's hand, one is being learned from.
            assert len(made) <= run.step + 4

    network().fit(counted, callbacks=[Watches()])
    assert len(made) == 14


def test_what_was_read_is_let_go_of():
    alive, most = [], 0

    class Rows(np.ndarray):
        pass

    def watched():
        nonlocal most
        for x, y in batches(5):
            x = x.view(Rows)
            alive.append(weakref.ref(x))
            most = max(most, sum(ref() is not None for ref in alive))
            yield x, y

    network().fit(watched)
    assert most <= 5


def test_the_next_block_is_read_while_this_one_is_worked_on():
    """The reader gets ahead although the caller takes nothing."""
    reached = threading.Event()

    def items():
        yield 1
        yield 2
        reached.set()
        yield 3

    with prefetch.ReadAhead(items, 2) as ahead:
        assert reached.wait(10)
        assert list(ahead) == [1, 2, 3]
        assert ahead.waiting >= 0


def test_waiting_is_measured():
    def slow():
        for batch in batches(35):
            time.sleep(0.05)
            yield batch

    history = network().fit(slow)
    assert history["waiting"][0] > 0.04
    assert history["waiting"][0] <= history["seconds"][0]


@pytest.fixture
def interruptible():
    """Python's way with Ctrl-C, which a shell takes from what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_an_epoch_keeps_the_one_before(capsys):
    def interrupted(epoch):
        for number, batch in enumerate(batches()):
            if (epoch, number) == (2, 3):
                signal.raise_signal(signal.SIGINT) if prefetching == 0 else (
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                )
                time.sleep(0.2)
            yield batch

    for prefetching in (0, 2):
        seen = []
        net = network()
        history = net.fit(
            data.Batches(interrupted, prefetch=prefetching),
            epochs=4,
            callbacks=[lambda run, seen=seen: seen.append(weights(run.network))],
        )
        assert len(history) == 1
        assert "interrupted in epoch 2" in history.stopped
        assert_equal(weights(net), seen[0])


def test_ctrl_c_ends_a_run_whose_reader_hangs(tmp_path, once):
    """In a process of its own: the reader never comes back, and must not keep the process."""
    script = tmp_path / "hang.py"
    script.write_text(
        "import signal, time, numpy as np, nnbackend as nnb\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # see `interruptible`
        "nnb.data.prefetch._JOIN_SECONDS = 0.5\n"
        "def hangs():\n"
        "    yield np.ones((4, 3)), np.ones((4, 1))\n"
        "    print('hanging', flush=True)\n"
        "    time.sleep(1000)\n"
        "history = nnb.Network([nnb.Dense(1)]).fit(hangs)\n"
        "print(history.stopped, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "hanging\n"
            child.send_signal(signal.SIGINT)
            assert "interrupted in epoch 1" in child.stdout.readline()
            assert child.wait(30) == 0
        finally:
            child.kill()


def test_rows_without_any_weight_are_refused():
    fails(network(), lambda: batches(weight=np.zeros(70)), "no row of epoch 1 has a weight")
    some = np.where(np.arange(70) < 16, 0.0, 1.0)  # a batch may be of weight zero
    history = network().fit(lambda: batches(weight=some))
    assert np.isfinite(history["loss"][0])


def test_a_stream_that_diverges_keeps_the_last_finite_weights():
    with pytest.raises(nnb.errors.DivergenceError, match="no longer a finite number in epoch"):
        network().fit(batches, epochs=60, optimizer=nnb.SGD(1e30))


# Going on


class LeaveAt(nnb.callbacks.Callback):
    def __init__(self, epoch, step):
        self.place = epoch, step

    def batch_end(self, run):
        if (run.epoch, run.step) == self.place:
            run.stop("left", at_once=True)


SOURCES = {
    "batches": lambda folder: batches,
    "shuffled batches": lambda folder: data.Batches(batches, shuffle_buffer=30),
    "memory map": lambda folder: data.MemoryMap(X, Y, shuffle_buffer=30),
    "files": lambda folder: data.Dataset(
        folder / "*.parquet", target=["y0", "y1"], shuffle_buffer=30
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("place", [(1, 2), (2, 3), (2, 5)])
def test_a_stream_goes_on_at_the_batch_where_it_was_left(kind, place, tmp_path):
    goes_on(kind, place, tmp_path, "numpy")


@pytest.mark.parametrize("kind", ["batches", "shuffled batches"])
def test_a_stream_goes_on_at_its_batch_on_every_backend(kind, tmp_path, backend):
    goes_on(kind, (2, 3), tmp_path, backend)


def goes_on(kind, place, tmp_path, backend):
    if kind == "files":
        pytest.importorskip("pyarrow")
        folder_of(tmp_path, "parquet")
    task = {"epochs": 3, "metrics": ["mae"], "verbose": 0}
    if kind != "batches":
        task |= {"batch_size": 15}
    saved = tmp_path / "saved"
    keep = nnb.callbacks.Checkpoint(saved, every_steps=1)
    whole, left, resumed = (network(backend) for _ in range(3))
    watched = nnb.callbacks.Lambda(batch_end=lambda run: None)
    expected = whole.fit(SOURCES[kind](tmp_path), callbacks=[watched], **task)
    left.fit(SOURCES[kind](tmp_path), callbacks=[keep, LeaveAt(*place)], **task)
    found = resumed.fit(SOURCES[kind](tmp_path), callbacks=[keep], resume=saved, **task)
    assert_equal(weights(resumed), weights(whole))
    for name in ("loss", "mae"):
        assert found[name] == expected[name]


# Staging on a GPU, with a make-believe CuPy


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


# Memory

MEMORY = """
import os, pathlib, re, sys
import numpy as np, pyarrow as pa
from pyarrow import parquet
import nnbackend as nnb

way, folder, rows = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
features, part = 64, 10_000


def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])


def made():
    for first in range(0, rows, part):
        x = np.random.default_rng(first).normal(size=(part, features)).astype("f4")
        yield x, x[:, :1]


if way == "callable":
    source = nnb.data.Batches(made, shuffle_buffer=4096)
elif way == "memory map":
    path = folder / f"{rows}.bin"
    x = np.memmap(path, dtype="f4", mode="w+", shape=(rows, features))
    for i, (block, _) in enumerate(made()):
        x[i * part : (i + 1) * part] = block
    x.flush()
    del x
    x = np.memmap(path, dtype="f4", mode="r", shape=(rows, features))
    source = nnb.data.MemoryMap(x, x[:, :1], shuffle_buffer=4096)
else:
    inside = folder / f"{rows}"
    inside.mkdir()
    x, _ = next(made())
    names = [*map(str, range(features)), "y"]
    table = pa.table(dict(zip(names, [*x.T, x[:, 0]], strict=True)))
    for i in range(rows // part):
        if i == 0:
            parquet.write_table(table, inside / "0.parquet", row_group_size=5000)
        else:
            os.link(inside / "0.parquet", inside / f"{i}.parquet")
    del x, table
    source = nnb.data.Dataset(inside, target="y", shuffle_buffer=4096)
net = nnb.Network([nnb.Dense(8), nnb.Dense(1)])
warm = source if way != "memory map" else nnb.data.MemoryMap(x[:20_000], x[:20_000, :1])
net.fit(nnb.data.Batches(lambda: ((c.x, c.y) for _, c in zip(range(4), warm.chunks(1, None)))))
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts afresh
# The pages of a mapped file are the kernel's, which takes them when it needs them.
counted = []


class Watch(nnb.callbacks.Callback):
    every_batch = False

    def batch_end(self, run):
        counted.append(resident("RssAnon"))


net.fit(source, batch_size=256, callbacks=[Watch()])
print(max(counted), resident("VmHWM"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("way", ["callable", "memory map", "files"])
def test_memory_stays_flat_while_the_rows_grow_tenfold(way, tmp_path, arrow, once):
    """The rows are 13 MB and 130 MB. In memory are a buffer of 1 MB and a few blocks of 4 MB."""
    peaks = []
    for count in (50_000, 500_000):
        done = subprocess.run([sys.executable, "-c", MEMORY, way, str(tmp_path), str(count)],
                              capture_output=True, text=True, check=False, timeout=50)  # fmt: skip
        assert done.returncode == 0, done.stderr
        private, peak = map(int, done.stdout.split())
        peaks.append(private if way == "memory map" else peak)
    grown = (peaks[1] - peaks[0]) / 1024
    assert grown < 30, f"{grown:.0f} MB more memory for 117 MB more of data"


def test_the_examples_of_the_guide_run(arrow, once):
    guide = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
    code = "\n".join(re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL))
    done = subprocess.run([sys.executable, "-W", "error", "-c", code],
                          capture_output=True, text=True, check=False, timeout=50)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "batch 11 of epoch 2: X has 512 numbers that are not finite" in done.stdout
