"""Rows mixed after they were encoded are what encoding mixed rows gives."""

from __future__ import annotations

import numpy as np
import pytest

from nnbackend.analysis import TableRows
from nnbackend.analysis.answers import columns_of, encode_rows, outputs_of, sample_rows
from nnbackend.analysis.inputs import copy_inputs, mix_inputs, owners_of, put_column
from nnbackend.tables.table import take_rows
from nnbackend.tables.training import fit_table

pytest.importorskip("polars")
pytestmark = pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
SHUFFLE = np.random.default_rng(1).permutation(60)


@pytest.fixture(scope="module")
def fitted():
    """A model of columns of every kind: numbers with gaps, categories, an embedding, dates, words."""
    random = np.random.default_rng(0)
    size = random.normal(size=60)
    size[::7] = np.nan
    letters = np.array(list("abcdefghijklmnop"), object)
    table = {
        "day": np.array([f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(60)], object),
        "letter": random.choice(letters, 60),
        "size": size,
        "words": np.array([f"one {i} two {i * i} three" for i in range(60)], object),
        "color": random.choice(np.array(["red", "green", "blue", None], object), 60),
        "other": random.choice(letters[:12], 60),
        "y": random.normal(size=60),
    }
    kinds = {"day": "date", "letter": "category", "size": "number", "words": "text",
             "color": "category", "other": "category"}  # fmt: skip
    model = fit_table(table, "y", kinds, recipe={"epochs": 1}, verbose=0).model
    assert len(model.encoder.inputs.cardinalities) == 2
    return model, TableRows(table).table


def test_outputs_are_those_of_the_model(fitted):
    model, table = fitted
    found = outputs_of(model, encode_rows(model, table))
    np.testing.assert_array_equal(found, model.outputs(model.encoder.encode_features(table)))


def test_a_column_taken_from_other_rows(fitted):
    model, table = fitted
    inputs, columns = encode_rows(model, table), columns_of(model)
    owners = owners_of(model, columns)
    assert set(columns) == set(table) - {"y"}
    for i, name in enumerate(columns):
        mixed = copy_inputs(inputs)
        put_column(mixed, inputs, SHUFFLE, owners, i)
        expected = encode_rows(model, {**table, name: table[name][SHUFFLE]})
        np.testing.assert_array_equal(mixed.numbers, expected.numbers)
        np.testing.assert_array_equal(mixed.indices, expected.indices)
        changed = (mixed.numbers != inputs.numbers).any() or (mixed.indices != inputs.indices).any()
        assert changed, name


def test_columns_by_a_mask(fitted):
    model, table = fitted
    columns = columns_of(model)
    one = take_rows(table, slice(3, 4))
    mask = np.random.default_rng(2).random((60, 2, len(columns))) < 0.5
    mixed = mix_inputs(
        mask, encode_rows(model, one), encode_rows(model, table), owners_of(model, columns)
    )
    rows = np.repeat(np.arange(60), 2)
    chosen = mask.reshape(120, -1)
    expected = encode_rows(
        model,
        {n: np.where(chosen[:, i], table[n][3], table[n][rows]) for i, n in enumerate(columns)},
    )
    np.testing.assert_array_equal(mixed.numbers, expected.numbers)
    np.testing.assert_array_equal(mixed.indices, expected.indices)


def test_a_sample_is_in_order_and_without_repeats():
    table = {"a": np.arange(100.0)}
    found = sample_rows(table, 10, 3, "x")["a"]
    assert len(found) == 10
    assert (np.diff(found) > 0).all()
    assert (sample_rows(table, 10, 4, "x")["a"] != found).any()
    assert sample_rows(table, 100, 3, "x") is table
