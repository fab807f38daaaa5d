"""Baselines on the rows that a model is compared on."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from analysis.models import linear_model, mixed_model

from nnbackend.analysis import TableRows, score_baselines, score_baselines_by_fold, score_model
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.table import TableWarning

pytest.importorskip("polars")


def halves(rows):
    count = len(next(iter(rows.table.values()))) // 2
    table = rows.table
    return (
        TableRows({n: c[:count] for n, c in table.items()}),
        TableRows({n: c[count:] for n, c in table.items()}),
    )


def test_a_linear_target_is_found_by_the_linear_model():
    pytest.importorskip("sklearn")
    model, rows = linear_model([2.0, -1.0], noise=0.1)
    training, holdout = halves(rows)
    scores = score_baselines(model.encoder, training, holdout)
    assert list(scores) == ["mean", "linear model", "gradient boosting"]
    truth = holdout.table["y"]
    mean = training.table["y"].mean()
    assert scores["mean"]["rmse"] == pytest.approx(np.sqrt(np.mean((truth - mean) ** 2)))
    assert scores["linear model"]["rmse"] == pytest.approx(0.1, rel=0.3)
    assert scores["linear model"]["rmse"] < scores["gradient boosting"]["rmse"]
    assert scores["gradient boosting"]["rmse"] < scores["mean"]["rmse"]
    assert scores["mean"].keys() == score_model(model, holdout).keys()


def test_baselines_of_folds_predict_rows_that_they_did_not_learn_from():
    pytest.importorskip("sklearn")
    model, rows = linear_model([2.0, -1.0], noise=0.1)
    count = len(rows.table["y"])
    order = np.random.default_rng(0).permutation(count)
    first, second = order[: count // 2], order[count // 2 :]
    divisions = [(first, second), (second, first)]
    scores = score_baselines_by_fold(model.encoder, rows, divisions, boosting=False)
    assert "gradient boosting" not in scores
    y = rows.table["y"]
    means = np.empty(count)
    means[second], means[first] = y[first].mean(), y[second].mean()
    assert scores["mean"]["rmse"] == pytest.approx(np.sqrt(np.mean((y - means) ** 2)))


def test_classes_with_categories_that_are_embedded_and_one_that_the_sample_lacks():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    letter = random.choice(np.array(list("abcdefghijklmnop"), object), 1000)
    low = np.array([text < "h" for text in letter])
    y = np.where(low, "low", "high").astype(object)
    y[0] = "never again"
    table = {"letter": letter, "x": random.normal(size=1000), "y": y}
    encoder = TableEncoder.learn(table, "y", ["letter", "x"], "robust", max_one_hot=9)
    assert encoder.inputs.cardinalities == (17,)
    training, holdout = halves(TableRows(table))
    training = TableRows({n: c[1:] for n, c in training.table.items()})
    scores = score_baselines(encoder, training, holdout)
    assert scores["linear model"]["accuracy"] == 1.0
    assert scores["gradient boosting"]["accuracy"] > 0.9
    shares = np.mean(training.table["y"] == "high"), np.mean(training.table["y"] == "low")
    truth = holdout.table["y"]
    expected = -np.mean(np.where(truth == "high", np.log(shares[0]), np.log(shares[1])))
    assert scores["commonest class"]["log_loss"] == pytest.approx(expected)
    assert scores["commonest class"]["accuracy"] == pytest.approx(
        np.mean(truth == ("high" if shares[0] > shares[1] else "low"))
    )


def test_what_is_left_out_is_said(monkeypatch):
    model, rows = mixed_model()
    training, holdout = halves(rows)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.warns(TableWarning, match=r"left out of the baselines.*nnbackend\[sklearn\]"):
        scores = score_baselines(model.encoder, training, holdout)
    assert list(scores) == ["commonest class"]
    with pytest.warns(TableWarning) as caught:
        score_baselines(model.encoder, training, holdout, max_rows=20)
    assert "baselines learn from 20 of 30 training rows" in str(caught[0].message)
