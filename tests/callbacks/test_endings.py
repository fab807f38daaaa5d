"""Runs that end when their time is up, or with a loss that is not finite."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest
from callbacks.runs import X, Y, network
from tools import host

import nnbackend as nnb
from nnbackend.callbacks import Callback, Lambda, TerminateOnNaN, TimeBudget
from nnbackend.errors import DivergenceError


def clock(monkeypatch, seconds_per_look):
    """Let time pass by looking at it."""
    now = [0.0]

    def monotonic():
        now[0] += seconds_per_look
        return now[0]

    monkeypatch.setattr("nnbackend.callbacks.endings.time", types.SimpleNamespace(
        monotonic=monotonic))  # fmt: skip


def test_a_time_budget_ends_a_run_within_an_epoch(backend, monkeypatch):
    clock(monkeypatch, 1.0)
    each = Lambda(batch_end=lambda run: None)
    history = network(backend).fit(X, Y, epochs=9, batch_size=2,
                                   callbacks=[TimeBudget(8), each])  # fmt: skip
    # Looked at after each of five steps and after the epoch, then after two steps more.
    assert (len(history), history.stopped) == (1, "the time of 8 s is up")


def test_a_time_budget_ends_epochs_that_run_together(monkeypatch):
    clock(monkeypatch, 1.0)
    history = network().fit(X, Y, epochs=100_000, batch_size=None, callbacks=[TimeBudget(3)])
    assert len(history) < 100_000
    assert history.stopped == "the time of 3 s is up"
    with pytest.raises(ValueError, match="seconds must be"):
        TimeBudget(-1)


@pytest.mark.parametrize("batch_size", [4, None])
def test_nan_ends_a_run_without_an_error(batch_size, backend):
    net = network(backend)
    task = {"epochs": 100, "batch_size": batch_size, "optimizer": nnb.SGD(1e20)}
    with pytest.raises(DivergenceError):
        network(backend).fit(X, Y, **task)
    history = net.fit(X, Y, callbacks=[TerminateOnNaN()], **task)
    assert len(history) < 100
    assert history.stopped.startswith("the loss is ")
    assert f"in epoch {len(history) + 1}, step " in history.stopped
    assert all(map(math.isfinite, history["loss"])) if len(history) else True
    assert np.isfinite(host(backend, net.state_dict())["0.weight"]).all()


def test_nan_on_validation_data_ends_a_run():
    class Odd(Callback):
        def epoch_end(self, run):
            run.history["loss"][-1] = math.nan

    history = network().fit(X, Y, epochs=3, callbacks=[Odd(), TerminateOnNaN()])
    assert history.stopped == "the loss is nan in epoch 1"
