"""The encoder of features: described, compared with other rows, and kept in a file."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from tables.columns import numbers, texts

from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.tables.drift import warn_changes
from nnbackend.tables.features import FeatureEncoder
from nnbackend.tables.table import TableWarning


def mixed(rows=20):
    return {
        "x": numbers(*range(rows)),
        "gap": numbers(*range(rows - 1), np.nan),
        "c": texts(*("ab"[i % 2] for i in range(rows))),
        "many": texts(*(f"v{i}" for i in range(rows))),
        "when": texts(*(f"2020-01-{i + 1:02d}" for i in range(rows))),
        "words": texts(*(f"some words {i}" for i in range(rows))),
        "id": numbers(*range(rows)),
        "nothing": texts(*[None] * rows),
    }


KINDS = {
    "x": "number", "gap": "number", "c": "category", "many": "category", "when": "date",
    "words": "text", "id": "identifier", "nothing": "empty",
}  # fmt: skip


def learned(scale="robust", **options):
    return FeatureEncoder.learn(mixed(), KINDS, scale, max_one_hot=9, **options)


def test_each_column_is_described():
    rows = {row.column: row for row in learned().describe()}
    assert {
        name: (row.kind, row.width, row.missing, row.distinct) for name, row in rows.items()
    } == {
        "x": ("number", 1, 0, 20),
        "gap": ("number", 1, 1, 19),
        "c": ("category", 1, 0, 2),
        "many": ("category", 1, 0, 20),
        "when": ("date", 5, 0, 20),
        "words": ("text", 64, 0, 20),
        "id": ("left out", 0, 0, 20),
        "nothing": ("left out", 0, 20, 0),
    }
    assert rows["x"].done == "(value - 9.5) * 0.105263, clipped smoothly to 3, 0 where missing"
    assert rows["when"].done == "days, day sine, day cosine, weekday sine, weekday cosine"
    assert rows["c"].done == "a, b (signs, scaled)"
    assert rows["many"].done.endswith("(index for an embedding)")
    assert rows["id"].done == "identifier or too many values"
    assert str(rows["nothing"]) == "left out: no values; 20 missing, 0 different"
    bare = FeatureEncoder(learned().features)  # of a model of an earlier version
    assert bare.describe()[0].missing is None


@pytest.mark.parametrize("scale", ["standard", "robust"])
@pytest.mark.parametrize("indicators", [False, True])
@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_an_encoder_survives_json(scale, indicators):
    encoder = learned(scale, indicators=indicators)
    again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    assert again == encoder
    found, expected = again.encode(mixed()), encoder.encode(mixed())
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert found.numbers.shape == (20, encoder.width)
    assert found.cardinalities == (21,)


def test_rows_are_encoded_one_by_one_as_together():
    encoder, table = learned(), mixed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        whole = encoder.encode(table)
        for row in range(20):
            one = encoder.encode({name: column[[row]] for name, column in table.items()})
            np.testing.assert_array_equal(one.numbers[0], whole.numbers[row])
            np.testing.assert_array_equal(one.indices[0], whole.indices[row])
        none = encoder.encode({name: column[:0] for name, column in table.items()})
    assert none.numbers.shape == (0, encoder.width)
    assert none.indices.shape == (0, 1)


def test_nothing_is_learned_from_other_rows():
    table = mixed()
    encoder = learned()
    table["x"] = table["x"] * 1000
    table["c"] = texts(*"z" * 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        encoder.encode(table)
    assert encoder == learned()


def test_numbers_where_categories_were_are_texts():
    table = {"c": numbers(1, 2, 2, np.nan)}
    encoder = FeatureEncoder.learn(table, {"c": "category"}, "robust")
    assert encoder.features[0].categories == ("1", "2")
    found = encoder.encode({"c": texts("1", "2.0", "2", None)}).numbers
    np.testing.assert_array_equal(found, encoder.encode(table).numbers)


def test_a_column_that_does_not_vary_in_the_training_rows_is_left_out_aloud():
    table = {"when": texts("2020-01-02", None), "c": texts(None, None), "x": numbers(1, 2)}
    kinds = {"when": "date", "c": "category", "x": "number"}
    with pytest.warns(TableWarning, match="does not vary in the training rows") as caught:
        encoder = FeatureEncoder.learn(table, kinds, "robust")
    assert len(caught) == 2
    assert [feature.name for feature in encoder.features] == ["x"]
    with pytest.raises(ValueError, match="no column is left"):
        FeatureEncoder.learn(table, {"when": "drop"})
    with pytest.raises(UnknownNameError, match="scale 'robus'; did you mean 'robust'"):
        FeatureEncoder.learn(table, kinds, "robus")
    with pytest.raises(UnknownNameError, match="column 'y'"):
        FeatureEncoder.learn(table, {"y": "number"})


def test_changes_are_found_and_the_large_ones_said():
    encoder, table = learned(), mixed()
    assert encoder.find_changes(table) == []
    table["x"] = np.where(np.arange(20) < 10, 25.0, table["x"])
    table["gap"] = np.where(np.arange(20) < 10, np.nan, table["gap"])
    table["many"] = texts(*(f"v{i + 5}" for i in range(20)))
    table["when"] = texts("2030-01-01", *table["when"][1:])
    changes = {(change.column, change.what): change for change in encoder.find_changes(table)}
    assert changes.keys() == {("x", "outside"), ("gap", "missing"), ("many", "unseen"),
                              ("when", "outside")}  # fmt: skip
    outside, gap = changes["x", "outside"], changes["gap", "missing"]
    assert (outside.rows, outside.share) == (10, 0.5)
    assert outside.furthest == pytest.approx(6 / 19)
    assert (gap.rows, gap.share, gap.training_share) == (11, 0.55, 0.05)
    unseen = changes["many", "unseen"]
    assert (unseen.rows, unseen.values) == (5, ("v20", "v21", "v22", "v23", "v24"))
    assert changes["when", "outside"].furthest > 100
    assert all(change.is_large for change in changes.values())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_changes(changes.values())
    assert [str(w.message) for w in caught] == [
        "values far or often outside the range of the training rows: x (10 rows), when (1 row)",
        "more values missing than in the training rows: gap (55%, in training 5%)",
    ]


def test_small_changes_are_facts_and_no_warnings():
    encoder, table = learned(), mixed()
    table = {name: np.tile(column, 5) for name, column in table.items()}
    table["x"][0] = 20.0
    table["gap"][:3] = np.nan
    changes = encoder.find_changes(table)
    assert [(change.column, change.is_large) for change in changes] == [
        ("x", False),
        ("gap", False),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_changes(changes)
    del table["x"]
    table["many"] = np.array([], dtype=object)
    assert [change.column for change in encoder.find_changes(table)] == ["gap"]


def described(**changes: Any) -> dict[str, Any]:
    return learned(indicators=True).to_dict() | changes


def feature(**changes: Any) -> dict[str, Any]:
    return described(features=[changes])


ROBUST = {"encoding": "robust_categories", "name": "c", "categories": ["a", "b", "d"]}
PART = {"encoding": "robust_number", "name": "days", "center": 0.0, "factor": 1.0}
MOMENT = {"encoding": "moment", "name": "t", "day_first": False, "parts": [PART]}
SUMMARY = learned().to_dict()["columns"][0]


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        described(more=1),
        described(features=[]),
        feature(encoding="moment", name="t"),
        feature(encoding=["moment"], name="t"),
        feature(encoding="log", name="t", shift=0.0, scale=1.0),
        feature(encoding="robust_number", name="x", center=0.0, factor=-1.0),
        feature(encoding="robust_number", name="x", center=float("nan"), factor=1.0),
        feature(encoding="words", name="x", width=10**9),
        feature(encoding="words", name="x", width=0),
        feature(encoding="embedding", name="x", categories=[None]),
        feature(encoding="embedding", name="x", categories=[]),
        feature(**ROBUST, centers=[0.0], factors=[1.0]),
        feature(**ROBUST, centers=[0.0] * 3, factors=[1.0] * 2),
        feature(**ROBUST | {"categories": ["a", "b"]}, centers=[0.0] * 2, factors=[1.0] * 2),
        feature(**MOMENT | {"parts": []}),
        feature(**MOMENT | {"parts": [PART, PART]}),
        feature(**MOMENT | {"parts": [PART | {"name": "century"}]}),
        feature(**MOMENT | {"day_first": 1}),
        described(features=[PART | {"name": "x"}] * 2),
        described(features=[{"encoding": "missing", "name": "x"}] * 2),
        described(columns=[SUMMARY, SUMMARY]),
        described(columns=[SUMMARY | {"kind": "other"}]),
        described(columns=[SUMMARY | {"missing": 21}]),
        described(columns=[SUMMARY | {"rows": -1}]),
        described(columns=[SUMMARY | {"low": float("inf")}]),
        described(columns=[SUMMARY | {"name": ""}]),
    ],
)
def test_hostile_descriptions_are_refused(hostile):
    FeatureEncoder.from_dict(described())
    FeatureEncoder.from_dict(feature(**MOMENT))
    FeatureEncoder.from_dict(feature(**ROBUST, centers=[0.0] * 3, factors=[1.0] * 3))
    with pytest.raises(ModelFileError, match="description of its features is damaged"):
        FeatureEncoder.from_dict(hostile)


HOSTILE = (
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    -1e308,
    10**30,  # JSON has whole numbers of any size
    5e-324,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    {},
    [[]],
)


def leaves(value: Any, path: tuple = ()):
    """Yield the paths of all lists, tables and plain values in a description."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(
        value, list) else ()  # fmt: skip
    for key, child in children:
        yield from leaves(child, (*path, key))


def test_whatever_stands_in_a_description_it_is_refused_or_encodes():
    """Each value of a description is replaced by each hostile one."""
    table = {name: column[:3] for name, column in mixed().items()}
    plain = json.dumps(learned(indicators=True).to_dict())
    refused = encoded = 0
    for path in leaves(json.loads(plain)):
        for hostile in HOSTILE if path else ():
            description = json.loads(plain)
            inner = description
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = hostile
            try:
                encoder = FeatureEncoder.from_dict(description)
            except ModelFileError:
                refused += 1
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TableWarning)
                try:
                    found = encoder.encode(table)
                except UnknownNameError:  # another name of a column
                    continue
                encoder.find_changes(table)
            assert [str(row) for row in encoder.describe()]
            assert np.isfinite(found.numbers).all(), (path, hostile)
            encoded += 1
    assert refused > 1000
    assert encoded > 100
