"""``nnbackend train --schedule``: learning rates over a whole run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cli.commands import EXAM, PENGUINS, train_json

import nnbackend as nnb

# The learning rates after 1, 2, ... of 8 epochs of one step each, from a rate of 1.
RATES_OVER_A_RUN = {
    "constant": [1.0] * 8,
    "cosine": [0.5 + 0.5 * math.cos(math.pi * step / 8) for step in range(8)],
    "exponential": [0.01 ** (step / 8) for step in range(8)],
    "inverse-square-root": [(1 + step) ** -0.5 for step in range(8)],
    "linear": [1 - step / 8 for step in range(8)],
    "one-cycle": [nnb.schedules.OneCycle(1.0, 8)(step) for step in range(8)],
    "plateau": [1.0] * 8,
    "step": [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01],
}


ONE_STEP_AN_EPOCH = ["--target", "score", "--validation", "0", "--optimizer", "sgd", "--scale", "max",
                     "--learning-rate", "0.001", "--epochs", "8"]  # fmt: skip


def test_every_schedule_has_its_rates_in_a_test():
    from nnbackend.cli.schedule import SCHEDULES

    assert set(SCHEDULES) == set(RATES_OVER_A_RUN)


@pytest.mark.parametrize("schedule", RATES_OVER_A_RUN)
def test_a_schedule_lasts_as_long_as_the_run(schedule):
    result = train_json(EXAM, *ONE_STEP_AN_EPOCH, "--schedule", schedule)
    rates = np.divide(result["history"]["learning_rate"], 0.001)
    np.testing.assert_allclose(rates, RATES_OVER_A_RUN[schedule], rtol=1e-12)
    assert result["settings"]["schedule"] == schedule


def test_a_warm_up_is_a_share_of_the_run():
    def rates(*options):
        result = train_json(EXAM, *ONE_STEP_AN_EPOCH, *options)
        return np.divide(result["history"]["learning_rate"], 0.001)

    up = [0.25, 0.4375, 0.625, 0.8125]
    np.testing.assert_allclose(rates("--warmup", "0.5"), [*up, 1, 1, 1, 1])
    linear = rates("--warmup", "0.5", "--schedule", "linear")
    np.testing.assert_allclose(linear, [*up, 1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(rates("--warmup", "0"), np.ones(8))
    one_cycle = rates("--warmup", "0.5", "--schedule", "one-cycle")
    assert np.argmax(one_cycle) == 3


def test_a_plateau_lowers_the_learning_rate():
    options = ["--target", "species", "--optimizer", "sgd", "--learning-rate", "0", "--epochs", "13",
               "--schedule", "plateau"]  # fmt: skip
    assert train_json(PENGUINS, *options)["history"]["learning_rate"] == [0.0] * 13
    options[options.index("0")] = "1e-12"
    rates = train_json(PENGUINS, *options)["history"]["learning_rate"]
    np.testing.assert_allclose(rates, [1e-12] * 11 + [1e-13] * 2)
