"""Tables from files: every format gives the same, and what cannot be read is named."""

from __future__ import annotations

import gzip
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tables.columns import numbers

from nnbackend.data.files import find_files
from nnbackend.errors import UnknownNameError
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

pl = pytest.importorskip("polars")
DATA = Path(__file__).parents[2] / "examples" / "data"
FRAME = {"size": [1.5, None, 3.0], "count": [1, 2, 3], "color": ["red", None, "blue"]}


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_frame(folder: Path, ending: str) -> Path:
    """Write the same table in the format of ``ending``."""
    path = folder / f"table{ending}"
    frame = pl.DataFrame(FRAME)
    if ending.endswith(".gz"):
        separator = "," if "csv" in ending else "\t"
        return write(path, gzip.compress(frame.write_csv(separator=separator).encode()))
    if ending == ".npz":
        color = np.array(["red", "", "blue"])
        np.savez(path, size=numbers(1.5, np.nan, 3), count=np.arange(1, 4), color=color)
        return path
    if ending in (".csv", ".tsv"):
        frame.write_csv(path, separator="," if ending == ".csv" else "\t")
    elif ending == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    return path


@pytest.mark.parametrize(
    "ending",
    [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".jsonl", ".ndjson", ".npz", ".CSV"],
)
def test_every_format_gives_the_same_table(tmp_path, ending):
    path = write_frame(tmp_path, ending.lower()).rename(tmp_path / f"renamed{ending}")
    table = read_table(path)
    np.testing.assert_array_equal(table["size"], [1.5, np.nan, 3])
    np.testing.assert_array_equal(table["count"], [1, 2, 3])
    assert table["count"].dtype == np.float64
    assert table["color"].tolist() == ["red", None, "blue"]


def test_penguins_have_their_missing_values():
    table = read_table(DATA / "penguins.csv")
    assert len(table["species"]) == 344
    assert np.isnan(table["bill_length_mm"]).sum() == 2
    assert (table["sex"] == None).sum() == 11  # noqa: E711


@pytest.mark.parametrize(
    "word", ["", "NA", "N/A", "NaN", "nan", "null", " NA ", "NULL", "n/a", "#N/A", "<NA>", "NaT"]
)
def test_words_for_missing_values(tmp_path, word):
    table = read_table(write(tmp_path / "t.csv", f"a,b,c\n1,x,1\n{word},{word},2\n"))
    assert np.isnan(table["a"][1])
    assert table["b"][1] is None


def test_a_column_of_texts_may_start_with_missing_values(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "a,b\n1,\n2,\n3,x\n4,y\n"))
    assert table["b"].tolist() == [None, None, "x", "y"]


def test_spaces_and_a_byte_order_mark_are_no_part_of_names_and_values(tmp_path):
    path = write(tmp_path / "t.csv", "\ufeff a , b\r\n 1, red \r\n2,blue\r\n")
    table = read_table(path)
    assert table["a"].tolist() == [1, 2]
    assert table["b"].tolist() == ["red", "blue"]


def test_arrays_of_several_columns_get_numbered_names(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.arange(8).reshape(2, 2, 2), y=np.array(["a", "b"]), z=np.eye(2)[0] > 0)
    table = read_table(path)
    assert list(table) == ["x_0", "x_1", "x_2", "x_3", "y", "z"]
    assert table["x_3"].tolist() == [3, 7]
    assert table["z"].tolist() == [1, 0]


def test_half_precision_arrays(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.array([0.5, 1], dtype=np.float16))
    assert read_table(tmp_path / "t.npz")["x"].tolist() == [0.5, 1]


def test_a_wanted_kind_wins_over_what_the_values_look_like(tmp_path):
    path = write(tmp_path / "t.csv", "code,size\n007,1\n008,2\n")
    assert read_table(path, kinds={"code": "text"})["code"].tolist() == ["007", "008"]
    assert read_table(path, kinds={"code": "number"})["code"].tolist() == [7, 8]


def test_whole_numbers_as_texts_are_the_same_in_every_format(tmp_path):
    np.savez(tmp_path / "t.npz", label=numbers(0, 1), part=numbers(0.5, 1))
    table = read_table(tmp_path / "t.npz", kinds={"label": "text", "part": "text"})
    assert table["label"].tolist() == ["0", "1"]
    assert table["part"].tolist() == ["0.5", "1"]


def test_columns_are_read_in_the_order_asked_for():
    assert list(read_table(DATA / "penguins.csv", columns=["year", "sex"])) == ["year", "sex"]


def test_a_missing_column_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'bill_length'.*'bill_length_mm'"):
        read_table(DATA / "penguins.csv", columns=["bill_length"])


def test_columns_without_a_name_are_left_out_aloud(tmp_path):
    path = write(tmp_path / "t.csv", ",a\n0,5\n1,6\n")
    with pytest.warns(TableWarning, match=r"1 column without a name left out"):
        assert list(read_table(path)) == ["a"]


@pytest.mark.parametrize(
    ("text", "a"),
    [
        ("a,b\n1,1\n,\n3,1\n", [1, None, 3]),
        ("a,b\n,\n,\n3,1\n,\n", [None, None, 3, None]),
        ("a,b\n1,2\n\n3,4\n\n\n", [1, None, 3]),  # blank lines after the table are no rows
        ("a,b\r\n1,2\r\n,\r\n\r\n", [1, None]),
        ("a\n1\n\n3\n\n", [1, None, 3, None]),  # but of a single column they are
    ],
)
def test_an_empty_row_is_a_row(text, a, tmp_path):
    for name in ("t.csv", "t.csv.gz"):
        path = write(tmp_path / name, gzip.compress(text.encode()) if "gz" in name else text)
        frame = pl.DataFrame({"a": a, "b": [1] * len(a)})
        frame.write_parquet(tmp_path / "t.parquet")
        read = read_table(path, kinds={"a": "number"})["a"]
        np.testing.assert_array_equal(read, np.array(a, float))
        same = read_table(tmp_path / "t.parquet", kinds={"a": "number"})["a"]
        np.testing.assert_array_equal(read, same)


BAD_FILES = {
    "empty.csv": (b"", "is empty"),
    "header.csv": (b"a,b\n", "holds no rows"),
    "image.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\xff\xfe", "not a readable .csv file"),
    "ragged.csv": (b"a,b\n1,2,3\n", "not a readable .csv file"),
    "quote.csv": (b'a,b\n1,"2\n', "not a readable .csv file"),
    "twice.csv": (b"a,b,a\n1,2,3\n", "more than one column is named 'a'"),
    "truncated.csv.gz": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "not a readable .csv.gz file"),
    "text.parquet": (b"a,b\n1,2\n", "not a readable .parquet file"),
    "empty.parquet": (b"", "is empty"),
    "text.npz": (b"a,b\n1,2\n", "not a readable .npz file"),
    "pickle.npz": (b"\x80\x04\x95\x0b\0\0\0", "not a readable .npz file"),
    "list.jsonl": (b"[1, 2]\n", "not a readable .jsonl file"),
    "cut.jsonl": (b'{"a": 1}\n{"a":', "not a readable .jsonl file"),
    "book.xlsx": (b"PK\x03\x04", "cannot tell what .* by its ending; known: .csv,"),
    "noending": (b"a,b\n1,2\n", "cannot tell what .* by its ending"),
    "infinite.csv": (b"a,b\n1,2\n2,inf\n", "column 'b' is infinite in row 2"),
    "typo.csv": (b"a,b\n1,2\n2,3\nabc,4\n", "'a' holds numbers, but row 3 .line 4. holds 'abc'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, name):
    content, message = BAD_FILES[name]
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3), "y": np.zeros(2)}, r"arrays differ in length: .*'x': 3.*'y': 2"),
        ({"x": np.array([{}, []], dtype=object)}, "allow_pickle"),
        ({"x": np.zeros(3, dtype=complex)}, r"array 'x' \(complex128\) is no column"),
        ({"x": np.float64(3)}, "array 'x'"),
        ({}, "holds no rows"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "t.npz")


def test_one_array_without_a_name_is_refused(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros(3))
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    with pytest.raises(
        ValueError, match=r"t\.npz is not a readable \.npz file: .*no arrays with names"
    ):
        read_table(tmp_path / "t.npz")


def test_a_folder_or_a_pattern_is_all_tables_in_it(tmp_path):
    for i, ending in enumerate(("csv", "parquet", "csv")):
        frame = pl.DataFrame({"a": [float(i), i + 0.5], "word": ["x", f"y{i}"]})
        path = tmp_path / f"{i}.{ending}"
        frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    (tmp_path / "notes.txt").write_text("not a table")
    table = read_table(tmp_path / "*.csv")
    np.testing.assert_array_equal(table["a"], [0, 0.5, 2, 2.5])
    assert table["word"].tolist() == ["x", "y0", "x", "y2"]
    (tmp_path / "1.parquet").unlink()
    np.testing.assert_array_equal(read_table(tmp_path)["a"], table["a"])
    pl.DataFrame({"word": ["z"], "a": [7]}).write_csv(tmp_path / "3.csv")  # another order
    assert read_table(tmp_path)["word"][-1] == "z"
    pl.DataFrame({"word": ["z"], "b": [7]}).write_csv(tmp_path / "4.csv")
    with pytest.raises(ValueError, match=r"4\.csv and .*0\.csv do not have the same columns: a, b"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no table in .*\*\.tsv"):
        read_table(tmp_path / "*.tsv")


def test_whole_and_other_numbers_in_several_files_are_numbers(tmp_path):
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "0.parquet")
    pl.DataFrame({"a": [0.5]}).write_parquet(tmp_path / "1.parquet")
    np.testing.assert_array_equal(read_table(tmp_path)["a"], [1, 2, 0.5])
    pl.DataFrame({"a": [[1.0]]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(ValueError, match=r"0\.parquet and the others do not hold the same"):
        read_table(tmp_path)


def test_a_folder_without_tables_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no table in"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        read_table(tmp_path / "nothing.csv")


def test_dates_are_texts(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "when": ["2020-01-01", "2020-01-02"]})
    frame.with_columns(pl.col("when").str.to_date()).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["when"].tolist() == ["2020-01-01", "2020-01-02"]
    assert list(read_table(tmp_path / "t.parquet", columns=["a"])) == ["a"]


def test_text_in_a_column_of_numbers_at_prediction(tmp_path):
    path = write(tmp_path / "t.csv", "a\nx\ny\n1\n")
    with pytest.raises(
        ValueError, match=r"column 'a' holds numbers, but row 1 \(line 2\) holds 'x'"
    ):
        read_table(path, kinds={"a": "number"})


def test_without_polars_the_way_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nnbackend\[cli\]'"):
        read_table(DATA / "penguins.csv")


def write_arrow(path, table):
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write(table)


def test_metadata_that_are_no_text_do_not_matter(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({b"\xff\x92": b"\xff"})
    write_arrow(tmp_path / "t.feather", table)
    assert read_table(tmp_path / "t.feather")["a"].tolist() == [1, 2]


def test_offsets_beyond_their_texts_do_not_end_the_process(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "t.arrow"
    write_arrow(path, pa.table({"t": ["a", "b"]}))
    offsets, damaged = (np.array([0, 1, n], dtype=np.int32).tobytes() for n in (2, 1 << 30))
    head, found, tail = path.read_bytes().rpartition(offsets)
    assert found
    path.write_bytes(head + damaged + tail)
    with pytest.raises(ValueError, match=r"t\.arrow is not a readable \.arrow file: "):
        read_table(path)


@pytest.fixture
def ten_megabytes(monkeypatch):
    monkeypatch.setattr("nnbackend.tables.limits.memory_limit", lambda: 10_000_000)


def refused(path):
    with pytest.raises(ValueError, match=r"it takes .* in memory, and the limit is"):
        read_table(path)


def test_texts_of_no_characters_take_memory_too(tmp_path, ten_megabytes):
    header = (
        b"{'descr': '<U0', 'fortran_order': False, 'shape': (100000000000,), }".ljust(117) + b"\n"
    )
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    refused(tmp_path / "t.npz")


@pytest.mark.parametrize("kind", ["a text that is stored once", "nothing at all"])
def test_arrow_files_are_refused_before_they_are_unpacked(kind, tmp_path, ten_megabytes):
    pyarrow = pytest.importorskip("pyarrow")
    if kind == "nothing at all":
        column = pyarrow.nulls(2_000_000)
    else:
        index = pyarrow.array(np.zeros(50_000, np.int32))
        column = pyarrow.DictionaryArray.from_arrays(index, pyarrow.array(["x" * 100_000]))
    batch = pyarrow.record_batch([column], names=["a"])
    path = tmp_path / "t.arrow"
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_file(str(path), batch.schema, options=options) as writer:
        writer.write_batch(batch)
    assert path.stat().st_size < 20_000
    refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="not a regular file"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="not a regular file"):
        find_files(tmp_path / "t.csv", [".csv"])
    with pytest.raises(FileNotFoundError, match="no table"):
        find_files(tmp_path, [".csv"])
