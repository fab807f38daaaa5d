"""Each process reads its share of datasets, and compares itself with a training alone: ``FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from common import BACKENDS, COLUMNS, data, network, vector
from pyarrow import csv, parquet

import nnbackend as nnb
from nnbackend.parallel import MPI

parallel = MPI(reads="share", timeout=100.0)
rank, size = parallel.rank, parallel.size
folder = Path(sys.argv[1])
ROWS = 500


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=tolerance * np.abs(wanted).max())


def check_alike(net: nnb.Network) -> None:
    own = vector(net).tobytes().hex()
    assert set(parallel.processes.gather(own)) == {own}


def table(rows: int = ROWS) -> pa.Table:
    x, y = data(rows)
    weight = np.random.default_rng(5).integers(1, 4, rows).astype(float)
    columns = {f"x{i}": x[:, i] for i in range(COLUMNS)}
    return pa.table(columns | {"y": y, "w": weight})


def dataset(
    name: str,
    cuts: Sequence[int],
    ending: str = "parquet",
    groups: int = 10**6,
    whole: pa.Table | None = None,
    **settings: Any,
) -> nnb.data.Dataset:
    """Return a dataset of files that end at the cuts; process 0 writes them."""
    home, whole = folder / name, table() if whole is None else whole
    if rank == 0:
        home.mkdir()
        for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
            path, part = home / f"{number}.{ending}", whole.slice(first, last - first)
            if ending == "csv":
                csv.write_csv(part, path)
            else:
                parquet.write_table(part, path, row_group_size=groups)
    parallel.processes.gather(0)
    own = {"target": "y", "features": [f"x{i}" for i in range(COLUMNS)]}
    return nnb.data.Dataset(home, **(own | settings))


def fit(net: nnb.Network, source: Any, how: Any = None, **settings: Any) -> nnb.History:
    own = {"loss": "softmax_cross_entropy", "batch_size": 32, "verbose": 0, "epochs": 2}
    metrics = {"metrics": ["accuracy"]}
    return net.fit(source, parallel=how, **(own | metrics | settings))


def check_each_row_counts_once(source: Any, *layers: Any, **settings: Any) -> None:
    """All rows in one step give the network of one process; small steps that hardly move its losses."""
    layer = layers or (nnb.Dense(4, "tanh"),)
    for batch_size, rate, epochs in (10**4, 0.1, 3), (32, 1e-300, 1), (7, 1e-300, 1):
        alone, together = network(*layer), network(*layer)
        more = {"batch_size": batch_size, "optimizer": nnb.SGD(rate), "epochs": epochs} | settings
        wanted, found = fit(alone, source, **more), fit(together, source, parallel, **more)
        close(vector(together), vector(alone))
        check_alike(together)
        for name in found.keys() - {"seconds", "waiting"}:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-11, err_msg=name)


def files_and_row_groups() -> None:
    check_each_row_counts_once(dataset("groups", [90, 91, 300], groups=70))
    check_each_row_counts_once(dataset("one", []))
    check_each_row_counts_once(dataset("texts", [90, 91, 300, 400], "csv"))
    check_each_row_counts_once(
        dataset("empty", [0, 100, 100, 400], "csv")
    )  # one may have none but that
    weighted = dataset("weights", [90, 91, 300], groups=70, weight="w")
    check_each_row_counts_once(weighted, validation_data=data(40))
    check_each_row_counts_once(weighted.map(lambda x, y, w: (2.0 * x, y, w)))


def steps_are_as_many_and_as_large_as_in_one_process() -> None:
    seen: list[Any] = []

    class Counting(nnb.callbacks.Callback):
        only_watches = True

        def epoch_end(self, run: Any) -> None:
            seen.append((run.steps, run.steps_per_epoch))

    for batch_size in (32, 33, 7):
        seen.clear()
        fit(network(), dataset(f"steps{batch_size}", [250], groups=30), parallel,
            batch_size=batch_size, epochs=1, callbacks=[Counting()])  # fmt: skip
        steps = -(-ROWS // batch_size)
        assert seen == ([(steps, steps)] if rank == 0 else [])


def normalization() -> None:
    """Two rows of each process are enough."""
    net = network(nnb.Dense(4), nnb.BatchNorm())
    fit(net, dataset("normal", [], groups=30), parallel, batch_size=2 * size)
    check_alike(net)
    for rows in range(17, 17 + 2 * size):  # the last batch has a row or none in some
        net = network(nnb.Dense(4), nnb.BatchNorm())
        fit(net, dataset(f"last{rows}", [], whole=table(rows)), parallel, batch_size=4 * size)
        check_alike(net)
        assert np.isfinite(vector(net)).all()
        assert (np.asarray(net.state["1"]["running_var"]) > 0.0).all()
    with pytest.raises(ValueError, match="batch of one row"):
        fit(network(nnb.Dense(4), nnb.BatchNorm()), dataset("rows", [], groups=30), parallel,
            batch_size=size)  # fmt: skip


def rows_without_weight() -> None:
    """Those of some processes may all have weight 0, but not those of all."""
    whole, zero = table(), np.where(np.arange(ROWS) < 400, 0.0, 1.0)
    of = {
        "whole": whole.set_column(whole.column_names.index("w"), "w", pa.array(zero)),
        "weight": "w",
    }
    check_each_row_counts_once(dataset("zeros", [], groups=50, **of), shuffle=False)
    of["whole"] = of["whole"].set_column(whole.column_names.index("w"), "w", pa.array(0.0 * zero))
    with pytest.raises(nnb.errors.DataError, match="weight above zero"):
        fit(network(), dataset("none", [], groups=50, **of), parallel)


def early_stopping_and_checkpoints() -> None:
    source = dataset("run", [200], groups=40)
    net, stopping = network(), nnb.callbacks.EarlyStopping(patience=2)
    history = fit(net, source, parallel, epochs=60, optimizer=nnb.Adam(0.1),
                  validation_data=data(50), callbacks=[stopping])  # fmt: skip
    assert len(history) < 60
    found = [stopping.best_epoch, len(history), history.stopped]
    assert parallel.processes.gather(found) == [found] * size
    check_alike(net)
    whole, parts = network(), network()
    fit(whole, source, parallel, epochs=4)
    for epochs, resume in ((2, None), (4, folder / "kept")):
        fit(parts, source, parallel, epochs=epochs, resume=resume,
            callbacks=[nnb.callbacks.Checkpoint(folder / "kept")])  # fmt: skip
    assert np.array_equal(vector(whole), vector(parts))
    reading, how = f"were read in {size} shares .*, and are read as a whole", MPI(timeout=100.0)
    with pytest.warns(UserWarning, match=reading) if rank == 0 else nullcontext():
        fit(network(), source, how, epochs=5, resume=folder / "kept")
    within = folder / "within"
    fit(network(), source, parallel, epochs=1, metrics=[],
        callbacks=[nnb.callbacks.Checkpoint(within, every_steps=3)])  # fmt: skip
    file = nnb.checkpoints.files(within)[0]
    with pytest.raises(nnb.errors.ResumeError, match="middle of an epoch"):
        fit(network(), source, how, resume=file, metrics=[])
    whole, parts = network(), network()
    fit(whole, source, parallel, metrics=[])
    fit(parts, source, parallel, metrics=[], resume=file)
    assert np.array_equal(vector(whole), vector(parts))


def refused() -> None:
    source = dataset("refused", [90], "csv")
    if size > 2:
        with pytest.raises(ValueError, match=f"2 pieces, which cannot be divided among {size}"):
            fit(network(), source, parallel)
    few = dataset("few", [], whole=table(1))
    with pytest.raises(ValueError, match=f"1 rows cannot be divided among {size} processes"):
        fit(network(), few, parallel)
    source = dataset("more", [90])
    for settings, message in (
        ({"batch_size": 1}, "each needs a row of a batch"),
        ({"accumulate": 2}, "reads='share' does not go with accumulate="),
        ({"class_weight": "balanced"}, "class_weight needs all classes at hand"),
        ({"batch_size": None}, "with a batch_size"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(network(), source, parallel, **settings)


def other_backends() -> None:
    source = dataset("backends", [200], groups=40)
    nets = [network(nnb.Dense(6, "tanh"), backend=b) for b in BACKENDS]
    for net in nets:
        fit(net, source, parallel)
        check_alike(net)
        close(vector(net), vector(nets[0]))


checks = [files_and_row_groups, steps_are_as_many_and_as_large_as_in_one_process, normalization,
          rows_without_weight, early_stopping_and_checkpoints, refused, other_backends]  # fmt: skip
for check in checks:
    check()
    if rank == 0:
        print(check.__name__, flush=True)
