"""The encoding of a table, learned from training rows and kept in JSON."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tables.columns import numbers, texts

from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.tables.encoding import Categories, Classes, Number, TableEncoder
from nnbackend.tables.table import TableWarning, take_rows


def test_numbers_are_scaled_and_missing_ones_become_the_median():
    column = numbers(1, 2, np.nan, 6)
    standard = Number.learn("a", column, "standard")
    assert standard.fill == 2
    encoded = standard.encode(column)[:, 0]
    assert encoded.mean() == pytest.approx(0)
    assert encoded.std() == pytest.approx(1)
    assert encoded[2] == encoded[1]
    largest = Number.learn("a", -column, "max")
    assert largest.encode(column)[:, 0].tolist() == [1 / 6, 2 / 6, -2 / 6, 1]
    assert Number.learn("a", column, "none").encode(column)[:, 0].tolist() == [1, 2, 2, 6]


def test_a_column_that_is_constant_or_missing_in_the_training_rows():
    assert Number.learn("a", numbers(4, 4), "standard") == Number("a", 4, 4, 1)
    assert Number.learn("a", numbers(np.nan, np.nan), "max") == Number("a", 0, 0, 1)


@pytest.mark.parametrize("value", [14.62, 1e9 / 3, -0.1, 1e-300, 1e300 / 7])
@pytest.mark.parametrize("count", [2, 100, 100_000])
def test_a_constant_column_is_not_scaled_by_its_rounding(value, count):
    column = np.full(count, value)
    assert Number.learn("a", column, "standard") == Number("a", value, value, 1)
    column[0] = np.nextafter(value, np.inf)  # 0.1 + 0.2 beside 0.3
    learned = Number.learn("a", column, "standard")
    assert learned.scale == 1
    assert abs(learned.encode(numbers(value * 1.001))[0, 0]) <= abs(value) * 0.0011


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e-30, 1.0, 1e30, 1e200])
@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_a_column_that_varies_is_scaled_whatever_its_size(factor, shift):
    column = numbers(1, 2, 3, 10) * factor + shift * factor
    encoded = Number.learn("a", column, "standard").encode(column)[:, 0]
    assert encoded.std() == pytest.approx(1, rel=1e-4)
    assert abs(encoded.mean()) < 1e-4


def test_columns_of_float32_are_summed_in_float64():
    column = np.full(100_000, 16_777_216.0, dtype=np.float32)
    column[::2] += 2.0
    learned = Number.learn("a", column, "standard")
    assert (learned.shift, learned.scale) == (16_777_217.0, 1.0)
    assert set(learned.encode(column)[:, 0]) == {-1.0, 1.0}


def test_answers_are_float64_in_the_columns_units():
    learned = Number("y", 0.0, 1.6e9, 10.0)
    decoded = learned.decode(np.float32([[0.0], [0.1], [0.2]]))
    assert decoded.dtype == np.float64
    np.testing.assert_allclose(decoded - 1.6e9, [0, 1, 2], atol=1e-6)


def test_numbers_that_overflow_are_refused_by_name():
    with pytest.raises(ValueError, match="column 'a' are too large"):
        Number.learn("a", numbers(1e308, -1e308, 1e308, 1e308), "standard")


def test_categories_are_one_hot_and_missing_is_one_of_them():
    categories = Categories.learn("a", texts("red", None, "blue"))
    assert categories.categories == ("blue", "red", None)
    assert categories.encode(texts(None, "blue")).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_unseen_categories_are_zeros_and_reported():
    categories = Categories.learn("a", texts("red", "blue"))
    with pytest.warns(TableWarning, match=r"'a': 2 rows.*'pink', a missing value"):
        assert categories.encode(texts("pink", None, "red")).tolist() == [[0, 0], [0, 0], [0, 1]]


def test_classes_that_are_numbers_are_in_their_order():
    classes = Classes.learn("y", texts("10", "9", "10", "1"))
    assert classes.classes == ("1", "9", "10")
    assert classes.decode(classes.encode(texts("9", "10"))).tolist() == ["9", "10"]


@pytest.mark.parametrize("label", ["c", None])
def test_a_label_outside_the_classes_is_refused(label):
    with pytest.raises(ValueError, match=r"'y' holds .* none of the classes of training: a, b"):
        Classes("y", ("a", "b")).encode(texts("a", label))


def test_statistics_come_from_the_training_rows_only():
    table = {"x": numbers(1, 3, 1000), "c": texts("a", "b", "z"), "y": numbers(0, 1, 2)}
    encoder = TableEncoder.learn(take_rows(table, np.array([0, 1])), "y", ["x", "c"])
    assert encoder.features == (Number("x", 2, 2, 1), Categories("c", ("a", "b")))
    with pytest.warns(TableWarning, match="'z'"):
        assert encoder.encode_features(table)[2].tolist() == [998, 0, 0]


def test_columns_are_found_by_name_not_by_place():
    table = {"x": numbers(1, 3), "c": texts("a", "b"), "y": numbers(0, 1)}
    encoder = TableEncoder.learn(table, "y", ["x", "c"])
    other = {name: table[name] for name in ("c", "y", "x")}
    np.testing.assert_array_equal(encoder.encode_features(table), encoder.encode_features(other))
    with pytest.raises(UnknownNameError, match="column 'x'"):
        encoder.encode_features({"c": table["c"]})


def test_texts_where_training_had_numbers():
    encoder = TableEncoder.learn({"x": numbers(1, 3), "y": numbers(0, 1)}, "y", ["x"])
    with pytest.raises(ValueError, match="'x' held numbers in training"):
        encoder.encode_features({"x": texts("a")})


def test_an_unknown_scale_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'standard'"):
        TableEncoder.learn({"x": numbers(1, 2), "y": numbers(1, 2)}, "y", ["x"], "standart")


NUMBER_COLUMN = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=4, max_size=4).map(
    lambda values: np.array(values, dtype=float)
)
TEXT_COLUMN = st.lists(st.none() | st.text(min_size=1), min_size=4, max_size=4).map(
    lambda values: np.array(values, dtype=object)
)
TARGET = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4).map(np.array) | st.lists(
    st.text(min_size=1), min_size=4, max_size=4
).map(lambda values: np.array(values, dtype=object))


@given(
    columns=st.dictionaries(
        st.text(min_size=1, max_size=5), NUMBER_COLUMN | TEXT_COLUMN, min_size=1, max_size=4
    ),
    target=TARGET,
    scale=st.sampled_from(["standard", "max", "none"]),
)
@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_an_encoder_survives_json_and_gives_the_target_back(columns, target, scale):
    table = {**{f"feature {name}": column for name, column in columns.items()}, "goal": target}
    encoder = TableEncoder.learn(table, "goal", [name for name in table if name != "goal"], scale)
    x, y = encoder.encode_features(table), encoder.encode_target(table)
    assert x.shape == (4, encoder.width)
    assert np.isfinite(x).all()
    decoded = encoder.target.decode(y)
    if target.dtype == object:
        assert decoded.tolist() == target.tolist()
    else:
        np.testing.assert_allclose(decoded, target, rtol=1e-9, atol=1e-9)

    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    np.testing.assert_array_equal(again.encode_features(table), x)


def description(**changes: Any) -> dict[str, Any]:
    number = {"name": "x", "fill": 0.0, "shift": 0.0, "scale": 1.0}
    target = {"name": "y", "classes": ["a", "b"]}
    return {"features": [number], "target": target, **changes}


def with_number(**changes: Any) -> dict[str, Any]:
    return description(features=[{**description()["features"][0], **changes}])


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        [],
        {},
        {"features": []},
        description(more=1),
        description(features={}),
        description(features=[]),
        description(features=[1]),
        description(features=[{"name": "x"}]),
        description(features=[{"name": "x", "categories": []}]),
        description(features=[{"name": "x", "categories": "ab"}]),
        description(features=[{"name": "x", "categories": ["a", "a"]}]),
        description(features=[{"name": "x", "categories": [{}]}]),
        description(features=[{"name": "y", "categories": ["a"]}]),
        description(features=description()["features"] * 2),
        description(target={"name": "y", "classes": [None]}),
        description(target={"name": "", "classes": ["a"]}),
        description(target={"name": "y", "categories": ["a"]}),
        with_number(name=1),
        with_number(fill=float("nan")),
        with_number(shift=10**400),
        with_number(shift=True),
        with_number(scale=0.0),
        with_number(scale=-1.0),
        with_number(scale="1"),
    ],
)
def test_hostile_descriptions_are_refused(hostile):
    TableEncoder.from_dict(description())
    with pytest.raises(ModelFileError, match="description of its table is damaged"):
        TableEncoder.from_dict(hostile)


def test_a_target_is_described_without_gaps_which_it_has_none_of():
    table = {"x": np.array([1.0, 2.0, np.nan, 4.0]), "y": np.array([1.0, 2.0, 3.0, 6.0])}
    encoder = TableEncoder.learn(table, "y", ["x"])
    feature, target = (row.done for row in encoder.describe())
    assert feature.endswith("/ 1.08972, 2 where missing")
    assert target == "(value - 3) / 1.87083"
