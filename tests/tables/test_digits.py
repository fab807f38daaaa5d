"""Whole numbers with more digits than float64 has, in every form of a table."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nnbackend.tables.inputs import read_columns
from nnbackend.tables.kinds import choose_kinds
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

CODES = [2**70 + i % 3 for i in range(30)]
ACCOUNTS = [10**17 + i for i in range(30)]


def forms(values, path):
    """Yield a column of whole numbers as each kind of table has it, read, with what was said."""
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    texts = [str(value) for value in values]
    frame = polars.DataFrame({"a": texts})
    grouped = [f"{value:,}" for value in values]
    frames = [
        {"a": values},
        {"a": texts},
        {"a": np.array(values, dtype=object)},
        pandas.DataFrame({"a": values}),
        pandas.DataFrame({"a": grouped}),
        frame,
        frame.select(polars.col("a").cast(polars.Int128)),
    ]
    if max(values) < 2**63:
        whole = frame.cast(polars.Int64)
        frames += [{"a": np.array(values)}, whole, whole.to_arrow()]
    frame.write_csv(path)
    frame.write_parquet(path.with_suffix(".parquet"))
    reads = [lambda frame=frame: read_columns(frame).table for frame in frames]
    reads += [lambda p=p: read_table(p) for p in (path, path.with_suffix(".parquet"))]
    for read in reads:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TableWarning)
            yield read()["a"], " ".join(str(each.message) for each in caught)


@pytest.mark.parametrize("values", [CODES, ACCOUNTS], ids=["repeat", "all differ"])
def test_numbers_that_differ_only_in_digits_that_float64_lacks_are_codes_aloud(values, tmp_path):
    for column, said in forms(values, tmp_path / "t.csv"):
        assert [text.replace(",", "") for text in column] == [str(value) for value in values]
        assert "differ only in digits that float64 does not have" in said
        kind = "category" if values is CODES else "identifier"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            assert choose_kinds({"a": column}) == {"a": kind}


def test_numbers_of_which_some_become_equal_stay_numbers_aloud(tmp_path):
    values = [2**60 + 1, 2**60, 2**61, 3, *range(10**17, 10**18, 10**16)]
    for column, said in forms(values, tmp_path / "t.csv"):
        assert column.tolist() == [float(value) for value in values]
        assert "column 'a': 94 different whole numbers are 93 in float64" in said


def test_numbers_that_are_exact_or_equal_are_just_numbers(tmp_path):
    for values in ([2**70, 2**71, 2**72], [10**20] * 3, [2**53, 5, 2**52 + 1]):
        for column, said in forms(values, tmp_path / "t.csv"):
            assert column.tolist() == [float(value) for value in values]
            assert "float64" not in said


def test_columns_that_are_said_to_be_numbers_are_said_to_be_rounded():
    column = read_columns({"a": ACCOUNTS}, {"a": "number"}).table["a"]
    with pytest.warns(TableWarning, match="columns with values that differ by rounding only"):
        assert choose_kinds({"a": column}) == {"a": "constant"}
