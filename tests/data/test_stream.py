"""What streams trains as the same arrays do, in an order that the seed fixes, and can be resumed."""

from __future__ import annotations

import itertools
import pathlib
import re
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from data.streams import (
    LABELS,
    WEIGHTS,
    Broken,
    X,
    Y,
    batches,
    evaluates_alike,
    fails,
    folder_of,
    mapped,
    network,
    order_of,
    weights,
)
from hypothesis import given
from tools import assert_close, assert_equal

import nnbackend as nnb
from nnbackend import data
from nnbackend.core.random import Generator
from nnbackend.data import stream
from nnbackend.data.samples import Samples

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


def test_validation_data_may_be_of_every_kind(tmp_path):
    x, y = mapped(tmp_path, x=X, y=Y)
    ways = [batches, list(batches()), data.MemoryMap(X, Y), (x, y), data.Batches(batches), (X, Y)]
    evaluates_alike(ways, nnb.get_backend("numpy", dtype="float64"))


def test_the_shape_is_taken_from_the_first_batch_which_is_not_lost(backend64):
    net = network(backend64, input_shape=None)
    twin = network(backend64)
    net.fit(batches())
    twin.fit(X, Y, batch_size=16, shuffle=False)
    assert net.input_shape == (3,)
    assert_close(weights(net), weights(twin), 1e-12)


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


def test_rows_without_any_weight_are_refused():
    fails(network(), lambda: batches(weight=np.zeros(70)), "no row of epoch 1 has a weight")
    some = np.where(np.arange(70) < 16, 0.0, 1.0)  # a batch may be of weight zero
    history = network().fit(lambda: batches(weight=some))
    assert np.isfinite(history["loss"][0])


def test_a_stream_that_diverges_keeps_the_last_finite_weights():
    with pytest.raises(nnb.errors.DivergenceError, match="no longer a finite number in epoch"):
        network().fit(batches, epochs=60, optimizer=nnb.SGD(1e30))


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
