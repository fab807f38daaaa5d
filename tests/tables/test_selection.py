"""Which rows and columns of a table are learned from."""

from __future__ import annotations

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tables.columns import numbers, texts

from nnbackend.tables.selection import (
    check_target,
    choose_features,
    infer_classes,
    known_target,
    split_rows,
    warn_rare_classes,
)
from nnbackend.tables.table import TableWarning


def notes(function, *arguments):
    """Return what a function returns, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function(*arguments)
    return found, [str(warning.message) for warning in caught]


def test_rows_without_a_target_are_dropped_and_counted():
    table = {"x": numbers(1, 2, 3), "y": texts("a", None, "b")}
    with pytest.warns(TableWarning, match=r"1 row without a value for the target 'y'"):
        assert known_target(table, "y")["x"].tolist() == [1, 3]
    with pytest.raises(ValueError, match="no row has a value for the target 'x'"):
        known_target({"x": numbers(np.nan)}, "x")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (numbers(1), "at least two rows with a target 'y'"),
        (numbers(5, 5, 5), "target 'y' has one value only, 5"),
        (texts("a", "a"), "target 'y' has one value only, a"),
        (texts(*(f"${n},000" for n in range(30))), "30 different texts in 30 rows.*have to repeat"),
    ],
)
def test_targets_from_which_nothing_can_be_learned(target, message):
    with pytest.raises(ValueError, match=message):
        check_target({"y": target}, "y")


def test_useless_columns_are_left_out_aloud():
    table = {
        "good": numbers(*range(200)),
        "constant": numbers(*[7] * 200),
        "again": texts(*["a"] * 200),
        "nothing": numbers(*[np.nan] * 200),
        "name": texts(*map(str, range(200))),
        "y": numbers(*range(200)),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert choose_features(table, "y") == ["good"]
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "columns with one value only left out: constant, again",
        "columns with no values left out: nothing",
        "columns with texts that hardly repeat (names, identifiers) left out: name (200 in 200 rows); "
        "--features or --text takes them",
    ]
    assert choose_features(table, "y", ["name"]) == ["name"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["goood"], "unknown column 'goood'; did you mean 'good'"),
        (["y"], "'y' is the target"),
        (["constant"], "'constant' cannot be a feature: it has one value only"),
    ],
)
def test_features_asked_for_are_checked(asked, message):
    table = {"good": numbers(1, 2), "constant": numbers(1, 1), "y": numbers(1, 2)}
    with pytest.raises(ValueError, match=message):
        choose_features(table, "y", asked)


@pytest.mark.parametrize("rows", [2, 5, 40])
def test_identifiers_in_small_tables_are_left_out(rows):
    names = texts(*(f"name {i}" for i in range(rows)), None, None)
    table = {"name": names, "good": numbers(*range(rows + 2)), "y": numbers(*range(rows + 2))}
    chosen, (said,) = notes(choose_features, table, "y")
    assert chosen == ["good"]
    assert f"name ({rows} in {rows} rows)" in said
    assert notes(choose_features, table, "y", None, ["name"]) == (["name", "good"], [])
    assert choose_features(table, "y", ["name"]) == ["name"]


def test_the_limit_of_categories_is_stated_and_can_be_changed():
    many = texts(*(f"city {i % 150}" for i in range(1200)))
    table = {"city": many, "good": numbers(*range(1200)), "y": numbers(*range(1200))}
    chosen, (said,) = notes(choose_features, table, "y")
    assert chosen == ["good"]
    assert said == ("columns with more than 100 different texts left out: city (150 in 1,200 rows); "
                    "--max-categories takes more")  # fmt: skip
    assert notes(choose_features, table, "y", None, (), 150) == (["city", "good"], [])
    assert notes(choose_features, table, "y", None, (), 149)[0] == ["good"]


def test_a_column_that_varies_by_rounding_has_one_value():
    column = numbers(*[0.3, 0.1 + 0.2] * 10)
    table = {"x": column, "good": numbers(*range(20)), "y": numbers(*range(20))}
    assert notes(choose_features, table, "y")[0] == ["good"]
    with pytest.raises(ValueError, match="one value only"):
        check_target({"y": column}, "y")
    far = numbers(*(1.6e9 + i for i in range(20)))
    assert notes(choose_features, table | {"x": far}, "y")[0] == ["x", "good"]


def test_a_target_alone_is_refused():
    with pytest.raises(ValueError, match="no column to predict 'y' from"):
        choose_features({"y": numbers(1, 2)}, "y")
    with pytest.raises(ValueError, match="no column to predict 'y' from"):
        choose_features({"x": numbers(1, 2), "y": numbers(1, 2)}, "y", [])


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 9),
)
def test_a_split_is_stratified_and_complete(counts, fraction, seed):
    classes = np.repeat(np.arange(len(counts)), counts)
    if max(counts) == 1 and fraction and len(counts) > 1:
        with pytest.raises(
            ValueError, match=r"classes has one row only.*no row is left to validate"
        ):
            split_rows(len(classes), fraction, seed, classes)
        return
    training, validation = split_rows(len(classes), fraction, seed, classes)
    assert sorted([*training, *validation]) == list(range(len(classes)))
    assert set(classes[training]) == set(range(len(counts)))
    wanted = min(max(round(fraction * len(classes)), 1), len(classes) - 1) if fraction else 0
    for number, count in enumerate(counts):
        found, share = np.sum(classes[validation] == number), count * wanted / len(classes)
        assert abs(found - share) < 1 or found == count - 1


def test_a_split_depends_on_the_seed_only():
    first, again, other = (split_rows(50, 0.2, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(split_rows(50, 0.0, 0)[1]) == 0


def test_a_target_of_0_and_1_is_one_of_two_classes():
    table, said = notes(infer_classes, {"y": numbers(0, 1, 1.0, -0.0)}, "y")
    assert table["y"].tolist() == ["0", "1", "1", "0"]
    assert said == ["the target 'y' holds 0 and 1, which are taken for two classes; "
                    "--task regression takes them for numbers"]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (numbers(*[1, 2, 3, 4, 5] * 3), "1, 2, 3, 4, 5"),
        (numbers(-1, 1, 1, -1), "-1, 1"),
        (numbers(0, 1, 2, 2, 1, 0), "0, 1, 2"),
        (numbers(*range(50), *range(50)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 40 more"),
    ],
)
def test_whole_numbers_that_may_be_classes_are_numbers_and_that_is_said(target, shown):
    table, (said,) = notes(infer_classes, {"y": target}, "y")
    assert table["y"] is target
    assert said.startswith(f"the target 'y' holds the whole numbers {shown}, which are taken for n")
    assert said.endswith("--task classification takes them for classes")


@pytest.mark.parametrize(
    "target",
    [
        numbers(0.0, 1.0, 0.5),
        numbers(*range(30)),
        numbers(*range(5, 50), *range(5, 50)),
        numbers(1, 2, 3),
        numbers(5, 5, 5),
        texts("0", "1"),
    ],
)
def test_nothing_is_said_of_other_targets(target):
    table, said = notes(infer_classes, {"y": target}, "y")
    assert table["y"] is target
    assert said == []


def test_classes_without_held_out_rows_are_said(recwarn):
    labels = np.array(["a"] * 8 + ["b", "c", "c"], dtype=object)
    warn_rare_classes(labels, np.array([0, 9]))
    warn_rare_classes(labels, np.array([], np.intp))
    warn_rare_classes(labels, np.array([0, 8, 9]))
    warn_rare_classes(labels, np.array([], np.intp), folds=3)
    said = [str(warning.message) for warning in recwarn]
    assert [text.partition(";")[0] for text in said] == [
        "classes of which no row is held out: 'b' (1 row)",
        "classes with one row only: 'b'",
    ]
