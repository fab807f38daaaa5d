"""Permutation importance, against what a known model must lose."""

from __future__ import annotations

import numpy as np
import pytest
from analysis.models import linear_model, mixed_model

from nnbackend.analysis import (
    TableRows,
    partial_dependence,
    permutation_importance,
    read_rows,
    row_contributions,
    score_model,
)
from nnbackend.errors import UnknownNameError
from nnbackend.tables.training import fit_table

pytest.importorskip("polars")


def test_a_column_without_weight_has_none_and_the_only_other_has_all():
    model, rows = linear_model([2.0, 0.0], noise=0.1)
    found = permutation_importance(model, rows, repeats=20)
    assert found.score == "rmse"
    assert found.base == pytest.approx(0.1, rel=0.2)
    first, second = found.columns
    assert (first.column, second.column) == ("a", "b")
    assert second.mean == second.std == 0.0
    # y - 2 a', a' independent of a: variance 2² + 2², and the noise.
    a = rows.table["a"]
    assert first.mean + found.base == pytest.approx(np.sqrt(8 * a.var() + 0.01), rel=0.05)
    assert 0 < first.std < 0.3
    assert first.mean == pytest.approx(np.mean(first.values))
    assert first.std == pytest.approx(np.std(first.values, ddof=1))


def test_a_column_with_a_weight_but_no_effect_on_the_target_is_within_its_spread():
    """The model is wrong to use it: shuffled or not, it is noise."""
    model, rows = linear_model([2.0, 0.3], rows=2000)
    y = 2.0 * rows.table["a"]
    found = permutation_importance(model, TableRows({**rows.table, "y": y}), repeats=10)
    important, useless = found.columns
    assert useless.column == "b"
    assert abs(useless.mean) < 3 * useless.std
    assert important.mean > 100 * abs(useless.mean)


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_classes_by_log_loss_and_by_accuracy():
    model, rows = mixed_model()
    scores = score_model(model, rows)
    for score in ("log_loss", "accuracy"):
        found = permutation_importance(model, rows, score=score, columns=["size", "day"])
        assert found.base == pytest.approx(scores[score])
        assert {column.column for column in found.columns} == {"size", "day"}
    # Worse means a smaller accuracy: with the targets that it predicts, every shuffle can only harm.
    said = np.array(model.predict(rows.table), object)
    same = TableRows({**rows.table, "y": said})
    found = permutation_importance(model, same, score="accuracy")
    assert found.base == 1.0
    assert all(value >= 0 for column in found.columns for value in column.values)
    assert found.columns[0].mean > 0.05


def test_the_seed_says_what_is_shuffled_and_a_column_does_not_depend_on_the_others():
    model, rows = linear_model([2.0, 1.0, 0.5])
    found = permutation_importance(model, rows, seed=3)
    assert found == permutation_importance(model, rows, seed=3)
    assert found != permutation_importance(model, rows, seed=4)
    alone = permutation_importance(model, rows, seed=3, columns=["c"])
    assert alone.columns == found.columns[-1:]
    assert permutation_importance(model, rows, max_rows=50).rows == 50


def test_frames_are_read_as_the_model_reads_them():
    polars = pytest.importorskip("polars")
    model, rows = linear_model([2.0, 1.0])
    frame = polars.DataFrame({**rows.table, "more": ["x"] * 200})
    assert permutation_importance(model, frame) == permutation_importance(model, rows)
    with pytest.warns(UserWarning, match=r"1 row without a value for the target"):
        read = read_rows(model, frame.with_columns(y=polars.Series([None, *range(199)])),
                         with_target=True)  # fmt: skip
    assert len(read.table["a"]) == 199


def test_what_cannot_be_measured_is_said():
    model, rows = linear_model([2.0, 1.0])
    with pytest.raises(UnknownNameError, match="column of the model"):
        permutation_importance(model, rows, columns=["z"])
    with pytest.raises(UnknownNameError, match="score of this model"):
        permutation_importance(model, rows, score="accuracy")
    with pytest.raises(ValueError, match="repeats must be 2 or more"):
        permutation_importance(model, rows, repeats=1)
    one = TableRows({name: column[:1] for name, column in rows.table.items()})
    with pytest.raises(ValueError, match="at least two rows"):
        permutation_importance(model, one)
    with pytest.raises(UnknownNameError):
        permutation_importance(model, TableRows({"a": rows.table["a"]}))


@pytest.mark.filterwarnings("ignore::nnbackend.tables.table.TableWarning")
def test_a_network_that_takes_numbers_and_indices():
    """A column of many categories goes to an embedding; it decides, the numbers do not."""
    random = np.random.default_rng(0)
    letter = random.choice(np.array(list("abcdefghijklmnop"), object), 400)
    y = np.array([float(ord(text)) for text in letter])
    table = {"letter": letter, "x": random.normal(size=400), "y": y}
    kinds = {"letter": "category", "x": "number"}
    fitted = fit_table(table, "y", kinds, recipe={"epochs": 20}, verbose=0)
    assert fitted.model.encoder.inputs.cardinalities == (17,)
    rows = TableRows(table)
    first, last = permutation_importance(fitted.model, rows, repeats=3).columns
    assert (first.column, last.column) == ("letter", "x")
    assert first.mean > 2 > 10 * abs(last.mean)
    curve = partial_dependence(fitted.model, rows, "letter", max_rows=50)
    expected = [float(ord(text)) for text in curve.values]
    np.testing.assert_allclose(curve.mean[:, 0], expected, atol=1.0)
    one = TableRows({name: column[:1] for name, column in table.items()})
    found = row_contributions(fitted.model, one, rows)
    assert found.columns[0].column == "letter"
    assert abs(found.residual) < 1e-4


def test_the_model_of_an_estimator():
    """Its frames are those of the estimator, with the target beside the features."""
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from nnbackend.estimators import TabularClassifier

    random = np.random.default_rng(0)
    X = pandas.DataFrame({"a": random.normal(size=200), "b": random.choice(["x", "y"], 200)})
    y = np.where(X["a"] > 0, 1, 0)
    fitted = TabularClassifier(epochs=5, random_state=0).fit(X, y)
    found = permutation_importance(fitted.model_, X.assign(target=y), score="accuracy")
    assert found.base == pytest.approx(fitted.score(X, y))
    assert found.columns[0].column == "a"
    assert found.columns[0].mean > 0.2
