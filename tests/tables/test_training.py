"""Training on tables: rows, targets, weights, folds."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nnbackend.tables import choose_kinds
from nnbackend.tables.table import TableWarning
from nnbackend.tables.training import (
    _warn_of_time,
    choose_target_scale,
    encode_rows,
    fit_table,
)
from nnbackend.tabular import Recipe

pytestmark = pytest.mark.filterwarnings("ignore::nnbackend.tables.TableWarning")

N = 60
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=N), RNG.normal(size=N)
SMALL = Recipe(epochs=2, batch_size=32, hidden=(8,))
QUICK: dict[str, Any] = {"recipe": {"epochs": 2, "hidden": (8,)}, "verbose": 0}


def texts(values: Any) -> Any:
    return np.array([*values], dtype=object)


def table(**more: Any) -> dict[str, Any]:
    return {"a": A, "b": B, "c": texts(("u", "v", "w") * 20), **more}


def fit(columns: dict[str, Any], target: str = "y", **more: Any) -> Any:
    kinds = choose_kinds(columns, target=target)
    return fit_table(columns, target, kinds, **QUICK | more)


def test_rows_are_divided_in_proportion_and_the_encoder_learns_from_those_that_train():
    y = texts(["p"] * 45 + ["q"] * 14 + ["r"])  # one row of r, which trains
    columns = table(y=y)
    kinds = choose_kinds(columns, target="y")
    rows = encode_rows(columns, "y", kinds, SMALL, validation=0.2, seed=3)
    assert sorted([*rows.training, *rows.held_out]) == list(range(N))
    assert len(rows.held_out) == 12
    assert N - 1 in rows.training
    assert np.sum(y[rows.held_out] == "q") in (2, 3)
    moved = {**columns, "a": A.copy()}
    moved["a"][rows.held_out] += 1e6  # what is held out teaches nothing
    again = encode_rows(moved, "y", kinds, SMALL, validation=0.2, seed=3)
    assert again.encoder.features == rows.encoder.features


def test_folds_need_rows_and_use_all_of_them():
    columns = table(y=A + B)
    kinds = choose_kinds(columns, target="y")
    recipe = Recipe(folds=3, hidden=(8,))
    rows = encode_rows(columns, "y", kinds, recipe, validation=0.2, seed=0)
    assert (len(rows.training), len(rows.held_out), rows.validation) == (N, 0, None)
    with pytest.raises(ValueError, match="61 folds need as many rows, and there are 60"):
        encode_rows(columns, "y", kinds, Recipe(folds=61), validation=0.2, seed=0)


def test_few_rows_all_train():
    columns = {name: column[:9] for name, column in table(y=A + B).items()}
    kinds = choose_kinds(columns, target="y")
    with pytest.warns(TableWarning, match="9 rows are too few to hold some out"):
        rows = encode_rows(columns, "y", kinds, SMALL, validation=0.2, seed=0)
    assert rows.validation is None
    assert fit(columns).held_out is None


def test_a_column_of_many_categories_alone_is_one_hot():
    columns = {"k": texts(f"k{i % 20}" for i in range(N)), "y": A}
    fitted = fit(columns)
    assert fitted.model.encoder.width == 20
    assert len(fitted.model.predict({"k": ["k1", "other"]})) == 2


@pytest.mark.parametrize("model", ["realmlp", "realmlp-simple", "tabm"])
def test_many_categories_are_embedded_by_realmlp_alone(model):
    columns = table(k=texts(f"k{i % 20}" for i in range(N)), y=A)
    fitted = fit(columns, model=model)
    assert fitted.model.encoder.inputs.cardinalities == ((21,) if model == "realmlp" else ())
    assert len(fitted.model.predict({n: columns[n][:3] for n in "abck"})) == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [(np.ones(N), "has one value only"), (texts(["x"] * N), "has one class only"),
     (texts(f"n{i}" for i in range(N)), "has 60 classes in 60 rows"),
     (np.where(A > 1, np.nan, A), "the target 'y' has no value in"),
     (texts([None, "p", "q"] * 20), "the target 'y' has no value in 20 rows")],
)  # fmt: skip
def test_targets_that_teach_nothing_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        fit(table(y=target))


def test_two_rows_of_two_classes_are_enough():
    fitted = fit({"a": np.array([0.0, 1.0]), "y": texts("pq")})
    assert fitted.model.classes == ("p", "q")


def test_what_is_done_to_the_columns_is_said_once():
    gaps = np.where(np.arange(N) % 9 == 0, np.nan, A)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit({"a": gaps, "y": np.exp(2.0 * A)})  # two networks more decide how the target is scaled
    assert sum("missing numbers filled" in str(warning.message) for warning in caught) == 1


def test_a_heavy_tail_is_learned_as_logarithm_and_a_normal_target_is_not():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 400))
    columns = {"a": a, "b": b, "y": np.exp(2.0 * a + 0.5 * b)}
    kinds = {"a": "number", "b": "number"}
    settings: dict[str, Any] = {"validation": 0.2, "seed": 0, "weight": None}
    recipe = Recipe(batch_size=64, hidden=(16,))
    with pytest.warns(TableWarning, match="the target 'y' has a heavy tail: its logarithm is"):
        assert choose_target_scale(columns, "y", kinds, recipe, **settings) == "log"
    columns["y"] = 2.0 * a + b
    assert choose_target_scale(columns, "y", kinds, recipe, **settings) == "standard"
    columns["y"] = np.exp(2.0 * a)
    settings["validation"] = 0.0  # nothing to decide by
    assert choose_target_scale(columns, "y", kinds, recipe, **settings) == "standard"


@pytest.mark.parametrize("scale", ["standard", "log", "quantile", "none", "max"])
def test_predictions_are_in_the_target_s_units_and_range(scale):
    y = np.exp(A) * 1000.0 - 500.0
    fitted = fit(table(y=y), target_scale=scale)
    training = y[fitted.rows.training]
    far = {"a": 1e3 * A, "b": -1e3 * B, "c": texts(("u", "v", "w") * 20)}
    found = fitted.model.predict(far)
    slack = 1e-5 * np.ptp(training)
    assert found.min() >= training.min() - slack
    assert found.max() <= training.max() + slack


def test_held_out_outputs_are_those_of_the_network():
    fitted = fit(table(y=texts("pq"[int(a > 0)] for a in A)))
    rows, outputs = fitted.held_out
    taken = {n: c[rows] for n, c in table().items()}
    np.testing.assert_allclose(outputs, fitted.model.outputs(fitted.model.encode(taken)), rtol=1e-6)


def test_every_row_is_held_out_of_one_fold_whatever_the_classes_are():
    y = texts(["p"] * 40 + ["q"] * 19 + ["r"])  # r has fewer rows than there are folds
    fitted = fit(table(y=y), recipe={"epochs": 2, "hidden": (8,), "folds": 3})
    rows, outputs = fitted.held_out
    np.testing.assert_array_equal(rows, np.arange(N))
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, rtol=1e-5)
    assert fitted.model.classes == ("p", "q", "r")
    assert len(fitted.trained.histories) == 3


@pytest.mark.parametrize("weight", [None, RNG.uniform(0.5, 2.0, N)])
def test_class_weights_are_weights_of_rows(weight):
    y = texts("pq"[int(a > 0.8)] for a in A)
    each = np.ones(N) if weight is None else weight
    balanced = np.where(y == "p", each.sum() / (2 * each[y == "p"].sum()),
                        each.sum() / (2 * each[y == "q"].sum()))  # fmt: skip
    frame = {n: c[:10] for n, c in table().items()}
    for given, factors in (("balanced", balanced), ({"q": 5.0}, np.where(y == "q", 5.0, 1.0))):
        found = fit(table(y=y), class_weight=given, weight=weight).model.predict_proba(frame)
        expected = fit(table(y=y), weight=factors * each).model.predict_proba(frame)
        np.testing.assert_array_equal(found["p"], expected["p"])


@pytest.mark.parametrize(
    ("given", "message"),
    [({0: 5.0}, "class_weight names 0, and the classes are p, q"), ("even", "balanced"),
     ({"p": -1.0}, "class_weight\\['p'\\]")],
)  # fmt: skip
def test_class_weights_of_no_class_are_refused(given, message):
    y = texts("pq"[int(a > 0)] for a in A)
    with pytest.raises(ValueError, match=message):
        fit(table(y=y), class_weight=given)
    with pytest.raises(ValueError, match="the target holds numbers"):
        fit(table(y=A), class_weight="balanced")


def test_it_is_said_what_there_was_no_time_for(recwarn):
    one, none = [{"loss": 1.0}], []  # stand for histories
    for planned, history in ((2, one), (1, one), (1, none)):
        _warn_of_time(SimpleNamespace(planned_epochs=[planned, 2], histories=[history, one]),
                      Recipe(epochs=2), 3.0)  # fmt: skip
    assert [str(warning.message) for warning in recwarn] == [
        "in 3 s there is time for 1 of 2 epochs",
        "the time of 3 s was up before the first epoch ended: the model is hardly trained",
    ]


def test_all_training_shares_the_time():
    y = np.exp(2.0 * A)  # with a heavy tail, so that two networks more are trained
    fitted = fit(table(y=y), max_time=1.0, recipe={"epochs": 10**6, "hidden": (8,), "folds": 2})
    with pytest.warns(TableWarning, match=r"in 0.3 s there is time for [0-9]+ of 1000000 epochs"):
        fit(table(y=A), max_time=0.3, recipe={"epochs": 10**6, "hidden": (8,)})
    seconds = sum(sum(history["seconds"]) for history in fitted.trained.histories)
    assert all(len(history) < 10**6 for history in fitted.trained.histories)
    assert seconds < 20.0  # which a busy machine keeps, too
