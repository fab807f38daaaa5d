"""Tables written to files: what the name says is what the file holds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nnbackend.tables.reading import read_frame
from nnbackend.tables.writing import writer_for

pl = pytest.importorskip("polars")


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".csv.gz", ".tsv", ".tsv.gz", ".parquet",
                                    ".jsonl", ".ndjson"])  # fmt: skip
def test_what_is_written_is_read_again(ending, tmp_path):
    frame = pl.DataFrame({"a": ["x", None, 'y,"z'], "b": [1 / 3, 1.6e9 + 0.1, 1e-300]})
    path = tmp_path / f"t{ending}"
    path.write_bytes(writer_for(path)(frame))
    assert read_frame(path).cast({"b": pl.Float64}).equals(frame)


def test_each_format_is_what_its_name_says():
    frame = pl.DataFrame({"a": [1.5]})
    assert writer_for(Path("a"))(frame) == b"a\n1.5\n"
    assert gzip.decompress(writer_for(Path("a.csv.gz"))(frame)) == b"a\n1.5\n"
    assert writer_for(Path("a.parquet"))(frame).startswith(b"PAR1")
    for name in ("a.feather", "a.arrow"):
        assert writer_for(Path(name))(frame).startswith(b"ARROW1")


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a.txt", "a.csv.bz2", "a.npz"])
def test_other_endings_are_refused(name):
    with pytest.raises(ValueError, match=f"cannot write '{name}' in the format.*known: .csv, "):
        writer_for(Path(name))


def test_a_column_that_a_format_cannot_hold():
    frame = pl.DataFrame({"a": [[1], [2]]})
    with pytest.raises(ValueError, match=r"cannot be written as \.csv: .*nested"):
        writer_for(Path("a.csv"))(frame)
    assert writer_for(Path("a.jsonl"))(frame) == b'{"a":[1]}\n{"a":[2]}\n'
