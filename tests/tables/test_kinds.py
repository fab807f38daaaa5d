"""What columns hold: found, told, and said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tables.columns import numbers, texts

from nnbackend.errors import UnknownNameError
from nnbackend.tables.kinds import choose_kinds, find_kind, find_leaks
from nnbackend.tables.table import TableWarning

ROWS = 60
RNG = np.random.default_rng(0)


def repeated(*values):
    return texts(*(values[i % len(values)] for i in range(ROWS)))


COLUMNS = {
    "float": (RNG.normal(size=ROWS), "number"),
    "age": (numbers(*(i % 7 for i in range(ROWS))), "number"),
    "flag": (numbers(*(i % 2 for i in range(ROWS - 1)), np.nan), "boolean"),
    "day": (texts(*(f"2020-01-{1 + i % 28}" for i in range(ROWS))), "date"),
    "color": (repeated("red", "blue", None), "category"),
    "id": (numbers(*range(5, 5 + ROWS)), "identifier"),
    "CustomerID": (numbers(*RNG.permutation(ROWS)), "identifier"),
    "count": (numbers(*range(ROWS)), "number"),  # not named like an identifier
    "sparse_id": (numbers(*(i * 10 for i in range(ROWS))), "number"),  # its gaps may mean something
    "float_id": (RNG.normal(size=ROWS), "number"),
    "name": (texts(*(f"n{i}" for i in range(ROWS))), "identifier"),
    "review": (texts(*(f"a text of words {i}" for i in range(ROWS))), "text"),
    "constant": (numbers(*[3.5] * ROWS), "constant"),
    "same": (texts(*["a"] * ROWS), "constant"),
    "one day": (texts(*["2020-01-02", "2020-01-02 00:00"] * (ROWS // 2)), "constant"),
    "some": (texts(*["a", None] * (ROWS // 2)), "category"),
    "empty": (texts(*[None] * ROWS), "empty"),
    "nan": (numbers(*[np.nan] * ROWS), "empty"),
    "größe": (RNG.normal(size=ROWS), "number"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_a_column_holds(name):
    column, expected = COLUMNS[name]
    assert find_kind(name, column).kind == expected


def test_columns_that_are_left_out_are_said():
    table = {name: column for name, (column, _) in COLUMNS.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kinds = choose_kinds(table, target="float")
    assert kinds == {name: kind for name, (_, kind) in COLUMNS.items() if name != "float"}
    assert [str(w.message) for w in caught] == [
        "columns with whole numbers that count the rows (identifiers) left out: id, CustomerID",
        "columns with texts that hardly repeat (names, identifiers) left out: name (60 in 60 rows)",
        "columns with one value only left out: constant, same",
        "columns with one date only left out: one day",
        "columns with no values left out: empty, nan",
    ]


def test_whole_numbers_are_categories_only_if_asked_and_said():
    rooms = numbers(*(i % 3 for i in range(ROWS)))
    assert choose_kinds({"rooms": rooms}) == {"rooms": "number"}
    with pytest.warns(TableWarning, match="whole numbers.*taken for categories: rooms"):
        assert choose_kinds({"rooms": rooms}, whole_categories=10) == {"rooms": "category"}
    # Few in relation to the rows, and few at all.
    assert choose_kinds({"rooms": rooms[:40]}, whole_categories=10) == {"rooms": "number"}
    assert choose_kinds({"rooms": rooms}, whole_categories=2) == {"rooms": "number"}
    assert choose_kinds({"rooms": rooms + 0.5}, whole_categories=10) == {"rooms": "number"}


def test_a_column_is_what_it_is_said_to_be():
    table = {name: column for name, (column, _) in COLUMNS.items()}
    given = {"id": "number", "name": "category", "review": "category", "age": "category",
             "day": "category", "color": "drop", "flag": "boolean", "some": "text"}  # fmt: skip
    picked = {name: table[name] for name in given}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kinds(picked, given) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"agee": "number"}, "unknown column 'agee'; did you mean 'age'"),
        ({"age": "numbr"}, "unknown kind of column 'age' 'numbr'; did you mean 'number'"),
        ({"age": "identifier"}, "unknown kind of column 'age'"),
        ({"color": "number"}, "'color' is to hold numbers, and holds texts, for instance 'red'"),
        ({"age": "boolean"}, "'age' is to hold booleans, and holds other numbers than 0 and 1"),
        ({"age": "date"}, "'age' is to hold dates, and holds numbers"),
        ({"color": "date"}, "'color' is to hold dates, and holds texts that are no dates"),
    ],
)
def test_kinds_that_cannot_be(given, message):
    table = {name: COLUMNS[name][0] for name in ("age", "color")}
    with pytest.raises(ValueError, match=message) as caught:
        choose_kinds(table, given)
    assert ("unknown" in message) == isinstance(caught.value, UnknownNameError)


def test_columns_that_give_the_target_away_are_said_and_stay():
    target = repeated("yes", "no", "maybe")
    table = {
        "same": target.copy(),
        "renamed": numbers(*(i % 3 for i in range(ROWS))),
        "finer": numbers(*(i % 6 for i in range(ROWS))),
        "flag": numbers(*(i % 2 for i in range(ROWS))),
        "noise": RNG.normal(size=ROWS),
        "gap": np.where(np.arange(ROWS) < 10, np.nan, np.arange(ROWS) % 3),
    }
    with pytest.warns(TableWarning, match="give the target away.*: same, renamed, gap;"):
        assert find_leaks(table, target) == ["same", "renamed", "gap"]
    assert find_leaks({name: column[:19] for name, column in table.items()}, target[:19]) == []


def test_numbers_that_hardly_repeat_are_leaks_if_they_order_the_rows_as_the_target_does():
    target = RNG.uniform(1, 1000, size=ROWS)
    gap = np.where(np.arange(ROWS) % 3, target, np.nan)
    table = {
        "copy": target.copy(),
        "in cents": np.round(target * 100),
        "logarithm": np.log(target),
        "left": 1000 - target,
        "gap": gap,
        "other": RNG.normal(size=ROWS),
        "noisy": target + RNG.normal(0, 20, size=ROWS),
        "coarse": np.round(target / 300),
    }
    leaks = ["copy", "in cents", "logarithm", "left", "gap"]
    with pytest.warns(TableWarning, match=f"one-to-one with it: {', '.join(leaks)};"):
        assert find_leaks(table, target) == leaks
    assert find_leaks(table, target, ["other", "noisy", "coarse"]) == []
    assert find_leaks({"few": 1.0 * (target > 500), "one": target * 0}, target) == []
    texts = np.array([f"{value:.3f} m" for value in target], dtype=object)
    assert find_leaks({"other": texts[::-1]}, texts) == []


def test_thousands_of_columns():
    table = {f"x{i}": column for i, column in enumerate(RNG.normal(size=(3000, 20)))}
    assert set(choose_kinds(table).values()) == {"number"}
