"""Early stopping: when a run ends, and with which weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from callbacks.runs import X, Y, network
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import EarlyStopping, Run
from nnbackend.errors import UnknownNameError


def falling(values, **arguments):
    """Run early stopping in a loop whose loss takes the given values; return history and callback."""
    stopping = EarlyStopping("loss", **arguments)
    with Run(network(), len(values), callbacks=[stopping]) as run:
        for epoch in run:
            weight = {"0.weight": np.full((3, 1), float(epoch)), "0.bias": np.zeros(1)}
            run.network.load_state_dict(weight)
            run.epoch_end(loss=values[epoch - 1])
    return run.history, stopping, run.network.state_dict()["0.weight"][0, 0]


def test_early_stopping_waits_and_goes_back_to_the_best():
    history, stopping, weight = falling([5, 4, 3, 3, 3.5, 2.9, 3, 3, 3, 1], patience=3)
    assert len(history) == 9
    assert history.stopped == "loss was best in epoch 6 (2.9), and no better for 3 epochs"
    assert (stopping.best, stopping.best_epoch, weight) == (2.9, 6, 6)


def test_early_stopping_may_ask_for_more_than_a_little():
    history, stopping, _ = falling([5, 4, 3.95, 3.9, 3.85, 3.8], patience=3, min_delta=0.25)
    assert (len(history), stopping.best_epoch) == (5, 2)
    history, _, _ = falling([5, 4, 3.95, 3.9, 3.85, 3.8], patience=3, min_delta=0.1)
    assert len(history) == 6  # 3.85 is better than 4 by enough


def test_early_stopping_without_restoring_keeps_the_last():
    assert falling([2, 1, 3, 3], patience=2, restore_best=False)[2] == 4
    assert falling([2, 1, 3, 3], patience=9)[2] == 2  # however the run ends


def test_early_stopping_on_what_is_to_be_large():
    history, stopping, _ = falling([1, 2, 1, 1], patience=2, mode="max")
    assert (len(history), stopping.best) == (4, 2)


def test_early_stopping_takes_no_nan_for_better():
    history, stopping, _ = falling([math.nan, math.nan, 1], patience=2)
    assert (len(history), stopping.best) == (2, None)
    assert "was never a number" in history.stopped


def test_early_stopping_on_validation_data(backend):
    net, stopping = network(backend), EarlyStopping("validation_mae", patience=2)
    history = net.fit(X, Y, epochs=200, batch_size=4, validation_split=0.3, metrics=["mae"],
                      optimizer=nnb.SGD(0.3), callbacks=[stopping])  # fmt: skip
    best = int(np.argmin(history["validation_mae"])) + 1
    assert stopping.best_epoch == best == len(history) - 2
    twin = network(backend)
    twin.fit(X, Y, epochs=best, batch_size=4, validation_split=0.3, metrics=["mae"],
             optimizer=nnb.SGD(0.3))  # fmt: skip
    assert_equal(host(backend, net.state_dict()), host(backend, twin.state_dict()))


def test_early_stopping_on_a_figure_that_is_not_there_names_those_that_are():
    with pytest.raises(UnknownNameError, match=r"validation_loss.*give validation_data") as caught:
        network().fit(X, Y, callbacks=[EarlyStopping()])
    assert "raised by the callback EarlyStopping" in caught.value.__notes__[0]
    with pytest.raises(UnknownNameError, match="did you mean 'loss'"):
        network().fit(X, Y, callbacks=[EarlyStopping("los", mode="min")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patience": 0}, "patience must be"),
        ({"min_delta": -1.0}, "min_delta must be"),
        ({"restore_best": 1}, "restore_best must be"),
        ({"mode": "least"}, "mode must be 'min' or 'max'"),
    ],
)
def test_early_stopping_refuses_what_makes_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        EarlyStopping(**arguments)


def test_of_equal_bests_the_first_or_the_last_is_the_best():
    values = [3.0, 2.0, 2.5, 2.0, 2.2, 2.3]
    for ties, epoch in (("first", 2), ("last", 4)):
        history, stopping, weight = falling(values, min_delta=0.1, ties=ties)
        assert (len(history), stopping.best, stopping.best_epoch, weight) == (6, 2.0, epoch, epoch)
    history, stopping, _ = falling([1.0, 2.0, *[2.0] * 5], patience=3, mode="max", ties="last")
    assert (len(history), stopping.best_epoch) == (7, 7)


def test_patience_may_grow_with_the_best_epoch():
    """RealMLP's rule, epoch > 2 * best + 2: with the best epoch 3 it is met in epoch 9."""
    history, stopping, _ = falling([3, 2, 1, *[2] * 9], patience=3, patience_factor=1.0)
    assert (len(history), stopping.best_epoch) == (9, 3)
    assert history.stopped == "loss was best in epoch 3 (1), and no better for 6 epochs"


def test_words_and_factors_out_of_range_are_refused():
    with pytest.raises(ValueError, match="ties must be 'first' or 'last'"):
        EarlyStopping(ties="later")
    with pytest.raises(ValueError, match="patience_factor must be a number, 0 or more"):
        EarlyStopping(patience_factor=-1.0)
