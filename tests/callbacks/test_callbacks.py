"""Callbacks: when they are called, what they see, and how they end a run."""

from __future__ import annotations

import csv
import json
import math
import sys
import types

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.callbacks import (
    Callback,
    CSVLog,
    EarlyStopping,
    JSONLines,
    Lambda,
    LearningRateLog,
    Run,
    TensorBoard,
    TerminateOnNaN,
    TimeBudget,
)
from nnbackend.errors import DivergenceError, UnknownNameError

X, Y = rows((10, 3)), rows((10, 1), 1)


def network(backend="numpy"):
    return nnb.Network([nnb.Dense(1)], backend=backend, input_shape=3)


class Log(Callback):
    """Notes every event."""

    def __init__(self):
        self.events = []

    def start(self, run):
        self.events.append(("start", run.epoch, run.step))

    def epoch_start(self, run):
        self.events.append(("epoch_start", run.epoch, run.step))

    def batch_end(self, run):
        self.events.append(("batch_end", run.epoch, run.step))

    def epoch_end(self, run):
        self.events.append(("epoch_end", run.epoch, len(run.history)))

    def stop(self, run):
        self.events.append(("stop", run.epoch, len(run.history)))


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


# ------------------------------------------------------------------------------------- verbose


def test_verbose_prints_a_line_for_each_epoch(capsys):
    network().fit(X, Y, epochs=2, metrics=["mae"], verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "mae" in lines[1]


@pytest.mark.parametrize("verbose", [0, False, None])
def test_without_a_terminal_nothing_is_printed_unasked(verbose, capsys):
    network().fit(X, Y, epochs=2, verbose=verbose)
    assert capsys.readouterr() == ("", "")


class Terminal:
    """A standard error that is one."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def fileno(self):
        raise OSError


def at_terminal(monkeypatch):
    """Put a terminal in place of standard error (in a fixture pytest would take it away again)."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_at_a_terminal_brief_work_shows_no_bar(monkeypatch):
    terminal = at_terminal(monkeypatch)
    network().fit(X, Y, epochs=2)
    assert terminal.text == ""


def test_at_a_terminal_long_work_shows_a_bar(monkeypatch):
    pytest.importorskip("rich")
    terminal = at_terminal(monkeypatch)
    monkeypatch.setattr("nnbackend.callbacks.progress._PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    network().fit(X, Y, epochs=3, batch_size=4)
    assert "epoch" in terminal.text


def test_without_rich_long_work_at_a_terminal_shows_lines(monkeypatch):
    terminal = at_terminal(monkeypatch)
    monkeypatch.setattr("nnbackend.callbacks.progress._PATIENCE", 0.0)
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    network().fit(X, Y, epochs=3, batch_size=4)
    assert "epoch 3/3  loss" in terminal.text


def test_with_no_standard_error_at_all_nothing_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(network().fit(X, Y, epochs=2)) == 2


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


class Notebook:
    """What IPython says in a notebook."""

    class ZMQInteractiveShell:
        pass

    @staticmethod
    def get_ipython():
        return Notebook.ZMQInteractiveShell()


def test_in_a_notebook_the_bar_is_tqdms(monkeypatch, capsys):
    shown = []

    class Tqdm:
        def __init__(self, total, leave, bar_format):
            self.n = 0.0
            shown.append(total)

        def set_description_str(self, text, refresh):
            shown.append(text)

        def set_postfix_str(self, text, refresh):
            shown.append(text)

        def update(self, by):
            self.n += by

        def close(self):
            shown.append(self.n)

    monkeypatch.setattr("nnbackend.callbacks.progress._PATIENCE", 0.0)
    monkeypatch.setitem(sys.modules, "IPython", Notebook)
    module = types.ModuleType("tqdm.notebook")
    module.tqdm = Tqdm
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.notebook", module)
    history = network().fit(X, Y, epochs=2, batch_size=4)
    assert shown[:3] == [2, "epoch 1/2", ""]
    assert shown[-1] == 2.0
    assert f"loss {history['loss'][-1]:.4g}" in shown
    assert capsys.readouterr() == ("", "")
    for name in ("tqdm", "tqdm.notebook"):
        monkeypatch.setitem(sys.modules, name, None)
    network().fit(X, Y, epochs=2, batch_size=4)
    assert "epoch 2/2  loss" in capsys.readouterr().err


def test_tqdm_takes_what_it_is_given(monkeypatch):
    notebook = pytest.importorskip("tqdm.notebook")
    pytest.importorskip("ipywidgets")
    monkeypatch.setattr("nnbackend.callbacks.progress._PATIENCE", 0.0)
    monkeypatch.setitem(sys.modules, "IPython", Notebook)
    monkeypatch.setattr(notebook, "display", lambda widget: None)
    assert len(network().fit(X, Y, epochs=2, batch_size=4)) == 2


# ------------------------------------------------------------------------------ early stopping


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
        ({"monitor": "odd"}, "is a small or a large 'odd' better"),
    ],
)
def test_early_stopping_refuses_what_makes_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        EarlyStopping(**arguments)


# ---------------------------------------------------------------------------------------- logs


def test_logs_have_a_line_for_each_epoch_with_the_names_of_the_history(backend, tmp_path):
    lines, table = JSONLines(tmp_path / "log.jsonl"), CSVLog(tmp_path / "log.csv")
    seen = []

    def look(run):  # a line is there as soon as its epoch is done
        seen.append(len(lines.path.read_text().splitlines()))

    history = network(backend).fit(X, Y, epochs=3, metrics=["mae"], validation_split=0.3,
                                   callbacks=[lines, table, look])  # fmt: skip
    assert seen == [1, 2, 3]
    assert [json.loads(line) for line in lines.path.read_text().splitlines()] == history.rows()
    with table.path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [{n: float(v) for n, v in row.items()} for row in read] == history.rows()


def test_logs_do_not_keep_short_epochs_from_running_together(tmp_path):
    """Many epochs of one step are done in one go, and written in one go; each is there."""
    logs = [JSONLines(tmp_path / "a"), CSVLog(tmp_path / "b"), LearningRateLog()]
    calls = []
    count = Lambda(epoch_end=lambda run: calls.append(run.epoch))
    count.every_epoch = False
    rate = nnb.SGD(lambda step: 0.01 / (1 + step))
    history = network().fit(X, Y, epochs=500, batch_size=None, callbacks=[*logs, count],
                            optimizer=rate)  # fmt: skip
    assert len(calls) < 500
    assert [json.loads(line)["epoch"] for line in (tmp_path / "a").read_text().splitlines()] == [
        *range(1, 501)
    ]
    assert (tmp_path / "b").read_text().count("\n") == 501
    assert logs[2].rates == history["learning_rate"]


def test_a_resumed_run_has_each_epoch_once_in_its_logs(tmp_path):
    def logs():
        return [JSONLines(tmp_path / "log.jsonl"), CSVLog(tmp_path / "log.csv")]

    saving = nnb.callbacks.Checkpoint(tmp_path / "saved", every=2)
    fail = Lambda(epoch_start=lambda run: 1 / (run.epoch - 4))
    with pytest.raises(ZeroDivisionError):
        network().fit(X, Y, epochs=5, callbacks=[*logs(), saving, fail])
    older = next(p for p in nnb.checkpoints.files(saving.directory) if "epoch-0002" in p.name)
    history = network().fit(X, Y, epochs=5, callbacks=logs(), resume=older)
    text = (tmp_path / "log.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == history.rows()
    assert (tmp_path / "log.csv").read_text().count("\n") == 6


def test_figures_that_come_later_make_a_column(tmp_path):
    table, lines = CSVLog(tmp_path / "log.csv"), JSONLines(tmp_path / "log.jsonl")
    with Run(network(), 3, callbacks=[table, lines]) as run:
        for epoch in run:
            run.epoch_end(loss=1.0, **({"validation_loss": 2.0} if epoch == 2 else {}))
    with table.path.open(newline="") as file:
        assert [row["validation_loss"] for row in csv.DictReader(file)] == ["nan", "2.0", "nan"]
    found = [json.loads(line)["validation_loss"] for line in lines.path.read_text().splitlines()]
    assert found == [None, 2.0, None]  # JSON has no NaN


@pytest.mark.parametrize("kind", [JSONLines, CSVLog])
def test_a_log_that_cannot_be_written_is_found_before_training(kind, tmp_path):
    (tmp_path / "file").write_text("")
    steps, log = [], kind(tmp_path / "file" / "log")
    with pytest.raises(OSError, match="file") as caught:
        network().fit(X, Y, callbacks=[log, Lambda(batch_end=steps.append)])
    assert caught.value.__notes__ == [f"raised by the callback {kind.__name__} at the start"]
    assert not steps
    new = kind(tmp_path / "new" / "folder" / "log")
    network().fit(X, Y, callbacks=[new])
    assert new.path.read_text()


def test_tensorboard_reads_what_is_written_for_it(tmp_path):
    pytest.importorskip("tensorboardX")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writing = TensorBoard(tmp_path, every_steps=2)
    history = network().fit(X, Y, epochs=4, batch_size=4, validation_split=0.3,
                            callbacks=[writing])  # fmt: skip

    def read(directory):
        found = events.EventAccumulator(str(directory))
        found.Reload()
        return {t: [(e.step, e.value) for e in found.Scalars(t)] for t in found.Tags()["scalars"]}

    found = read(tmp_path)
    assert found.keys() == set(history) - {"epoch"}
    for name, points in found.items():
        assert [step for step, _ in points] == [1, 2, 3, 4]
        np.testing.assert_allclose([value for _, value in points], history[name], rtol=1e-6)
    assert [step for step, _ in read(tmp_path / "steps")["loss"]] == [2, 4, 6, 8]


def test_tensorboard_shows_each_epoch_of_a_resumed_run_once(tmp_path):
    pytest.importorskip("tensorboardX")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    saving = nnb.callbacks.Checkpoint(tmp_path / "saved", keep=None)
    board = tmp_path / "board"
    network().fit(X, Y, epochs=4, callbacks=[TensorBoard(board), saving])
    older = next(p for p in nnb.checkpoints.files(saving.directory) if "epoch-0002" in p.name)
    network().fit(X, Y, epochs=5, callbacks=[TensorBoard(board)], resume=older)
    found = events.EventAccumulator(str(board))
    found.Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4, 5]


def test_tensorboard_without_its_writer_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'nnbackend\[tensorboard\]'"):
        TensorBoard(tmp_path)


# ------------------------------------------------------------------------------------- endings


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
