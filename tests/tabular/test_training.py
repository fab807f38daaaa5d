"""Training by a recipe: the best epoch, folds, time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.callbacks import Callback
from nnbackend.tabular import (
    Columns,
    Part,
    Recipe,
    fit_folds,
    fit_network,
    offset_indices,
)
from nnbackend.tabular.training import shorten

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 3))
NUMBERS = (X[:, :1] - X[:, 1:2] + 0.5 * RNG.normal(size=(90, 1))).astype(np.float64)
CLASSES = (NUMBERS[:, 0] > 0).astype(np.int64) + (X[:, 2] > 1)
SMALL = Recipe(epochs=8, batch_size=32, hidden=(8,))
MODELS = [SMALL, replace(SMALL, model="realmlp-simple"), replace(SMALL, members=2),
          replace(SMALL, model="tabm", members=3)]  # fmt: skip


class Weights(Callback):
    """Keeps the weights after every epoch."""

    def start(self, run: Any) -> None:
        self.found: list[dict[str, Any]] = []

    def epoch_end(self, run: Any) -> None:
        self.found.append(run.network.state_dict())


def fit(y, recipe=SMALL, backend="numpy", **more):
    task = "classification" if y.ndim == 1 else "regression"
    outputs = 3 if y.ndim == 1 else 1
    settings = {
        "outputs": outputs,
        "recipe": recipe,
        "task": task,
        "backend": backend,
        "verbose": 0,
    }
    train, validation = Part(X[:60], y[:60]), Part(X[60:], y[60:])
    return fit_network(train, validation, Columns(3), **settings | more)


@pytest.mark.parametrize("recipe", MODELS, ids=["td", "td-s", "members", "tabm"])
@pytest.mark.parametrize("y", [NUMBERS, CLASSES], ids=["numbers", "classes"])
def test_the_best_epoch_is_kept_the_last_of_several(recipe, y):
    weights = Weights()
    trained = fit(y, recipe, callbacks=[weights])
    (history,) = trained.histories
    values = np.array(history["validation_loss"])
    best = np.flatnonzero(values == values.min())[-1]
    own, kept = trained.network.state_dict(), weights.found[best]
    assert set(own) == set(kept)
    last = max(int(name.split(".")[0]) for name in kept)
    (temperature,) = trained.temperatures or [1.0]
    for name, value in kept.items():
        by = temperature if int(name.split(".")[0]) == last else 1.0
        np.testing.assert_allclose(own[name], value / by, rtol=1e-6)


@pytest.mark.parametrize("recipe", MODELS, ids=["td", "td-s", "members", "tabm"])
def test_predictions_are_bounded_and_probabilities_sum_to_one(recipe):
    p = fit(CLASSES, recipe).network.predict(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    assert p.shape == (90, 3)
    found = fit(NUMBERS, recipe).network.predict(100.0 * X)
    assert found.shape == (90, 1)
    assert found.min() >= np.float32(NUMBERS[:60].min())
    assert found.max() <= np.float32(NUMBERS[:60].max())


@pytest.mark.parametrize("recipe", MODELS[:1] + MODELS[3:], ids=["td", "tabm"])
def test_backends_agree_and_seeds_repeat(backend64, recipe):
    recipe = replace(recipe, epochs=2)
    expected = fit(CLASSES, recipe, nnb.get_backend("numpy", precision="float64"))
    found = fit(CLASSES, recipe, backend64).network.predict(X)
    np.testing.assert_allclose(backend64.to_numpy(found), expected.network.predict(X), atol=1e-9)
    if backend64.name != "numpy":
        return
    again = fit(CLASSES, recipe, nnb.get_backend("numpy", precision="float64"))
    np.testing.assert_array_equal(again.network.predict(X), expected.network.predict(X))
    other = fit(CLASSES, recipe, backend64, seed=1).network.predict(X)
    assert np.abs(other - expected.network.predict(X)).max() > 1e-3


class ChangeSecond(Callback):
    """Begins with other weights of the second member."""

    def start(self, run: Any) -> None:
        state = run.network.state_dict()
        for name, value in state.items():
            if value.shape[0] == 2:
                state[name] = np.stack([value[0], 1.5 * value[1] + 0.1])
        run.network.load_state_dict(state)


def test_members_of_realmlp_are_independent():
    settings: dict[str, Any] = {"outputs": 1, "recipe": replace(SMALL, members=2, epochs=2),
                                "task": "regression", "verbose": 0}  # fmt: skip
    states = []
    for callbacks in ([], [ChangeSecond()]):
        # Without validation rows, by which one epoch of all members is chosen.
        trained = fit_network(Part(X, NUMBERS), None, Columns(3), callbacks=callbacks, **settings)
        states.append(trained.network.state_dict())
    assert len(states[0]) >= 8
    for name, value in states[0].items():
        assert value.shape[0] == 2
        np.testing.assert_allclose(value[0], states[1][name][0], rtol=1e-5, atol=1e-6)
        assert np.abs(value[1] - states[1][name][1]).max() > 1e-3
        if value.ndim == 3:
            assert np.abs(value[0] - value[1]).max() > 1e-3


def test_folds_predict_rows_that_they_did_not_see():
    parts = nnb.data.folds(len(X), 3, 0)
    settings: dict[str, Any] = {"outputs": 1, "recipe": replace(SMALL, epochs=2),
                                "task": "regression", "verbose": 0}  # fmt: skip
    weight = RNG.uniform(0.5, 2.0, len(X))
    rows = Part(X, NUMBERS, weight)
    trained, numbers, held_out = fit_folds(rows, iter(parts), Columns(3), seed=5, **settings)
    np.testing.assert_array_equal(numbers, np.arange(len(X)))
    alone = []
    for number, (training, others) in enumerate(parts):
        moved = Part(X, NUMBERS.copy(), weight)
        one = fit_network(moved.take(training), moved.take(others), Columns(3), seed=5 + number,
                          **settings)  # fmt: skip
        np.testing.assert_array_equal(held_out[others], one.network.predict(X[others]))
        alone.append(one.network.predict(X))
    np.testing.assert_allclose(
        trained.network.predict(X), np.mean(alone, axis=0), rtol=1e-5, atol=1e-6
    )
    assert len(trained.histories) == 3


def test_weights_choose_the_epoch_and_the_temperature():
    """Validation rows of weight 0 say nothing, whatever their targets are."""
    weight = np.where(np.arange(30) < 20, 1.0, 0.0)
    train = Part(X[:60], CLASSES[:60])
    settings: dict[str, Any] = {"outputs": 3, "recipe": SMALL, "task": "classification",
                                "verbose": 0}  # fmt: skip
    found = []
    for others in (CLASSES[60:], np.where(weight > 0, CLASSES[60:], 2 - CLASSES[60:])):
        trained = fit_network(train, Part(X[60:], others, weight), Columns(3), **settings)
        found.append(trained.network.predict(X))
    np.testing.assert_array_equal(*found)


def test_columns_of_many_categories_are_embedded():
    codes = RNG.integers(0, 12, size=(90, 2))
    x = {"numbers": X, "indices": offset_indices(codes, (12, 12))}
    part = Part(x, NUMBERS)
    rows = np.arange(90)
    trained = fit_network(part.take(rows[:60]), part.take(rows[60:]), Columns(3, 0, (12, 12)),
                          outputs=1, recipe=SMALL, task="regression", verbose=0)  # fmt: skip
    assert trained.network.predict(x).shape == (90, 1)


class Clock:
    """A clock that goes on by a step whenever it is asked."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize(
    ("step", "epochs"),
    # The trial asks at its beginning, at each of three epochs, and at its end: 4 steps, counted twice.
    [(0.0, 1000), (1.0, 92), (10.0, 2), (40.0, 1), (0.01, 1000)],
)
def test_schedules_are_shortened_to_the_time(step, epochs):
    rows, recipe = Part(X[:60], NUMBERS[:60]), replace(SMALL, epochs=1000)
    settings: dict[str, Any] = {"outputs": 1, "task": "regression", "clock": Clock(step)}
    found = shorten(recipe, 100.0, rows, Part(X[60:], NUMBERS[60:]), Columns(3), **settings)
    assert found == replace(recipe, epochs=epochs)


def test_a_trial_on_some_rows_counts_for_all():
    rows = Part(np.tile(X, (20, 1)), np.tile(NUMBERS, (20, 1)))  # 1800; 8 steps of 32 are a 7th
    settings: dict[str, Any] = {"outputs": 1, "task": "regression", "clock": Clock(1.0)}
    found = shorten(replace(SMALL, epochs=1000), 100.0, rows, None, Columns(3), **settings)
    assert found.epochs == int(92 / (1800 / 256))


def test_time_that_is_short_shortens_and_enough_changes_nothing():
    whole = fit(NUMBERS, replace(SMALL, epochs=3))
    enough = fit(NUMBERS, replace(SMALL, epochs=3), max_time=1000.0)
    np.testing.assert_array_equal(enough.network.predict(X), whole.network.predict(X))
    short = fit(NUMBERS, replace(SMALL, epochs=10**6), max_time=100.0, clock=Clock(10.0))
    assert len(short.histories[0]) == 2
    assert (short.planned_epochs, whole.planned_epochs) == ([2], [3])
    none = fit(CLASSES, replace(SMALL, epochs=10**6), max_time=1e-6)
    assert len(none.histories[0]) <= 1


def test_folds_share_the_time():
    parts = nnb.data.folds(len(X), 3, 0)
    settings: dict[str, Any] = {"outputs": 1, "recipe": replace(SMALL, epochs=10**6),
                                "task": "regression", "verbose": 0}  # fmt: skip
    clock = Clock(1.0)
    trained, *_ = fit_folds(
        Part(X, NUMBERS), parts, Columns(3), max_time=60.0, clock=clock, **settings
    )
    # The first has 20 seconds less twice the trial's four; what they leave goes to the others, for on
    # this clock the training itself takes no time.
    assert [len(history) for history in trained.histories] == [11, 17, 35]


def test_an_interrupted_trial_interrupts_the_training():
    class Interrupted(Clock):
        def __call__(self) -> float:
            if self.now >= 4.0:
                raise KeyboardInterrupt
            return super().__call__()

    with pytest.raises(KeyboardInterrupt):
        fit(NUMBERS, replace(SMALL, epochs=10), max_time=100.0, clock=Interrupted(1.0))
