"""Networks of folds that predict together."""

from __future__ import annotations

import numpy as np
import pytest

from nnbackend.callbacks import Callback
from nnbackend.tables.training import fit_table

ROWS = 90


def table(task, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=ROWS)
    city = np.array([f"city {i % 12}" for i in range(ROWS)], dtype=object)  # an embedding
    target = 3.0 * x + 10.0 + rng.normal(0, 0.1, ROWS)
    if task == "classification":
        target = np.array(["a", "b", "c"], dtype=object)[(x > -0.5) * 1 + (x > 0.5)]
    return {"x": x, "city": city, "y": target}


def fit(task, model="realmlp", folds=3, **more):
    kinds = {"x": "number", "city": "category"}
    recipe = {
        "epochs": 2,
        "folds": folds,
        "hidden": (8,),
        "members": 4 if model == "tabm" else None,
    }
    return fit_table(table(task), "y", kinds, model=model, recipe=recipe, verbose=0, **more)


@pytest.mark.parametrize("model", ["realmlp", "tabm"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_what_joined_networks_are_said_to_reach_is_of_their_answers(task, model):
    fitted = fit(task, model)
    part, model = fitted.rows.part, fitted.model
    outputs = model.outputs(part.x)
    found = model.evaluate(part.x, part.y)
    if task == "classification":
        wanted = -np.mean(np.log(outputs[np.arange(ROWS), part.y]))
        assert found["accuracy"] == np.mean(outputs.argmax(axis=1) == part.y)
    else:
        wanted = np.mean((outputs - part.y) ** 2)
        spread = table(task)["y"].std()
        assert found["rmse"] == pytest.approx(np.sqrt(wanted) * spread, rel=1e-6)
    assert found["loss"] == pytest.approx(wanted, rel=1e-6)


def test_outputs_at_hand_are_evaluated_as_those_of_the_model():
    for task in ("classification", "regression"):
        fitted = fit(task, folds=1)
        part, model = fitted.rows.part, fitted.model
        wanted = model.evaluate(part.x, part.y)
        assert model.evaluate_outputs(model.outputs(part.x), part.y) == pytest.approx(
            wanted, rel=1e-5
        )


class Interrupting(Callback):
    """Ends a run as Ctrl-C does, in its second epoch, of the network with a number."""

    def __init__(self, number):
        self.number, self.run = number, -1

    def start(self, run):
        self.run += 1

    def epoch_start(self, run):
        if self.run == self.number and run.epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_network_is_the_last_one():
    fitted = fit("regression", callbacks=[Interrupting(1)])
    histories = fitted.trained.histories
    assert [len(history) for history in histories] == [2, 1]
    assert histories[1].stopped.startswith("interrupted")
    rows, outputs = fitted.held_out
    assert len(rows) == len(outputs) == 2 * ROWS // 3
    assert fitted.trained.best_epochs[1] == 1
