"""Datasets of files: trained as arrays are, shuffled, and what is said of files that are at fault."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from data.streams import (
    WEIGHTS,
    X,
    Y,
    folder_of,
    network,
    order_of,
    table_of,
    weights,
    write,
)
from tools import assert_close, assert_equal

from nnbackend import data
from nnbackend.errors import DataError, UnknownNameError

ENDINGS = ["parquet", "csv", "csv.gz", "tsv", "arrow", "ipc"]


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
    with pytest.raises(FileNotFoundError, match=r"no table in .*\*\.parquet"):
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
