"""What the tests of data that stream have in common: rows, a network, batches, files."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from cases import rows
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend import data
from nnbackend.data.targets import RowCheck
from nnbackend.errors import DataError

X, Y = rows((70, 3)), rows((70, 2), 1)


LABELS = np.arange(70) % 2


WEIGHTS = np.linspace(0.5, 2.0, 70)


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


def order_of(source, epoch=1, seed=0, size=16, backend="numpy"):
    """Return the first feature of the rows in the order in which they are trained on."""
    made = data.BatchStream(
        source,
        nnb.get_backend(backend),
        RowCheck(data.InputSpec((3,)), (2,), nnb.losses.get("mse")),
        size,
        seed,
    )
    with made.epoch(epoch) as parts:
        host = made._backend.to_numpy
        return np.concatenate([np.array(host(part.x))[:, 0] for part, _ in parts])


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


def fails(net, source, words, error=DataError, **given):
    """Assert that a fit fails in its second epoch, and keeps the weights of the first."""
    seen = []
    given = {"epochs": 3, "callbacks": [lambda run: seen.append(weights(run.network))]} | given
    with pytest.raises(error, match=words) as found:
        net.fit(source, **given)
    if seen:
        assert_equal(weights(net), seen[-1])
    return found.value, len(seen)


class Broken(Exception):
    pass
