"""Recipes: what is chosen by the size of the table, and what they build."""

from __future__ import annotations

import pytest

from nnbackend.layers import Activation, MemberDense, RankOneDense, ScaledDense
from nnbackend.losses import EachMember, SoftmaxCrossEntropy
from nnbackend.tabular import Columns, Recipe, choose_recipe


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1, 64), (1_024, 64), (1_025, 128), (8_192, 128), (8_193, 256), (30_000, 256), (30_001, 512),
     (100_000, 512), (100_001, 1_024), (10**9, 1_024)],
)  # fmt: skip
def test_batches_grow_with_the_table(rows, size):
    assert choose_recipe(rows).batch_size == size


def test_presets():
    assert choose_recipe(2_000) == Recipe("realmlp-simple", epochs=128, batch_size=128)
    assert choose_recipe(2_001) == Recipe(batch_size=128, patience=20)
    assert choose_recipe(2_000, "regression") == Recipe(batch_size=128)
    assert choose_recipe(100, model="realmlp") == Recipe(batch_size=64)
    assert choose_recipe(10**6, preset="fast").model == "realmlp-simple"
    fast, best = choose_recipe(100, preset="fast"), choose_recipe(100, preset="best")
    assert (fast.model, fast.epochs, fast.folds) == ("realmlp-simple", 128, 1)
    assert (best.model, best.epochs, best.folds) == ("realmlp", 256, 5)
    tabm = [choose_recipe(100, model="tabm", preset=name) for name in ("fast", "default", "best")]
    assert [(r.epochs, r.members, r.folds, r.patience) for r in tabm] == [
        (30, 8, 1, 16), (60, 16, 1, 16), (120, 32, 5, 16)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "preset", "patience"),
    [(2_000, "default", None), (2_001, "default", 20), (2_001, "fast", 20), (2_001, "best", None)],
)
def test_runs_on_many_rows_end_early(rows, preset, patience):
    assert choose_recipe(rows, preset=preset).patience == patience


def test_what_is_given_is_not_chosen():
    given = choose_recipe(100, preset="best", folds=1, epochs=3, hidden=(8,), members=None)
    assert given == Recipe(epochs=3, batch_size=64, hidden=(8,), folds=1)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"folds": 0}, {"members": 0}, {"patience": 0},
     {"learning_rate": -1.0}, {"label_smoothing": 1.5}, {"hidden": (8, 0)}, {"epochs": 1.5}],
)  # fmt: skip
def test_wrong_numbers_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):
        Recipe(**wrong)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'tabm', got 'mlp'"):
        Recipe("mlp")
    with pytest.raises(ValueError, match="'best', got 'slow'"):
        choose_recipe(10, preset="slow")


def test_layers_optimizers_and_losses_are_those_of_the_model():
    columns = Columns(3, 2)
    for recipe, kind in ((Recipe(hidden=(8,)), ScaledDense),
                         (Recipe("realmlp-simple", hidden=(8,)), ScaledDense),
                         (Recipe("tabm", hidden=(8,), members=3), RankOneDense)):  # fmt: skip
        layers = recipe.build_layers(columns, 4, "classification", 10)
        assert any(isinstance(layer, kind) for layer in layers)
        assert isinstance(layers[-1], Activation)
        numbers = recipe.build_layers(columns, 1, "regression", 10)
        assert isinstance(numbers[-1], ScaledDense | MemberDense)
        recipe.build_optimizer(layers, "classification", 10)
    smoothed = Recipe(label_smoothing=0.2).build_loss("classification")
    assert smoothed == SoftmaxCrossEntropy(0.2)
    assert isinstance(Recipe(members=2).build_loss("regression"), EachMember)
    assert Recipe("tabm").member_count == 32
    assert Recipe().member_count is None
    assert [Recipe(m).embeds for m in ("realmlp", "realmlp-simple", "tabm")] == [True, False, False]
