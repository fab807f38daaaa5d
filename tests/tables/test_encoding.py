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


def test_numbers_that_overflow_are_refused_by_name():
    with pytest.raises(ValueError, match="column 'a' are too large"):
        Number.learn("a", numbers(1e308, -1e308, 1e308, 1e308), "standard")


def test_categories_are_one_hot_and_missing_is_one_of_them():
    categories = Categories.learn("a", texts("red", None, "blue"))
    assert categories.categories == ("blue", "red", None)
    assert categories.encode(texts(None, "blue")).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_unseen_categories_are_zeros_and_reported():
    categories = Categories.learn("a", texts("red", "blue"))
    with pytest.warns(TableWarning, match=r"'a': 2 row\(s\).*'pink', a missing value"):
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
