"""Checkpoints: what is in them, and that a run goes on from them as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Checkpoint, EarlyStopping, Lambda, LearningRateLog

X, Y = rows((23, 3)), rows((23, 1), 1)
LABELS = (Y[:, 0] > 0).astype(int)
WEIGHT = np.linspace(0.0, 2.0, 23)


def network(backend="numpy", **given):
    layers = [nnb.Dense(5, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(1)]
    return nnb.Network(layers, backend=backend, input_shape=3, **{"seed": 3, **given})


def weights(net):
    return host(net.backend, net.state_dict())


def without_seconds(history):
    return {name: column for name, column in history.to_dict().items() if name != "seconds"}


class Cut(Exception):
    """Ends a run in the middle."""


def cut(epoch, step=None):
    """Return a callback that ends the run after an epoch, or a step of the next one."""

    def check(run):
        if (run.epoch, run.step if step else None) == (epoch, step):
            raise Cut

    return Lambda(batch_end=check) if step else Lambda(epoch_end=check)


def same_as_uninterrupted(backend, where, directory, exact, make=network, x=X, y=Y, **task):
    """Assert that a run which was cut and goes on ends as the one that was not."""
    task = {"epochs": 5, "batch_size": 5, "optimizer": nnb.Adam(0.02), **task}
    callbacks = task.pop("callbacks", list)
    whole, first, second = make(backend), make(backend), make(backend)

    def watching(folder, *others):
        # On a library with static shapes the last bits depend on which steps are run together.
        checkpoint = Checkpoint(directory / folder, every_steps=1 if where[1] else None)
        return [*callbacks(), checkpoint, *others]

    expected = whole.fit(x, y, callbacks=watching("whole"), **task)
    with pytest.raises(Cut):
        first.fit(x, y, callbacks=watching("cut", cut(*where)), **task)
    history = second.fit(x, y, callbacks=watching("cut"), resume=directory / "cut", **task)
    compare = assert_equal if exact else lambda a, b: assert_close(a, b, 1e-6)
    compare(weights(second), weights(whole))
    got, wanted = without_seconds(history), without_seconds(expected)
    assert got.keys() == wanted.keys()
    for name in wanted:
        compare(np.asarray(got[name]), np.asarray(wanted[name]))
    assert history.stopped == expected.stopped
    # The networks go on alike, too: with the same masks and orders.
    again = {**task, "epochs": 1}
    second.fit(x, y, **again), whole.fit(x, y, **again)
    compare(weights(second), weights(whole))


PLACES = [(2, None), (3, 2), (1, 1), (2, 4)]


def exact(variant):
    """Whether a library promises the same bits however its steps are divided among programs."""
    return variant.library in ("numpy", "array-api-strict")


@pytest.mark.parametrize("where", PLACES, ids=str)
def test_a_run_goes_on_as_if_nothing_had_happened(where, backend, variant, tmp_path):
    same_as_uninterrupted(
        backend, where, tmp_path, exact(variant), metrics=["mae"], validation_split=0.2
    )


TASKS = {
    "sgd": {"optimizer": nnb.SGD(0.05)},
    "momentum": {"optimizer": nnb.SGD(0.05, momentum=0.9)},
    "rmsprop": {"optimizer": "rmsprop"},
    "adamw": {"optimizer": "adamw"},
    "schedule": {"optimizer": nnb.Adam(lambda step: 0.05 / (1 + step))},
    "weights": {"sample_weight": WEIGHT, "metrics": ["r2"]},
    "in order": {"shuffle": False, "metrics": ["mae"]},
    "one batch": {"batch_size": None},
    "single rows": {"batch_size": 1},
    "classes": {"y": LABELS, "loss": "binary_cross_entropy", "metrics": ["accuracy"]},
    "validation data": {"validation_data": (X[:5], Y[:5])},
    "callbacks": {
        "validation_split": 0.3,
        "optimizer": nnb.SGD(1.0, momentum=0.9),
        "epochs": 12,
        "callbacks": lambda: [EarlyStopping(patience=4), LearningRateLog()],
    },
    "factor": {
        "callbacks": lambda: [
            Lambda(epoch_end=lambda run: setattr(run, "learning_rate_factor", 0.5**run.epoch))
        ]
    },
}


@pytest.mark.parametrize("where", [(2, None), (3, 1)], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_whatever_is_trained(task, where, backend64, variant, tmp_path):
    if task == "one batch" and where[1]:
        pytest.skip("an epoch of one step has no middle")
    same_as_uninterrupted(backend64, where, tmp_path, exact(variant), **TASKS[task])
