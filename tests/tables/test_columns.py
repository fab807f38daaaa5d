"""Columns: a value is the same in every format, and texts that are numbers are read as such."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings

import numpy as np
import pytest

from nnbackend.tables.columns import table_of
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.encoding import Categories, Classes, TableEncoder
from nnbackend.tables.inputs import read_columns
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

pl = pytest.importorskip("polars")

FORMATS = [".csv", ".tsv", ".parquet", ".feather", ".jsonl"]
FLAGS = [True, False, None, True]


def write(folder, ending, columns):
    path, frame = folder / f"t{ending}", pl.DataFrame(columns, strict=False)
    if ending in (".csv", ".tsv"):
        frame.write_csv(path, separator="\t" if ending == ".tsv" else ",")
    else:
        {
            ".parquet": frame.write_parquet,
            ".feather": frame.write_ipc,
            ".jsonl": frame.write_ndjson,
        }[ending](path)
    return path


def texts(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("ending", FORMATS)
def test_booleans_are_numbers_and_in_a_target_texts(tmp_path, ending):
    path = write(tmp_path, ending, {"flag": FLAGS, "row": [1, 2, 3, 4]})
    np.testing.assert_array_equal(read_table(path)["flag"], [1, 0, np.nan, 1])
    for kind in ("target", "text"):
        found = read_table(path, kinds={"flag": kind})["flag"].tolist()
        assert found == ["true", "false", None, "true"]


@pytest.mark.parametrize("words", ["True False", "true false", "TRUE FALSE", "1 0", "1.0 0.0"])
def test_words_for_booleans_in_a_csv_file(tmp_path, words):
    yes, no = words.split()
    path = texts(tmp_path / "t.csv", f"flag,b\n{yes},1\n{no},2\n NA,3\n")
    for kinds in ({}, {"flag": "number"}):
        np.testing.assert_array_equal(read_table(path, kinds=kinds)["flag"], [1, 0, np.nan])


@pytest.mark.parametrize(
    "known", [("false", "true"), ("False", "True"), ("0", "1"), ("0.0", "1.0")]
)
@pytest.mark.parametrize("column", [["false", "true"], ["False", "True"], ["0", "1"], ["0.0", "1"]])
def test_a_model_knows_booleans_in_whatever_words(known, column):
    column = np.array([*column, None], dtype=object)
    np.testing.assert_array_equal(Classes("y", known).encode(column[:2]), [0, 1])
    found = Categories("x", (*known, None)).encode(column)
    np.testing.assert_array_equal(found, np.eye(3))


def test_a_text_that_may_be_two_known_ones_is_neither():
    column = np.array(["1.00", "01", "1e0", "2"], dtype=object)
    with pytest.warns(TableWarning, match="has not seen: '01', '1.00', '1e0'"):
        found = Categories("x", ("1", "1.0", "2")).encode(column)
    np.testing.assert_array_equal(found, [[0, 0, 0]] * 3 + [[0, 0, 1]])
    with pytest.raises(ValueError, match="holds '007', which is none of the classes"):
        Classes("y", ("7", "8")).encode(np.array(["007"], dtype=object))


@pytest.mark.parametrize("known", [["2020-01-02 00:00:00", "soon"], ["2020-01-02", "soon"]])
@pytest.mark.parametrize("column", [["2020-01-02"], ["2020-01-02 00:00:00"], [dt.date(2020, 1, 2)]])
def test_a_date_means_the_same_whatever_the_other_rows(known, column):
    encoder = learn_texts(known)
    assert encoder.features[0].categories == tuple(known)
    np.testing.assert_array_equal(encode_texts(encoder, column), [[1, 0]])
    clock = learn_texts(["01:30", "soon"])
    np.testing.assert_array_equal(encode_texts(clock, [dt.time(1, 30)]), [[1, 0]])


@pytest.mark.parametrize("rows", [slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 3)])
@pytest.mark.parametrize("known", [["1", "1.0", "x"], ["TRUE", "True", "x"], [".5", "0.50", "x"]])
def test_a_known_text_is_itself_whatever_the_other_rows(known, rows):
    encoder = learn_texts(known)
    np.testing.assert_array_equal(encode_texts(encoder, known[rows]), np.eye(3)[rows])


def learn_texts(column):
    table = table_of(pl.DataFrame({"a": column}), ["a"], {"a": "text"})
    return TableEncoder((Categories("a", tuple(table["a"])),), Classes("y", ("a", "b")))


def encode_texts(encoder, column):
    kinds = encoder.feature_kinds
    return encoder.encode_features(table_of(pl.DataFrame({"a": column}), ["a"], kinds))


WHOLE = {
    "int": [1, 2, 10],
    "float": [1.0, 2.0, 10.0],
    "float32": pl.Series([1.0, 2.0, 10.0], dtype=pl.Float32),
    "decimal": [decimal.Decimal("1.00"), decimal.Decimal("2.00"), decimal.Decimal("10.00")],
    "text": ["1.0", "2", "10.00"],
    "category": pl.Series(["1", "2.0", "1e1"], dtype=pl.Categorical),
}


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
@pytest.mark.parametrize("how", WHOLE)
def test_whole_numbers_have_one_text(tmp_path, ending, how):
    path = write(tmp_path, ending, {"a": WHOLE[how]})
    assert read_table(path, kinds={"a": "text"})["a"].tolist() == ["1", "2", "10"]


def test_numbers_have_one_text(tmp_path):
    values = [0.5, 1.0, 1e-7, 123456789.0, 2.5e300, -0.0]
    expected = ["0.5", "1", "1e-07", "123456789", "2.5e+300", "0"]
    for ending in FORMATS:
        path = write(tmp_path, ending, {"a": values})
        assert read_table(path, kinds={"a": "text"})["a"].tolist() == expected, ending
    path = write(tmp_path, ".parquet", {"a": [12345678901234567, None]})  # no float64
    assert read_table(path, kinds={"a": "text"})["a"].tolist() == ["12345678901234567", None]
    path = write(tmp_path, ".csv", {"a": ["1.10", "1.1", "1.9.2"]})  # versions are no numbers
    assert read_table(path, kinds={"a": "text"})["a"].tolist() == ["1.10", "1.1", "1.9.2"]


def test_codes_with_leading_zeros_stay_texts_aloud(tmp_path):
    path = texts(tmp_path / "t.csv", "code,plain,mixed,b\n01,1,02,5\n1,2,2,6\n10,3,1A,7\n")
    with pytest.warns(TableWarning, match="leading zeros are codes, and are read as texts: code$"):
        table = read_table(path)
    assert table["code"].tolist() == ["01", "1", "10"]
    assert table["mixed"].tolist() == ["02", "2", "1A"]
    assert table["plain"].tolist() == [1, 2, 3]
    for text in ("0\n0.5\n0", "0\n-0.5\n+7", "0e3\n1\n2"):  # numbers
        assert read_table(texts(tmp_path / "t.csv", f"a\n{text}\n"))["a"].dtype == np.float64


DATES = {
    "days": ([dt.date(2020, 1, 2), None], ["2020-01-02", None]),
    "midnights": ([dt.datetime(2020, 1, 2), None], ["2020-01-02", None]),
    "times": ([dt.datetime(2020, 1, 2, 3, 4, 5, 600000)], ["2020-01-02 03:04:05.6"]),
    "zones": ([dt.datetime(2020, 1, 2, 3, tzinfo=dt.UTC)], ["2020-01-02 03:00:00+00:00"]),
    "clock": ([dt.time(1, 30), None, dt.time(2, 0, 0, 500000)], ["01:30:00", None, "02:00:00.5"]),
}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("how", DATES)
def test_dates_have_one_text(tmp_path, ending, how):
    values, expected = DATES[how]
    path = write(tmp_path, ending, {"when": values, "b": [1.0] * len(values)})
    assert read_table(path)["when"].tolist() == expected
    assert read_table(path, kinds={"when": "text"})["when"].tolist() == expected


def test_columns_of_lists_are_left_out_aloud_unless_asked_for(tmp_path):
    path = write(
        tmp_path, ".parquet", {"a": [1, 2], "l": [[1], [2, 3]], "d": [dt.timedelta(1)] * 2}
    )
    with pytest.warns(TableWarning, match=r"left out: l \('l' holds List\(Int64\)\)"):
        table = read_table(path)
    assert list(table) == ["a", "d"]
    assert table["d"].tolist() == [86400, 86400]
    with pytest.raises(
        ValueError, match=r"column 'l' holds List\(Int64\), neither numbers nor texts"
    ):
        read_table(path, columns=["l"])


NUMBERS = {
    "thousands": ("1,234 12,345,678.5 -7 0", [1234, 12345678.5, -7, 0]),
    "apostrophes": ("1'234 12'345.5 7 8", [1234, 12345.5, 7, 8]),
    "spaces": ("1\u00a0234\u00a0567.5 12\u202f345 3.5", [1234567.5, 12345, 3.5]),
    "money": ("$1,200.50 $7 -$3 5€", [1200.5, 7, -3, 5]),
    "codes of currencies": ("USD_5 USD_1,200.50 -7_USD 3", [5, 1200.5, -7, 3]),
    "one sign": ("₹5 ₹1,200.50 -₹3 7zł", [5, 1200.5, -3, 7]),
    "percent": ("5% 12.5% 0% -1%", [5, 12.5, 0, -1]),
    "decimal commas": ("1,5 2.345,25 -0,125 7", [1.5, 2345.25, -0.125, 7]),
    "commas of both": ("1,234 1,5 12,75 3", [1.234, 1.5, 12.75, 3]),
    "exponents": ("1e3 -2.5E-1 +7 .5", [1000, -0.25, 7, 0.5]),
}


@pytest.mark.parametrize("how", NUMBERS)
def test_numbers_with_marks_are_numbers(tmp_path, how):
    text, expected = NUMBERS[how]
    rows = "\n".join(f'"{value.replace("_", " ")}",x' for value in text.split(" "))
    path = texts(tmp_path / "t.csv", f"a,b\n{rows}\n")
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        np.testing.assert_allclose(read_table(path)["a"], expected)
    said = {"exponents": 0, "decimal commas": 2, "money": 2, "one sign": 2}
    assert len(notes) == said.get(how, 1)


def test_codes_that_begin_like_a_currency_are_no_amounts(tmp_path):
    path = texts(tmp_path / "t.csv", "a,b\nEUR0001,SEK12\nEUR0002,SEK34\n")
    table = read_table(path)
    assert (table["a"][0], table["b"][1]) == ("EUR0001", "SEK34")


def test_amounts_in_several_currencies_are_said(tmp_path):
    frame = pl.DataFrame(
        {"a": ["USD 5", "7 EUR", "2k EUR"], "b": ["$5", "$6", "$7"], "c": [1, 2, 3]}
    )
    frame.write_csv(tmp_path / "t.csv")
    for read in (lambda: read_table(tmp_path / "t.csv"), lambda: read_columns(frame).table,
                 lambda: read_columns(frame.to_dict(as_series=False)).table):  # fmt: skip
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            assert read()["a"].tolist() == [5, 7, 2000]
        said = [str(note.message) for note in notes if "currencies" in str(note.message)]
        assert said == [
            "amounts in several currencies in a (EUR, USD): they are not converted, 5 stays 5"
        ]


def test_marks_of_numbers_may_be_given(tmp_path):
    path = texts(tmp_path / "t.csv", "a;b\n1,234;1.500\n2,345;2\n")
    given = {"delimiter": ";"}
    for more in ({"decimal": "."}, {"thousands": ","}, {"usual_decimal": "."}):
        with pytest.warns(TableWarning, match="numbers with marks in a"):
            table = read_table(path, dialect=Dialect(**given, **more))
        assert table["a"].tolist() == [1234, 2345]
        assert table["b"].tolist() == [1.5, 2]
    for more in ({"decimal": ","}, {"thousands": "."}):
        with pytest.warns(TableWarning, match="numbers with marks in b"):
            table = read_table(path, dialect=Dialect(**given, **more))
        assert table["a"].tolist() == [1.234, 2.345]
        assert table["b"].tolist() == [1500, 2]


def test_thousands_or_decimals_are_told_apart_by_the_rest_of_the_table(tmp_path):
    for content, expected in (
        ("a;b\n1,234;x\n2,345;y\n", 1.234),  # semicolons go with decimal commas
        ("a;b\n1,234;2.5\n2,345;3.25\n", 1234),  # but here are decimal points
        ("a\tb\n1,234\tx\n2,345\ty\n", 1234),
        ("a\tb\n1,234\t0,5\n2,345\t7\n", 1.234),
        ('a,b\n"1,234","0,500"\n"2,345",7\n', 1.234),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            found = read_table(texts(tmp_path / "t.csv", content))["a"][0]
        assert found == expected, content


def test_marks_that_are_none(tmp_path):
    path = texts(tmp_path / "t.csv", "a\n1 23 456\n1_000\n")
    with pytest.raises(ValueError, match="holds numbers, but row 1"):
        read_table(path, kinds={"a": "number"})
    path = texts(tmp_path / "t.csv", "a\n1_000\n12_3\n")
    with pytest.warns(TableWarning, match="numbers with marks in a"):
        assert read_table(path, dialect=Dialect(thousands="_"))["a"].tolist() == [1000, 123]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": "::"}, "delimiter is one character"),
        ({"delimiter": '"'}, "delimiter is one character"),
        ({"decimal": ";"}, "decimal is one of"),
        ({"thousands": "x"}, "thousands is one of"),
        ({"decimal": ",", "thousands": ","}, "cannot be both"),
        ({"usual_decimal": "x"}, "usual_decimal is one of"),
        ({"encoding": "utf-99"}, "there is no encoding 'utf-99'"),
        ({"comment": " "}, "a comment begins"),
    ],
)
def test_dialects_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        Dialect(**given)


def test_stray_texts_are_named_with_their_lines(tmp_path):
    path = texts(tmp_path / "t.csv", 'a,b\n1,"x\ny"\n?,x\n2,x\n3,x\nunknown,x\n?,x\n4,x\n')
    with pytest.raises(
        ValueError, match=r"row 2 \(line 4\) holds '\?', row 5 \(line 7\) holds 'unk"
    ) as found:
        read_table(path)
    assert "--missing '?,unknown'" in found.value.for_command_line
    assert "--" not in str(found.value)
    table = read_table(path, dialect=Dialect(missing=("?", "unknown")))
    np.testing.assert_array_equal(table["a"], [1, np.nan, 2, 3, np.nan, np.nan, 4])


def test_a_missing_word_is_missing_among_texts_too(tmp_path):
    path = write(tmp_path, ".parquet", {"a": ["x", "?", " ? ", "y"]})
    found = read_table(path, dialect=Dialect(missing=("?",)))["a"]
    assert found.tolist() == ["x", None, None, "y"]


def test_names_of_columns_are_no_patterns(tmp_path):
    columns = {"^a.*$": ["1,5", "2"], "*": ["x", "y"], "ab": [1, 2], "$1": ["01", "2"]}
    for ending in (".csv", ".parquet"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            table = read_table(write(tmp_path, ending, columns), exclude=["$1"])
        assert list(table) == ["^a.*$", "*", "ab"]
        assert table["^a.*$"].tolist() == [1.5, 2]


def decimal_commas(columns):
    """Return the text of a file with semicolons."""
    return (
        "\n".join(";".join(row) for row in (columns, *zip(*columns.values(), strict=True))) + "\n"
    )


def read_aloud(path, **options):
    """Return a table, and the notes on it."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        return read_table(path, **options), "; ".join(str(note.message) for note in notes)


def test_a_column_with_decimal_points_beside_decimal_commas(tmp_path):
    columns = {"price": ["1,5", "2,25", "1.234,5"], "latitude": ["48.137", "48.5", "8.25"]}
    found, notes = read_aloud(texts(tmp_path / "t.csv", decimal_commas(columns)))
    assert "decimal points in latitude: 1.500 is read as 1.5" in notes
    assert found["price"].tolist() == [1.5, 2.25, 1234.5]
    assert found["latitude"].tolist() == [48.137, 48.5, 8.25]


def test_decimal_commas_and_points_in_one_column(tmp_path):
    path = write(tmp_path, ".parquet", {"a": ["1,5", "2.75", "5.123", "5,123"]})
    found, notes = read_aloud(path)
    assert found["a"].tolist() == [1.5, 2.75, 5.123, 5.123]
    assert "decimal commas in a" in notes
    assert "decimal points in a" in notes


def test_points_that_part_millions_are_thousands(tmp_path):
    columns = {"a": ["1.234.567", "7", "12.345"], "ip": ["111.222.111.222", "10.0.0.1", "10.0.0.1"]}
    found, notes = read_aloud(write(tmp_path, ".parquet", columns))
    assert "decimal commas in a" in notes
    assert found["a"].tolist() == [1234567, 7, 12345]
    del columns["a"]
    assert read_table(write(tmp_path, ".parquet", columns))["ip"].tolist() == columns["ip"]


def test_points_of_which_nothing_says_what_they_part_are_decimal_aloud(tmp_path):
    path = texts(tmp_path / "t.csv", decimal_commas({"a": ["1.234", "950"], "b": ["x", "y"]}))
    found, notes = read_aloud(path)
    assert found["a"].tolist() == [1.234, 950]
    assert "points in a: 1.234 is read as 1.234 (--thousands . if it is 1234)" in notes
    found, notes = read_aloud(path, dialect=Dialect(thousands="."))
    assert found["a"].tolist() == [1234, 950]
    assert "decimal points" not in notes


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_missing_number_is_missing_however_it_is_written(tmp_path, ending):
    path = write(tmp_path, ending, {"a": [-999.0, 1.5, 2.0], "b": ["-999.00", "1", "-999"]})
    dialect = Dialect(missing=("-999",))
    found = read_table(path, dialect=dialect)
    np.testing.assert_array_equal(found["a"], [np.nan, 1.5, 2])
    np.testing.assert_array_equal(found["b"], [np.nan, 1, np.nan])


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_a_missing_number_is_missing_among_texts(tmp_path, ending):
    path = write(tmp_path, ending, {"a": [9, 1, 2]})
    found = read_table(path, kinds={"a": "text"}, dialect=Dialect(missing=("9",)))
    assert found["a"].tolist() == [None, "1", "2"]


def test_booleans_in_words_and_digits_are_booleans(tmp_path):
    columns = {"a": ["True", "0", "1", None, "false"], "b": ["True", "0", "1.0", None, "false"]}
    found = read_table(write(tmp_path, ".csv", columns), kinds={"b": "target"})
    np.testing.assert_array_equal(found["a"], [1, 0, 1, np.nan, 0])
    assert found["b"].tolist() == ["True", "false", "True", None, "false"]


def test_texts_of_numbers_have_one_decimal_mark(tmp_path):
    path = texts(tmp_path / "t.csv", decimal_commas({"size": ["1,5", "2,0", "3"], "y": "abc"}))
    found, _ = read_aloud(path, kinds={"size": "text"})
    assert found["size"].tolist() == ["1.5", "2", "3"]


def test_a_code_among_numbers_makes_texts_of_them_aloud(tmp_path):
    path = write(tmp_path, ".csv", {"a": ["007", "12.5", "3"]})
    with pytest.warns(TableWarning, match="leading zeros"):
        assert read_table(path)["a"].tolist() == ["007", "12.5", "3"]


def test_a_point_that_parts_no_thousands_is_not_dropped(tmp_path):
    path = texts(tmp_path / "t.csv", "a,b\n1.5,x\n2.234,x\n3.456.789,x\n7,x\n")
    with pytest.raises(ValueError, match=r"row 1 \(line 2\) holds '1.5'; correct it"):
        read_table(path, dialect=Dialect(thousands="."))
    path = texts(tmp_path / "t.csv", 'a,b\n"1,5",x\n"1,23,456",x\n"1,234",x\n7,x\n')
    with pytest.raises(ValueError, match=r"row 1 \(line 2\) holds '1,5'; correct it"):
        read_table(path, dialect=Dialect(thousands=","))
    path = texts(tmp_path / "t.csv", 'a,b\n"12,34,567.5",x\n7,x\n')
    found, _ = read_aloud(path, dialect=Dialect(thousands=","))
    assert found["a"].tolist() == [1234567.5, 7]


def test_a_given_decimal_comma_leaves_columns_with_points_alone(tmp_path):
    path = texts(tmp_path / "t.csv", 'a,b\n"1,5",48.5\n"2,5",48.137\n"3,5",1234.567\n')
    found, notes = read_aloud(path, dialect=Dialect(decimal=","))
    assert (found["a"].tolist(), found["b"].tolist()) == ([1.5, 2.5, 3.5], [48.5, 48.137, 1234.567])
    assert notes == "decimal points in b: 1.500 is read as 1.5 there, not as 1500"


def test_parts_of_a_table_are_read_alike():
    """A part in which points part no thousands comes after others in which they seemed to."""
    dialect = Dialect(decimal=",")
    first, second = (pl.DataFrame({"a": column}) for column in (["48.137", "1,5"], ["48.5", "7"]))
    with pytest.warns(TableWarning, match="numbers with marks in a"):
        assert table_of(first, ["a"], {"a": "number"}, dialect)["a"].tolist() == [48137, 1.5]
    with pytest.raises(ValueError, match=r"row 1 holds '48.5'"):
        table_of(second, ["a"], {"a": "number"}, dialect)


def test_percents_beside_numbers_without_are_said(tmp_path):
    found, notes = read_aloud(write(tmp_path, ".csv", {"a": ["5%", "0.05", None, "7%"], "b": "5%"}))
    np.testing.assert_array_equal(found["a"], [5, 0.05, np.nan, 7])
    assert "some numbers have percents and others none in a: 5% is 5, 0.05 is 0.05" in notes


@pytest.mark.parametrize("sizes", [["1,5", "2,0", "2,125"], ["1,5", "2,125", "XL"]])
def test_texts_with_decimal_commas_are_known_again(tmp_path, sizes):
    frame = pl.DataFrame({"size": sizes, "x": ["0,5", "1,5", "2,5"]})
    dialect = Dialect(decimal=",")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        table = table_of(frame, ["size"], {"size": "text"}, dialect)
    categories = Categories.learn("size", table["size"])
    for rows in (slice(0, 3), slice(0, 1), slice(2, 3)):
        known = table_of(frame[rows], ["size"], {"size": "known"}, dialect)["size"]
        np.testing.assert_array_equal(categories.encode(known), np.eye(3)[rows])
    without = np.array(["1,5"], dtype=object)  # as a frame without decimal commas has it
    np.testing.assert_array_equal(Categories("size", ("1.5", "2")).encode(without), [[1, 0]])
