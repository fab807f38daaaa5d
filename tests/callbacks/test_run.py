"""Callbacks in a run: when they are called, what they see, and how they end it."""

from __future__ import annotations

import numpy as np
import pytest
from callbacks.runs import Log, X, Y, network
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import Callback, Lambda


def test_a_run_that_did_all_its_epochs_was_not_stopped_early():
    asks = lambda run: run.stop("enough")  # noqa: E731
    history = network().fit(X, Y, epochs=1, callbacks=[asks])
    assert len(history) == 1
    assert history.stopped is None
    assert network().fit(X, Y, epochs=2, callbacks=[asks]).stopped == "enough"


def test_every_event_comes_in_its_order(backend):
    log = Log()
    network(backend).fit(X, Y, epochs=2, batch_size=4, callbacks=[log])
    epochs = [
        [("epoch_start", e, 0), *(("batch_end", e, s) for s in (1, 2, 3)), ("epoch_end", e, e)]
        for e in (1, 2)
    ]
    assert log.events == [("start", 0, 0), *epochs[0], *epochs[1], ("stop", 2, 2)]


def test_a_function_is_called_at_the_end_of_each_epoch(backend):
    seen = []
    net = network(backend)
    net.fit(X, Y, epochs=3, batch_size=None,
            callbacks=[lambda run: seen.append((run.epoch, run.history["loss"][-1]))])  # fmt: skip
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert len({loss for _, loss in seen}) == 3


def test_watching_batches_changes_nothing(backend64):
    plain, watched = network(backend64), network(backend64)
    a = plain.fit(X, Y, epochs=3, batch_size=4)
    b = watched.fit(X, Y, epochs=3, batch_size=4, callbacks=[Log()])
    assert_close(host(backend64, watched.state_dict()), host(backend64, plain.state_dict()), 1e-12)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-12)


def test_a_callback_sees_the_parameters_of_the_moment(backend):
    """Such as one that writes checkpoints, or evaluates on data of its own."""
    seen, net = [], network(backend)

    class Watch(Callback):
        def batch_end(self, run):
            seen.append(host(backend, run.network.state_dict()))

        def epoch_end(self, run):
            seen.append(host(backend, run.network.state_dict()))

    before = host(backend, net.state_dict())
    net.fit(X, Y, epochs=2, batch_size=5, callbacks=[Watch()])
    weights = [s["0.weight"].tolist() for s in [before, *seen]]
    assert len({str(w) for w in weights}) == 5  # the start, and after each of four steps
    assert weights[2] == weights[3]  # the end of an epoch is the end of its last batch
    assert_equal(seen[-1], host(backend, net.state_dict()))


def test_a_run_stops_after_the_epoch_in_which_it_is_told_to(backend):
    history = network(backend).fit(
        X, Y, epochs=9, callbacks=[lambda run: run.epoch == 3 and run.stop("no better")]
    )
    assert len(history) == 3
    assert history.stopped == "no better"


def test_a_callback_can_restore_the_best_weights_at_the_end(backend):
    class Restore(Callback):
        def epoch_end(self, run):
            if run.epoch == 2:
                self.best = run.network.state_dict()

        def stop(self, run):
            run.network.load_state_dict(self.best)

    restore, net = Restore(), network(backend)
    net.fit(X, Y, epochs=5, optimizer=nnb.SGD(0.1), callbacks=[restore])
    assert_equal(host(backend, net.state_dict()), host(backend, restore.best))


def test_a_callback_can_set_parameters_in_training(backend64):
    """As one that projects them does, or one that averages them: training goes on from there."""

    class Halve(Callback):
        def epoch_end(self, run):
            net = run.network
            net.load_state_dict({name: 0.5 * p for name, p in net.state_dict().items()})

    net, by_hand = network(backend64), network(backend64)
    net.fit(X, Y, epochs=3, batch_size=None, optimizer=nnb.SGD(0.1), callbacks=[Halve()])
    for _ in range(3):
        by_hand.fit(X, Y, epochs=1, batch_size=None, optimizer=nnb.SGD(0.1))
        by_hand.load_state_dict({n: 0.5 * p for n, p in by_hand.state_dict().items()})
    assert_close(host(backend64, net.state_dict()), host(backend64, by_hand.state_dict()), 1e-12)


def test_ctrl_c_goes_back_to_parameters_that_a_callback_set(backend):
    def zero(run):
        run.network.load_state_dict({n: 0.0 * p for n, p in run.network.state_dict().items()})

    net = network(backend)
    net.fit(X, Y, epochs=3, callbacks=[zero, Interrupt("batch_end", 2, 1)])
    assert not host(backend, net.state_dict())["0.weight"].any()


def test_a_run_can_be_left_within_an_epoch(backend):
    """The epoch is not in the history, and the parameters are those of the moment."""
    left, whole = network(backend), network(backend)
    stop = Lambda(batch_end=lambda run: run.step == 2 and run.stop("enough", at_once=True))
    log = Log()
    history = left.fit(X, Y, epochs=3, batch_size=4, callbacks=[stop, log])
    assert (len(history), history.stopped) == (0, "enough")
    assert log.events[-1] == ("stop", 1, 0)
    seen = []
    whole.fit(X, Y, epochs=1, batch_size=4, callbacks=[
        Lambda(batch_end=lambda run: seen.append(host(backend, run.network.state_dict())))
    ])  # fmt: skip
    assert_equal(host(backend, left.state_dict()), seen[1])


def test_an_exception_in_a_callback_passes_through_and_stop_is_called(backend):
    log = Log()

    def fail(run):
        raise RuntimeError("the disk is full")

    net = network(backend)
    with pytest.raises(RuntimeError, match="the disk is full"):
        net.fit(X, Y, epochs=3, callbacks=[log, fail])
    assert log.events[-1] == ("stop", 1, 1)
    assert np.isfinite(host(backend, net.predict(X))).all()


class Interrupt(Callback):
    """Presses Ctrl-C."""

    def __init__(self, event, epoch, step=None):
        self.event, self.epoch, self.when = event, epoch, step

    def _maybe(self, event, run):
        if (event, run.epoch) == (self.event, self.epoch) and self.when in (None, run.step):
            raise KeyboardInterrupt

    def epoch_start(self, run):
        self._maybe("epoch_start", run)

    def batch_end(self, run):
        self._maybe("batch_end", run)

    def epoch_end(self, run):
        self._maybe("epoch_end", run)


@pytest.mark.parametrize(
    ("event", "epoch", "step", "kept"),
    [
        ("epoch_start", 1, None, 0),
        ("batch_end", 1, 2, 0),
        ("epoch_end", 1, None, 1),
        ("epoch_start", 3, None, 2),
        ("batch_end", 3, 1, 2),
        ("batch_end", 3, 3, 2),
        ("epoch_end", 3, None, 3),
    ],
)
def test_ctrl_c_keeps_the_epochs_done_and_says_so(event, epoch, step, kept, backend, capsys):
    net, twin = network(backend), network(backend)
    task = {"batch_size": 4, "optimizer": nnb.Adam(0.1)}
    history = net.fit(X, Y, epochs=5, callbacks=[Interrupt(event, epoch, step)], **task)
    if kept:
        twin.fit(X, Y, epochs=kept, callbacks=[Log()], **task)
    assert len(history) == kept
    assert_equal(host(backend, net.state_dict()), host(backend, twin.state_dict()))
    assert history.stopped.startswith("interrupted")
    assert f"{kept} " in history.stopped
    assert "interrupted" in capsys.readouterr().err


def test_after_ctrl_c_the_network_learns_on(backend):
    net = network(backend)
    net.fit(X, Y, epochs=5, batch_size=4, callbacks=[Interrupt("batch_end", 2, 1)])
    assert len(net.fit(X, Y, epochs=2, batch_size=4)) == 2
    assert np.isfinite(net.partial_fit(X, Y))


@pytest.mark.parametrize("callback", [3, "early", Callback, None])
def test_what_is_no_callback_is_named(callback):
    with pytest.raises(TypeError, match="a callback is"):
        network().fit(X, Y, callbacks=[callback])


def test_a_callback_can_scale_the_learning_rate(backend64):
    """From the next epoch on, as a schedule that drops then would."""

    def tenth(run):
        run.learning_rate_factor = 0.1 if run.epoch >= 2 else 1.0

    scaled, dropping = network(backend64), network(backend64)
    for rate in (0.1, lambda step: 0.1 / (1 + step)):
        value = rate if callable(rate) else lambda step: 0.1
        schedule = lambda step, value=value: value(step) * (0.1 if step >= 6 else 1.0)  # noqa: E731
        a = scaled.fit(X, Y, epochs=4, batch_size=4, optimizer=nnb.Adam(rate), callbacks=[tenth])
        b = dropping.fit(X, Y, epochs=4, batch_size=4, optimizer=nnb.Adam(schedule))
        np.testing.assert_allclose(a["learning_rate"], b["learning_rate"], rtol=1e-12)
        assert_close(
            host(backend64, scaled.state_dict()), host(backend64, dropping.state_dict()), 1e-10
        )
