"""Functions as callbacks."""

from __future__ import annotations

import pytest
from callbacks.runs import Log, X, Y, network

from nnbackend.callbacks import EarlyStopping, Lambda, Run


def test_lambda_calls_what_it_is_given():
    events, log = [], Log()
    given = {e: (lambda run, e=e: events.append(e)) for e in
             ("start", "epoch_start", "batch_end", "epoch_end", "stop")}  # fmt: skip
    network().fit(X, Y, epochs=2, batch_size=5, callbacks=[Lambda(**given), log])
    assert events == [name for name, *_ in log.events]
    assert not Lambda(start=print).listens_to_batches
    with pytest.raises(TypeError, match="batch_end must be a function"):
        Lambda(batch_end=3)


def test_without_a_listener_no_step_is_interrupted(monkeypatch):
    """Callbacks that only look at epochs cost nothing per step."""
    calls = []
    monkeypatch.setattr(Run, "notify", lambda run, event: calls.append(event))
    network().fit(X, Y, epochs=2, batch_size=1, callbacks=[EarlyStopping("loss"), lambda run: None])
    assert calls == ["start", "epoch_start", "epoch_end", "epoch_start", "epoch_end", "stop"]
