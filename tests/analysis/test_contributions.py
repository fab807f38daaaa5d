"""Contributions of columns, against Shapley values from their definition."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from analysis.models import linear_model, mixed_model

from nnbackend.analysis import TableRows, row_contributions
from nnbackend.analysis.answers import answers_of, encode_rows
from nnbackend.errors import UnknownNameError

pytest.importorskip("polars")


def one(rows, number):
    return TableRows({name: column[number : number + 1] for name, column in rows.table.items()})


def exact(model, row, rows, place):
    """Shapley values by the sum over all sets of columns."""
    names = list(model.encoder.feature_kinds)
    count = len(next(iter(rows.table.values())))

    def value(columns):
        table = {**rows.table, **{n: np.repeat(row.table[n], count) for n in columns}}
        return answers_of(model, encode_rows(model, table))[:, place].mean()

    found = {}
    for name in names:
        others, total = [n for n in names if n != name], 0.0
        for size in range(len(names)):
            weight = factorial(size) * factorial(len(others) - size) / factorial(len(names))
            for chosen in combinations(others, size):
                total += weight * (value([*chosen, name]) - value(chosen))
        found[name] = total
    return found


def test_those_of_a_linear_model_are_exact():
    model, rows = linear_model([2.0, -0.5, 0.0], bias=3.0)
    found = row_contributions(model, one(rows, 7), rows, max_background=1000)
    assert found.answer == "y"
    for column in found.columns:
        values, weight = rows.table[column.column], {"a": 2.0, "b": -0.5, "c": 0.0}[column.column]
        assert column.value == values[7]
        assert column.contribution == pytest.approx(weight * (values[7] - values.mean()), abs=1e-12)
        assert column.standard_error < 1e-12
    assert abs(found.residual) < 1e-12
    sizes = [abs(column.contribution) for column in found.columns]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
@pytest.mark.parametrize("pairs", [2, 40])
def test_they_add_up_and_are_off_by_no_more_than_their_error(pairs):
    model, rows = mixed_model(("no", "perhaps", "yes"))
    model.network.load_state_dict({n: 2.5 * w for n, w in model.network.state_dict().items()})
    row = one(rows, 3)
    shares = model.predict_proba(row.table)
    for answer in model.classes:
        found = row_contributions(model, row, rows, answer=answer, pairs=pairs)
        assert found.background_rows == 60
        assert found.prediction == pytest.approx(shares[answer][0], abs=1e-12)
        assert found.base == pytest.approx(
            np.mean(model.predict_proba(rows.table)[answer]), abs=1e-12
        )
        total = sum(column.contribution for column in found.columns)
        assert total == pytest.approx(found.prediction - found.base, abs=1e-12)
        assert abs(found.residual) < 1e-12
        expected = exact(model, row, rows, model.classes.index(answer))
        errors = [
            (c.contribution - expected[c.column]) / max(c.standard_error, 1e-12)
            for c in found.columns
        ]
        assert 0 < np.abs(errors).max() < 5
        assert max(c.standard_error for c in found.columns) < (0.02 if pairs == 2 else 0.005)


def test_the_class_is_the_predicted_one_and_all_classes_cancel_out():
    model, rows = mixed_model()
    row = one(rows, 4)
    found = row_contributions(model, row, rows)
    assert found.answer == model.predict(row.table)[0]
    other = row_contributions(model, row, rows, answer={"no": "yes", "yes": "no"}[found.answer])
    by_name = {c.column: c.contribution for c in other.columns}
    for column in found.columns:
        assert by_name[column.column] == pytest.approx(-column.contribution, abs=1e-12)


def test_gaps_are_values_as_others():
    model, rows = mixed_model()
    found = row_contributions(model, one(rows, 0), rows)
    assert {c.column: c.value for c in found.columns}["size"] is None
    assert found.to_dict()["columns"][0].keys() == {
        "column", "value", "contribution", "standard_error"
    }  # fmt: skip


def test_the_seed_draws_orders_and_background():
    model, rows = mixed_model()
    answers = [
        row_contributions(model, one(rows, 1), rows, max_background=9, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
    assert answers[0].background_rows == 9


def test_one_column_takes_the_whole_difference():
    model, rows = linear_model([2.0])
    found = row_contributions(model, one(rows, 1), rows, max_background=1000)
    assert found.columns[0].contribution == pytest.approx(found.prediction - found.base)
    assert found.columns[0].standard_error < 1e-12


def test_what_cannot_be_explained_is_said():
    model, rows = linear_model([2.0, 1.0])
    with pytest.raises(ValueError, match="one row is explained at a time, got 200"):
        row_contributions(model, rows, rows)
    none = TableRows({name: column[:0] for name, column in rows.table.items()})
    with pytest.raises(ValueError, match="no background row"):
        row_contributions(model, one(rows, 1), none)
    with pytest.raises(ValueError, match="pairs must be 2 or more"):
        row_contributions(model, one(rows, 1), rows, pairs=1)
    with pytest.raises(UnknownNameError, match="answer"):
        row_contributions(model, one(rows, 1), rows, answer="z")
