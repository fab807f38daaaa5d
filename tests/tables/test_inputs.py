"""Tables in memory: every kind of frame gives the same columns, with and without polars."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from nnbackend.errors import UnknownNameError
from nnbackend.tables.features import FeatureEncoder
from nnbackend.tables.inputs import read_columns
from nnbackend.tables.kinds import choose_kinds
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

COLUMNS = {
    "whole": [1, 2, 3, 4],
    "gaps": [1.5, None, float("nan"), 4.0],
    "flag": [True, False, True, True],
    "flag gaps": [True, None, False, True],
    "text": ["red", "blue", None, " red "],
    "day": [dt.date(2020, 1, 2), None, dt.date(2021, 3, 4), dt.date(2022, 5, 6)],
    "when": [dt.datetime(2020, 1, 2, 3, 4, 5), None, dt.datetime(2021, 1, 1), None],
    "took": [dt.timedelta(seconds=90), None, dt.timedelta(days=1), dt.timedelta(0)],
    "price": ["$1,234.50", "$7", None, "NA"],
    "share": ["12 %", "5%", "0%", None],
    "plain": ["1.5", "2", "NaN", "-3e2"],
    "zip": ["01234", "10115", "99999", None],
    "words": ["True", "false", None, "TRUE"],
    "größe 尺寸": [0.5, 1.5, 2.5, 3.5],
}
EXPECTED = {
    "whole": [1, 2, 3, 4],
    "gaps": [1.5, np.nan, np.nan, 4],
    "flag": [1, 0, 1, 1],
    "flag gaps": [1, np.nan, 0, 1],
    "text": ["red", "blue", None, "red"],
    "day": ["2020-01-02", None, "2021-03-04", "2022-05-06"],
    "when": ["2020-01-02 03:04:05", None, "2021-01-01", None],
    "took": [90, np.nan, 86400, 0],
    "price": [1234.5, 7, np.nan, np.nan],
    "share": [12, 5, 0, np.nan],
    "plain": [1.5, 2, np.nan, -300],
    "zip": ["01234", "10115", "99999", None],
    "words": [1, 0, np.nan, 1],
    "größe 尺寸": [0.5, 1.5, 2.5, 3.5],
}


def frames(columns):
    """Yield a table in each form that can hold it, with the form's name."""
    yield "dict", columns
    yield "objects", {name: np.array(column, dtype=object) for name, column in columns.items()}
    try:
        import pandas
    except ModuleNotFoundError:
        pass
    else:
        frame = pandas.DataFrame(columns)
        yield "pandas", frame
        yield "pandas types", frame.convert_dtypes()
        yield "pandas objects", frame.astype(object)
        yield "dict of series", {name: frame[name] for name in frame}
    try:
        import polars
    except ModuleNotFoundError:
        return
    frame = polars.DataFrame(columns, strict=False)
    yield "polars", frame
    yield "lazy", frame.lazy()
    yield "arrow", frame.to_arrow()


def read(frame, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        return read_columns(frame, **options)


def check_same(table, expected):
    assert list(table) == list(expected)
    for name, values in expected.items():
        if any(isinstance(value, str) for value in values):
            assert table[name].tolist() == values, name
        else:
            assert table[name].dtype == np.float64, name
            np.testing.assert_array_equal(table[name], values, name)


def test_every_form_of_a_table_gives_the_same_columns():
    pytest.importorskip("polars")
    for how, frame in frames(COLUMNS):
        try:
            check_same(read(frame).table, EXPECTED)
        except Exception as error:
            error.add_note(how)
            raise


def test_every_form_is_encoded_alike_by_what_one_of_them_taught():
    pytest.importorskip("polars")
    columns = read(COLUMNS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        kinds = choose_kinds(columns.table)
        encoder = FeatureEncoder.learn(columns.table, kinds, "robust", max_one_hot=9)
        expected = encoder.encode(columns.table)
        for how, frame in frames(COLUMNS):
            again = read_columns(frame, wanted=encoder.kinds, dialect=columns.dialect)
            assert list(again.table) == list(encoder.kinds)
            found = encoder.encode(again.table)
            np.testing.assert_array_equal(found.numbers, expected.numbers, how)


def without_polars(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ModuleNotFoundError):
        import polars  # noqa: F401


def test_without_polars_all_but_marked_numbers_in_texts_is_read(monkeypatch):
    tables = list(frames({n: c for n, c in COLUMNS.items() if n not in ("price", "share")}))
    without_polars(monkeypatch)
    expected = {n: c for n, c in EXPECTED.items() if n not in ("price", "share")}
    for how, frame in tables:
        if how not in ("polars", "lazy"):
            try:
                check_same(read(frame).table, expected)
            except Exception as error:
                error.add_note(how)
                raise
    with pytest.raises(
        ModuleNotFoundError, match=r"from texts such as those of price, share needs p"
    ):
        read(COLUMNS)
    x = np.arange(6.0).reshape(3, 2)
    assert list(read_columns(x).table) == ["x0", "x1"]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, 2.5], [3, np.nan]]),
        np.array([[1, 2.5], [3, np.nan]], dtype=np.float32),
        np.array([[1, 2.5], [3, None]], dtype=object),
        np.array([["1", "2.5"], ["3", "NA"]]),
        np.ma.array([[1, 2.5], [3, 7]], mask=[[0, 0], [0, 1]]),
        [[1, 2.5], [3, None]],
    ],
    ids=["float64", "float32", "object", "texts", "masked", "lists"],
)
def test_the_columns_of_an_array_are_named_by_their_places(array):
    check_same(read(array).table, {"x0": [1, 3], "x1": [2.5, np.nan]})


def test_arrays_of_other_types():
    days = np.array(["2020-01-02", "NaT"], dtype="datetime64[D]")
    check_same(
        read(
            {
                "day": days,
                "month": days.astype("datetime64[M]"),
                "time": days.astype("datetime64[ns]") + np.timedelta64(1500, "ms"),
                "took": np.array([1500, "NaT"], dtype="timedelta64[ms]"),
                "bytes": np.array([b"a", b"b"]),
                "half": np.array([0.5, 1], dtype=np.float16),
                "decimal": [decimal.Decimal("1.5"), None],
                "zone": [
                    dt.datetime(2020, 1, 2, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
                    None,
                ],
            }
        ).table,
        {
            "day": ["2020-01-02", None],
            "month": ["2020-01-01", None],
            "time": ["2020-01-02 00:00:01.5", None],
            "took": [1.5, np.nan],
            "bytes": ["a", "b"],
            "half": [0.5, 1],
            "decimal": [1.5, np.nan],
            "zone": ["2020-01-01 23:00:00", None],
        },
    )


def test_types_of_categories_are_respected():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    by_pandas = pandas.DataFrame({"a": pandas.Categorical([1, 2, None]), "b": [1, 2, 3]})
    by_polars = polars.DataFrame(
        {"a": polars.Series(["1", "2", None], dtype=polars.Enum(["1", "2"])), "b": [1, 2, 3]}
    )
    for frame in (by_pandas, by_polars, {"a": by_polars["a"], "b": [1, 2, 3]}):
        columns = read_columns(frame)
        assert columns.kinds == {"a": "category"}
        check_same(columns.table, {"a": ["1", "2", None], "b": [1, 2, 3]})
        assert choose_kinds(columns.table, columns.kinds)["a"] == "category"


@pytest.mark.parametrize("form", ["dict", "polars"])
def test_numbers_in_texts_are_read_as_training_read_them(form):
    polars = pytest.importorskip("polars")
    make = dict if form == "dict" else polars.DataFrame
    columns = read(make({"a": ["1,5", "1.234,25 €", "-2,0"]}))
    check_same(columns.table, {"a": [1.5, 1234.25, -2]})
    assert columns.dialect.decimal == ","
    # By itself 1,234 would be a number with thousands.
    assert read(make({"a": ["1,234"]})).table["a"].tolist() == [1234]
    again = read(make({"a": ["1,234"]}), wanted={"a": "number"}, dialect=columns.dialect)
    assert again.table["a"].tolist() == [1.234]


def test_columns_that_cannot_be_read_are_left_out_aloud_unless_wanted():
    frame = {"a": [1, 2], "l": [[1], [2, 3]], "c": np.array([1j, 2])}
    with pytest.warns(TableWarning, match=r"neither numbers nor texts left out: l, c \('l' holds"):
        assert list(read_columns(frame).table) == ["a"]
    with pytest.raises(ValueError, match=r"'l' holds \[1\] in row 1"):
        read_columns(frame, wanted={"l": "number"})


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        ({}, ValueError, "the table has no columns"),
        ({"a": 1}, ValueError, "'a' is no column of values"),
        ({"a": "text"}, ValueError, "'a' is no column of values: 'text'; each is a list"),
        ({"a": np.array(1.0)}, ValueError, "'a' is no column of values"),
        ({"a": {1, 2}}, ValueError, "'a' is no column of values"),
        ({"a": {0: 1, 1: 2}}, ValueError, r"'a' is a dictionary.*to_dict\("),
        ({"a": [1], "b": [1, 2]}, ValueError, "differ in length: 'a' has 1 row, 'b' 2"),
        ({1: [1], "1": [2]}, ValueError, "more than one column is named '1'"),
        ({"": [1]}, ValueError, "'' is no name of a column"),
        ({"a": [1.0, float("inf")]}, ValueError, "column 'a' is infinite in row 2"),
        ({"a": [10**400, 1]}, ValueError, "'a' holds numbers that are too large"),
        (np.zeros(3), ValueError, r"two dimensions, rows and columns; got .* \(3,\)"),
        (np.zeros((2, 2, 2)), ValueError, "two dimensions"),
        ([[1, 2], [3]], ValueError, "rows of the table differ in length"),
        (7, TypeError, "a table is a DataFrame .* got int"),
        ("text", TypeError, "a table is a DataFrame .* got str"),
    ],
)
def test_what_is_no_table(frame, error, message):
    with pytest.raises(error, match=message):
        read_columns(frame)


def test_other_wrong_tables():
    pandas = pytest.importorskip("pandas")
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="more than one column is named 'a'"):
        read_columns(twice)
    with pytest.raises(UnknownNameError, match=r"the table lacks 1 column: 'x' \(it has 'X'\)"):
        read_columns({"X": [1]}, wanted={"x": "number"})
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="a sparse matrix is no table"):
        read_columns(sparse.eye(3))
    polars = pytest.importorskip("polars")
    for frame in ({"a": ["1", "2", "x"]}, polars.DataFrame({"a": ["1", "2", "x"]})):
        with pytest.raises(
            ValueError,
            match=r"'a' holds numbers, but row 3 holds 'x'; correct it, .*make it None, or .*kinds=",
        ):
            read_columns(frame)


def test_texts_that_only_look_a_little_like_numbers_stay_texts():
    pytest.importorskip("polars")
    columns = {
        "ip": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        "phone": ["030 12-34", "5 55-1", "7 1-2"],
        "size": ["XL", "10", "L"],
        "date": ["01.02.2020", "3.4.2020", "5.6.2020"],
    }
    for how, frame in frames(columns):
        try:
            check_same(read(frame).table, columns)
        except Exception as error:
            error.add_note(how)
            raise


def test_columns_are_read_as_they_are_said_to_hold():
    polars = pytest.importorskip("polars")
    columns = {"a": ["1", "2", "x"], "b": [1, 2, 2], "c": ["1", "2", "3"], "l": [[1], [2], [3]]}
    kinds = {"a": "category", "b": "category", "l": "drop"}
    for frame in (columns, polars.DataFrame(columns)):
        found = read_columns(frame, kinds)
        check_same(found.table, {"a": ["1", "2", "x"], "b": ["1", "2", "2"], "c": [1, 2, 3]})
        assert found.kinds == {"a": "category", "b": "category"}
        with pytest.raises(UnknownNameError, match="unknown column 'aa'"):
            read_columns(frame, {"aa": "number"})
        with pytest.raises(
            UnknownNameError, match="kind of column 'a' 'numbers'; did you mean 'num"
        ):
            read_columns(frame, {"a": "numbers"})
        with pytest.raises(ValueError, match="'a' holds numbers, but row 3 holds 'x'"):
            read_columns(frame, kinds | {"a": "number"})
    assert read_columns({"m": ["a", "b", 2.0]}).table["m"].tolist() == ["a", "b", "2"]


def test_digits_of_whole_numbers_are_kept_in_categories():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    large = [2**60 + 1, None, 2**60 + 2]
    whole = pandas.array(large, dtype="Int64")
    objects = np.array(large, dtype=object)
    for frame in ({"a": large}, {"a": objects}, pandas.DataFrame({"a": whole})):
        found = read_columns(frame, {"a": "category"}).table["a"]
        assert found.tolist() == ["1152921504606846977", None, "1152921504606846978"]
    for dtype in (np.float32, np.float64):
        values = np.array([1.0, 0.1, 1e20, 1e-7, -0.0, 123456.75], dtype=dtype)
        found = [read_columns(frame, {"a": "category"}).table["a"].tolist()
                 for frame in ({"a": values}, polars.DataFrame({"a": values}))]  # fmt: skip
        assert found[0] == found[1]
    with pytest.raises(ValueError, match="'a' is infinite in row 1"):
        read_columns({"a": ["1e400", "2"]})


def test_bytes_are_texts_in_every_form(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    values = [b"red", "größe".encode(), None, b"\xff"]
    columns = {"a": values, "n": [b"1", b"2.5", None, b"4"]}
    frame = polars.DataFrame(columns)
    frame.write_parquet(tmp_path / "t.parquet")
    for found in (
        read(columns).table,
        read(pandas.DataFrame(columns)).table,
        read(frame).table,
        read(frame.to_arrow()).table,
        read_table(tmp_path / "t.parquet"),
    ):
        check_same(found, {"a": ["red", "größe", None, "\ufffd"], "n": [1, 2.5, np.nan, 4]})


def test_types_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "when": pandas.to_datetime(["2020-01-01 01:30", None]).tz_localize("Europe/Berlin"),
            "sparse": pandas.arrays.SparseArray([0, 1]),
            "half": pandas.array([0.5, None], dtype="Float32"),
            "flag": pandas.array([None, True], dtype="boolean"),
        },
        index=["a", "b"],
    )
    expected = {"when": ["2020-01-01 00:30:00", None], "sparse": [0, 1], "half": [0.5, np.nan],
                "flag": [np.nan, 1]}  # fmt: skip
    check_same(read(frame).table, expected)


CELLS = st.none() | st.text("0123456789.,-+%$€ e'_ab/:", max_size=6)


@settings(deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=4), st.lists(CELLS, min_size=1, max_size=4))
def test_texts_mean_the_same_in_every_form(first, second):
    """What reads texts without polars agrees with what reads them with it."""
    polars = pytest.importorskip("polars")
    rows = max(len(first), len(second))
    columns = {"a": (first * rows)[:rows], "b": (second * rows)[:rows]}
    found = []
    for frame in (columns, polars.DataFrame(columns, schema=dict.fromkeys("ab", polars.String))):
        try:
            table = read(frame).table
            found.append({name: repr(column.tolist()) for name, column in table.items()})
        except ValueError:
            found.append("refused")
    assert found[0] == found[1]
