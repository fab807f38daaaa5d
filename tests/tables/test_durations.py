"""Durations in texts, in every form of a table."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pytest

from nnbackend.tables.durations import are_durations, seconds_of_duration
from nnbackend.tables.inputs import read_columns
from nnbackend.tables.kinds import choose_kinds
from nnbackend.tables.reading import read_table
from nnbackend.tables.table import TableWarning

SECONDS = [5400.0, 259200.0, -3600.0, 1.5, 0.0, -161999.999995]
DURATIONS = [dt.timedelta(seconds=seconds) for seconds in SECONDS]
WRITTEN = {
    "python": [str(duration) for duration in DURATIONS],
    "pandas": ["0 days 01:30:00", "3 days 00:00:00", "-1 days +23:00:00", "0 days 00:00:01.5",
               "0 days 00:00:00", "-2 days +03:00:00.000005"],
    "iso": ["PT1H30M", "P3D", "-PT1H", "PT1.5S", "PT0S", "-P1DT20H59M59.999995S"],
    "pandas, iso": ["P0DT1H30M0S", "P3DT0H0M0S", "P-1DT23H0M0S", "P0DT0H0M1.500S", "P0DT0H0M0S",
                    "P-2DT3H0M0.000005S"],
    "hours": ["1:30:00", "72:00:00", "-1:00:00", "00:00:01.5", "0:00:00", "-44:59:59.999995"],
}  # fmt: skip


@pytest.mark.parametrize("how", WRITTEN)
def test_durations_in_texts_are_seconds_whatever_the_table(how, tmp_path):
    polars = pytest.importorskip("polars")
    texts = [*WRITTEN[how], None]
    frame = polars.DataFrame({"a": texts, "b": range(7)})
    frame.write_csv(tmp_path / "t.csv")
    reads = [
        lambda: read_columns({"a": texts, "b": list(range(7))}).table,
        lambda: read_columns(frame).table,
        lambda: read_table(tmp_path / "t.csv"),
    ]
    for read in reads:
        with pytest.warns(TableWarning, match="durations in a: they are seconds"):
            table = read()
        np.testing.assert_allclose(table["a"], [*SECONDS, np.nan], rtol=0, atol=1e-9)
    assert choose_kinds(table)["a"] == "number"


def test_what_frames_write_is_read_as_it_was(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.to_timedelta(DURATIONS), "b": SECONDS})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(TableWarning, match="durations in a"):
        table = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(table["a"], read_columns(frame).table["a"])


def test_times_of_day_are_times_unless_something_says_otherwise():
    assert not are_durations(["1:30:00", "23:59:59"])
    assert are_durations(["1:30:00", "24:00:00"])
    assert are_durations(["1:30:00", "23:59:59"], as_told=True)
    assert not are_durations([])
    for text in ("soon", "P", "PT", "P1", "1:60:00", "12:30", "1 days 5", "3 daysx", "2020-01-02"):
        assert np.isnan(seconds_of_duration(text)), text
    with pytest.warns(TableWarning, match="durations in a"):
        table = read_columns({"a": ["1:30:00", "23:59:59"]}, {"a": "number"}).table
    assert table["a"].tolist() == [5400, 86399]


def test_few_durations_in_a_target_are_classes(tmp_path):
    path = tmp_path / "t.csv"
    for count, dtype in ((3, object), (30, float)):
        path.write_text("a,y\n" + "".join(f"{i},{i % count} days\n" for i in range(60)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            assert read_table(path, kinds={"y": "target"})["y"].dtype == dtype


@pytest.mark.parametrize("form", ["dict", "polars"])
def test_rows_to_predict_may_write_durations_in_another_way(form):
    polars = pytest.importorskip("polars")
    for texts in (["2:30:00"], ["PT2H30M"], ["0 days 02:30:00"], ["9000"], [9000.0]):
        frame = {"a": texts} if form == "dict" else polars.DataFrame({"a": texts})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            assert read_columns(frame, wanted={"a": "number"}).table["a"].tolist() == [9000]
