"""Dates and times: what texts mean, and the numbers that they become."""

from __future__ import annotations

import datetime as dt
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tables.columns import numbers, texts

from nnbackend.tables.features import FeatureEncoder
from nnbackend.tables.moments import PARTS, Moment, is_moment, seconds_of
from nnbackend.tables.table import ColumnError, TableWarning


def seconds(text, day_first=False):
    return seconds_of(texts(text), day_first)[0]


@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)))
def test_iso_texts_mean_their_moment(moment):
    expected = (moment - dt.datetime(1970, 1, 1)).total_seconds()
    for text in (moment.isoformat(), str(moment)):
        assert seconds(text) == pytest.approx(expected, abs=1e-4)
    assert seconds(moment.date().isoformat()) == expected // 86400 * 86400


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2020/1/2", "2020-01-02"),
        ("2020.01.02 03:04", "2020-01-02T03:04:00"),
        ("1/2/2020", "2020-01-02"),
        ("1/2/20 3:04 pm", "2020-01-02 15:04"),
        ("1/2/70 12:00 AM", "1970-01-02"),
        ("1/2/69", "1969-01-02"),
        ("1/2/68", "2068-01-02"),
        ("2020-01-02T03:00:00+01:30", "2020-01-02T01:30:00Z"),
        ("2020-01-02T03:00:00-0130", "2020-01-02T04:30:00"),
        ("03:04:05.5", "1970-01-01 03:04:05.5"),
        ("2020-01-02 03:00:00 UTC", "2020-01-02 03:00"),
        ("2020-01-02 03:00:00.25+02", "2020-01-02 01:00:00.25"),
        ("2020-01-02 03:00 -01:30", "2020-01-02 04:30"),
        ("2-Jan-2020", "2020-01-02"),
        ("02 JAN 20 3:04 pm", "2020-01-02 15:04"),
        ("2. January 2020", "2020-01-02"),
        ("2nd of Sept. 2020", "2020-09-02"),
        ("Jan 2, 2020", "2020-01-02"),
        ("December 31 2020", "2020-12-31"),
        ("Thu, 02 Jan 2020 03:04:05 GMT", "2020-01-02 03:04:05"),
    ],
)
def test_forms_of_one_moment(text, same):
    assert seconds(text) == seconds(same)
    assert not np.isnan(seconds(text))


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-30",
        "13/13/2020",
        "2020-1/2",
        "25:00",
        "13:00 pm",
        "0000-01-01",
        "2020",
        "x",
        "30 Feb 2020",
        "2 Jam 2020",
        "Jan 2020",
        "may 5",
        "2020-01-02 03:04 CET",
        "2 January2020x",
        "Jan 2020 5",
    ],
)
def test_texts_that_are_no_moment(text):
    assert np.isnan(seconds(text))
    assert not is_moment([text])


def test_day_and_month_are_told_apart_by_the_column():
    encoder = Moment.learn("when", texts("13/1/2020", "2/1/2020", None), "none")
    assert encoder.day_first
    assert encoder.seconds(texts("3/4/2020"))[0] == seconds("2020-04-03")
    assert not Moment.learn("when", texts("1/13/2020", "1/2/2020"), "none").day_first
    assert Moment.learn("when", texts("1.2.2020", "3.4.2020"), "none").day_first
    with pytest.warns(TableWarning, match="nothing tells day from month.*'when'.*'1/2/2020'"):
        assert not Moment.learn("when", texts("1/2/2020", "3/4/2020"), "none").day_first


def test_dates_of_a_form_that_training_did_not_have_are_refused_where_they_are_open():
    iso = texts("2020-01-02", "2021-02-03", "2022-05-06")
    encoder = Moment.learn("when", iso, "none")
    assert encoder.day_first is None
    found = encoder.seconds(texts("25/11/2023", "11/25/2023", "5/5/2023", "4.11.2023", None))
    wanted = [seconds(f"2023-{day}") for day in ("11-25", "11-25", "05-05", "11-04")]
    np.testing.assert_array_equal(found, [*wanted, np.nan])
    message = (
        "'when' holds '04/11/2023' in row 2, which may mean 2023-11-04 or 2023-04-11.*with_dates"
    )
    with pytest.raises(ColumnError, match=message) as caught:
        encoder.encode(texts("2023-11-04", "04/11/2023"))
    assert "say --day-first or --month-first" in caught.value.for_command_line
    assert "with_dates" not in caught.value.for_command_line


def test_the_order_of_day_and_month_can_be_told():
    iso, open_dates = texts("2020-01-02", "2021-02-03"), texts("1/2/2020", "3/4/2021")
    for column in (iso, open_dates):
        encoder = Moment.learn("when", column, "none", day_first=True)
        assert encoder.seconds(texts("04/11/2023"))[0] == seconds("2023-11-04")


def test_the_parts_of_dates():
    column = texts("2020-01-31 06:00", "2021-07-01 18:00", "2022-07-02", None)
    encoder = Moment.learn("when", column, "none")
    assert [part.name for part in encoder.parts] == list(PARTS)
    rows = dict(zip(PARTS, encoder.encode(column).T, strict=True))
    assert rows["days"][0] == 18292.25
    assert rows["year"].tolist()[:3] == [2020, 2021, 2022]
    angle = 2 * np.pi * np.array([[0, 6, 6], [30, 0, 1], [4, 3, 5], [0.25, 0.75, 0]])
    periods = dict(zip(("month", "day", "weekday", "hour"), (12, 31, 7, 1), strict=True))
    for (name, period), expected in zip(periods.items(), angle, strict=True):
        np.testing.assert_allclose(rows[f"{name} sine"][:3], np.sin(expected / period), atol=1e-12)
        np.testing.assert_allclose(
            rows[f"{name} cosine"][:3], np.cos(expected / period), atol=1e-12
        )
    assert rows["year"][3] == 2021  # the median where missing


@pytest.mark.parametrize(
    ("column", "lacks"),
    [
        (("2020-01-02", "2020-05-09"), ("year", "hour sine")),
        (("03:00", "04:00:00.5"), ("year", "month sine", "weekday cosine")),
    ],
)
def test_parts_that_do_not_vary_are_left_out(column, lacks):
    names = [part.name for part in Moment.learn("when", texts(*column), "standard").parts]
    assert "days" in names
    assert not set(lacks) & set(names)
    with pytest.raises(ValueError, match="dates of column 'when' do not vary"):
        Moment.learn("when", texts(column[0], column[0]), "standard")


def test_dates_that_cannot_be_read_count_as_missing_aloud():
    encoder = Moment.learn("when", texts("2020-01-02", "2021-02-03", "2022-05-06"), "robust")
    with pytest.warns(TableWarning, match="'when': no date.*in 1 row.*'soon'"):
        found = encoder.encode(texts("soon", None))
    np.testing.assert_array_equal(found, np.zeros((2, encoder.width)))
    with pytest.raises(ValueError, match="'when' held dates in training and holds numbers here"):
        encoder.encode(numbers(1))
    np.testing.assert_array_equal(encoder.encode(numbers(np.nan)), np.zeros((1, encoder.width)))


def test_dates_with_day_and_month_the_other_way_round_are_said(recwarn):
    encoder = Moment.learn("when", texts("11/25/2023", "1/12/2023"), "robust")
    encoder.encode(texts("04/11/2023", "2023-11-25", "25/11/2023"))
    encoder = Moment.learn("when", texts("25/11/2023", "1/12/2023"), "robust")
    encoder.encode(texts("11/25/2023", "1/1/2023", "soon"))
    assert [str(warning.message) for warning in recwarn] == [
        "column 'when': dates are read with the month first, which 1 row cannot be, for instance "
        "'25/11/2023': they count as missing, and others, such as '04/11/2023', may mean another day "
        "than is read; write 2023-11-25",
        "column 'when': dates are read with the day first, which 1 row cannot be, for instance "
        "'11/25/2023': they count as missing; write 2023-11-25",
        "column 'when': no date that can be read in 1 row, for instance 'soon'; they count as "
        "missing",
    ]


def test_dates_with_points_that_are_read_with_the_month_first_are_said(recwarn):
    encoder = Moment.learn("when", texts("11/25/2023", "1/12/2023"), "robust")
    encoder.encode(texts("4/11/2023", "5.5.2023", "2023.4.11", None))  # nothing tells, or no matter
    assert not recwarn.list
    encoder.encode(texts("2023-11-04", "04.11.2023"))
    assert [str(warning.message) for warning in recwarn] == [
        "column 'when': dates are read with the month first, those with points too, for instance "
        "'04.11.2023': write 2023-11-04 if the day comes first"
    ]
    encoder.encode(texts("03.11.2023", "12.25.2023"))  # the month does come first
    day_first = Moment.learn("when", texts("1.2.2020", "3.4.2020"), "robust")
    day_first.encode(texts("04.11.2023"))
    assert len(recwarn) == 1


def test_one_stray_text_in_ten_is_allowed():
    dates = [f"2020-01-{day:02d}" for day in range(1, 20)]
    assert is_moment([*dates, "unknown"])
    assert not is_moment([*dates[:5], "unknown"])
    assert not is_moment([])


@pytest.mark.parametrize("scale", ["standard", "robust", "max", "none"])
def test_an_encoder_with_dates_survives_json(scale):
    table = {"when": texts("1.2.2020", None, "3.12.2021 10:00"), "x": numbers(1, 2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = FeatureEncoder.learn(table, list(table), scale)
    again = FeatureEncoder.from_dict(encoder.to_dict())
    assert again == encoder
    assert isinstance(again.features[0], Moment)
    assert again.encode(table).numeric_count == encoder.width
