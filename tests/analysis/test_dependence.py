"""Partial dependence, against models whose curve is known."""

from __future__ import annotations

import numpy as np
import pytest
from analysis.models import linear_model, mixed_model

import nnbackend as nnb
from nnbackend.analysis import TableRows, partial_dependence
from nnbackend.errors import UnknownNameError
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.model import TableModel

pytest.importorskip("polars")


def test_that_of_a_linear_model_is_its_line():
    model, rows = linear_model([2.0, -0.5], bias=3.0)
    found = partial_dependence(model, rows, "a")
    a, b = rows.table["a"], rows.table["b"]
    assert (found.kind, found.answers, found.rows) == ("number", ("y",), 200)
    assert len(found.values) == 20
    grid = np.array(found.values)
    np.testing.assert_allclose(found.mean[:, 0], 3 + 2 * grid - 0.5 * b.mean(), atol=1e-12)
    low, high = np.quantile(-0.5 * b, [0.1, 0.9])
    np.testing.assert_allclose(found.low[:, 0], 3 + 2 * grid + low, atol=1e-12)
    np.testing.assert_allclose(found.high[:, 0], 3 + 2 * grid + high, atol=1e-12)
    assert set(grid) <= set(a)
    assert np.quantile(a, 0.04) < grid.min() < np.quantile(a, 0.06)
    assert np.quantile(a, 0.94) < grid.max() < np.quantile(a, 0.96)


def test_few_values_are_all_taken():
    model, rows = linear_model([1.0, 1.0])
    table = {**rows.table, "a": np.tile([3.0, 1.0, np.nan, 2.0], 50)}
    assert partial_dependence(model, TableRows(table), "a").values == (1.0, 2.0, 3.0)


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_categories_and_dates_are_what_the_model_answers_with_them():
    model, rows = mixed_model(("no", "perhaps", "yes"))
    found = partial_dependence(model, rows, "color")
    assert found.kind == "category"
    assert set(found.values) == {"red", "green", None}
    assert found.mean.shape == (3, 3)
    np.testing.assert_allclose(found.mean.sum(axis=1), 1.0)
    for value, mean in zip(found.values, found.mean, strict=True):
        table = {**rows.table, "color": np.full(60, value, dtype=object)}
        shares = model.predict_proba(table)
        np.testing.assert_allclose(mean, [np.mean(shares[n]) for n in model.classes], atol=1e-12)
    dates = partial_dependence(model, rows, "day", points=5)
    assert dates.kind == "date"
    assert len(dates.values) == 5
    assert sorted(dates.values) == list(dates.values)
    assert set(dates.values) <= set(rows.table["day"])
    assert np.ptp(dates.mean[:, 0]) > 1e-3


def test_the_rows_are_drawn_by_seed():
    model, rows = linear_model([1.0, 1.0])
    means = [partial_dependence(model, rows, "a", max_rows=20, seed=s).mean for s in (1, 1, 2)]
    np.testing.assert_array_equal(means[0], means[1])
    assert (means[0] != means[2]).any()


def test_what_has_no_dependence_is_said():
    model, rows = linear_model([1.0, 1.0])
    with pytest.raises(UnknownNameError, match="column of the model"):
        partial_dependence(model, rows, "z")
    gone = TableRows({**rows.table, "a": np.full(200, np.nan)})
    with pytest.raises(ValueError, match="no value in these rows"):
        partial_dependence(model, gone, "a")
    texts = np.array([f"word{i} of a longer text" for i in range(40)], object)
    table = {"t": texts, "y": np.arange(40.0)}
    encoder = TableEncoder.learn(table, "y", {"t": "text"})
    net = nnb.Network([nnb.Dense(1)], input_shape=(encoder.width,), seed=0)
    with pytest.raises(ValueError, match="free text"):
        partial_dependence(TableModel(net, encoder, "mse"), TableRows(table), "t")
