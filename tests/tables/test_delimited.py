"""Delimited files: their dialect is found or given, and each line has as many fields as the first."""

from __future__ import annotations

import gzip
import warnings

import numpy as np
import pytest

from nnbackend.tables import limits
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

pl = pytest.importorskip("polars")

PLAIN = "name,size,part\nÄpfel,1.5,2\nBirnen,2,3\n"


def read(tmp_path, content, name="t.csv", **given):
    """Return a table and the notes about it."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        table = read_table(path, dialect=Dialect(**given))
    return table, [str(note.message) for note in notes]


def is_plain(table):
    assert list(table) == ["name", "size", "part"]
    assert table["name"].tolist() == ["Äpfel", "Birnen"]
    np.testing.assert_array_equal(table["size"], [1.5, 2])
    np.testing.assert_array_equal(table["part"], [2, 3])


FOUND = {
    "semicolons": (PLAIN.replace(",", ";"), "t.csv", ["parted by semicolons"]),
    "tabs": (PLAIN.replace(",", "\t"), "t.csv", ["parted by tabs"]),
    "bars": (PLAIN.replace(",", "|"), "t.csv", ["parted by bars"]),
    "commas": (PLAIN, "t.tsv", ["parted by commas"]),
    "decimal commas": (
        PLAIN.replace(",", ";").replace("1.5", "1,5"),
        "t.csv",
        ["parted by semicolons", "decimal commas in size"],
    ),
    "latin-1": (PLAIN.encode("latin-1"), "t.csv", ["is not in UTF-8"]),
    "utf-16": (PLAIN.encode("utf-16"), "t.csv", []),
    "utf-16 without a mark": (PLAIN.encode("utf-16-le"), "t.csv", []),
    "utf-16 the other way": (PLAIN.encode("utf-16-be"), "t.csv", []),
    "a byte order mark": (PLAIN.encode("utf-8-sig"), "t.csv", []),
    "all of it": (
        gzip.compress(PLAIN.replace(",", ";").replace("1.5", "1,5").encode("latin-1")),
        "t.csv.gz",
        ["is not in UTF-8", "parted by semicolons", "decimal commas in size"],
    ),
}


@pytest.mark.parametrize("how", FOUND)
def test_a_dialect_is_found_aloud(tmp_path, how):
    content, name, expected = FOUND[how]
    table, notes = read(tmp_path, content, name)
    is_plain(table)
    assert len(notes) == len(expected)
    assert all(words in note for words, note in zip(expected, notes, strict=True))


def test_a_dialect_may_be_given(tmp_path):
    content = PLAIN.replace(",", "~").replace("1.5", "1,5").encode("cp1250")
    table, notes = read(
        tmp_path,
        b"% made by hand\n" + content,
        delimiter="~",
        decimal=",",
        encoding="cp1250",
        comment="%",
    )
    is_plain(table)
    assert not notes


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("text\nred; blue\ngreen\n", ["text"]),  # one column
        ("a;b\n", []),  # a header alone
        ("a,b\n1,x;y\n2,z;\n", ["a", "b"]),
        ("a\n1\n\n3\n", ["a"]),
    ],
)
def test_what_is_no_other_dialect(tmp_path, content, columns):
    if not columns:
        with pytest.raises(ValueError, match="holds no rows"):
            read(tmp_path, content)
        return
    table, notes = read(tmp_path, content)
    assert list(table) == columns
    assert not notes


RAGGED = {
    "short": ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 field.*first line has 3"),
    "short without a value": ("a,b\n1,2\n3\n", "line 3 has 1 field.*first line has 2"),
    "long": ("a,b\n1,2\n3,4\n5,6,7\n", "line 4 has 3 field.*first line has 2"),
    "after a long field": ('a,b\n"1\n2",2\n3\n', "line 4 has 1 field"),
    "after a comment": ("a,b\n# no\n1,2\n3\n", "line 4 has 1 field"),
    "short first": ("a,b,c\n1,2\n1,2,3\n", "line 2 has 2 field"),
}


@pytest.mark.parametrize("how", RAGGED)
def test_a_line_of_other_fields_is_named(tmp_path, how):
    content, message = RAGGED[how]
    with pytest.raises(ValueError, match=f"not a readable .csv file: {message}"):
        read(tmp_path, content, comment="#")


def test_missing_values_at_the_end_of_lines_are_no_short_lines(tmp_path):
    table, _ = read(tmp_path, "a,b\n1,\n,2\n,\n3,4\n\n")
    np.testing.assert_array_equal(table["a"], [1, np.nan, np.nan, 3])
    np.testing.assert_array_equal(table["b"], [np.nan, 2, np.nan, 4])
    table, _ = read(tmp_path, "a\tb\n1\t\n\t\n", "t.tsv")
    np.testing.assert_array_equal(table["a"], [1, np.nan])


def test_columns_are_left_out_by_name(tmp_path):
    (tmp_path / "t.csv").write_text(PLAIN)
    assert list(read_table(tmp_path / "t.csv", exclude=["size"])) == ["name", "part"]
    with pytest.raises(ValueError, match="unknown column 'sizes'; did you mean 'size'"):
        read_table(tmp_path / "t.csv", exclude=["sizes"])


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nnbackend.tables.delimited.memory_limit", lambda: 1000)
    bomb = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)
    with pytest.raises(ValueError, match="in memory, and the limit is half of what is free, 1 kB"):
        read(tmp_path, bomb, "t.csv.gz")
    monkeypatch.setattr(limits, "memory_limit", lambda: 1000)
    frame = pl.DataFrame({"a": [7.0] * 1000})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ipc(tmp_path / "t.feather", compression="zstd")
    frame.write_ndjson(tmp_path / "t.jsonl")
    np.savez_compressed(tmp_path / "t.npz", a=np.zeros(1000))
    for ending in ("parquet", "feather", "jsonl", "npz"):
        with pytest.raises(
            ValueError, match=f"t.{ending} is not a readable .{ending} file: it takes"
        ):
            read_table(tmp_path / f"t.{ending}")


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_text_that_is_stored_once_counts_as_often_as_it_is_there(tmp_path, monkeypatch, dtype):
    frame = pl.DataFrame({"a": pl.Series(["x" * 1000] * 500, dtype=dtype), "b": range(500)})
    frame.write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    monkeypatch.setattr(limits, "memory_limit", lambda: 100_000)
    with pytest.raises(ValueError, match=r"it takes 1\.5 MB or more in memory"):
        read_table(tmp_path / "t.parquet")


def test_the_limit_is_a_share_of_the_memory_that_is_free():
    assert 1 << 20 < limits.memory_limit() < 1 << 44
    limits.check_memory(100)


def test_the_limit_of_the_process_counts(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 62, 1 << 62))
    free = limits.memory_limit()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1, 1))
    assert limits.memory_limit() == 0 < free


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_short_line_is_named_whatever_the_delimiter(tmp_path, delimiter):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n1,2,3\n1,2\n4,5,6\n".replace(",", delimiter))
    with (
        pytest.warns(TableWarning, match="fields are parted by"),
        pytest.raises(ValueError, match=r"line 3 has 2 fields, and the first line has 3"),
    ):
        read_table(path)


def test_a_title_before_the_table_is_said_to_be_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# made today\na,b\n1,2\n")
    with pytest.raises(ValueError, match=r"line 2 has 2 .*parted by ',', --delimiter .*--comment"):
        read_table(path)
    assert list(read_table(path, dialect=Dialect(comment="#"))) == ["a", "b"]


def test_lines_may_end_as_on_old_macs(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'a;b\r1;x\r2;"y z"\r')
    with pytest.warns(TableWarning, match="semicolons"):
        table = read_table(path)
    assert (table["a"].tolist(), table["b"].tolist()) == ([1, 2], ["x", "y z"])
