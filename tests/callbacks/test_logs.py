"""Logs: a line for each epoch."""

from __future__ import annotations

import csv
import json
import warnings

import pytest
from callbacks.runs import X, Y, network
from tools import assert_equal

import nnbackend as nnb
from nnbackend.callbacks import CSVLog, JSONLines, Lambda, LearningRateLog, Run


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


@pytest.mark.parametrize("free_again", [True, False])
@pytest.mark.parametrize("kind", [JSONLines, CSVLog])
def test_a_full_disk_under_a_log_names_it_and_does_not_cost_the_model(kind, free_again, tmp_path):
    resource = pytest.importorskip("resource", reason="Windows has no limit for the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = kind(tmp_path / "log")

    def fill(run):
        size = log.path.stat().st_size + 10
        if run.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        if run.epoch == 4 and free_again:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    net, whole = network(), network()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            history = net.fit(X, Y, epochs=5, batch_size=5, callbacks=[fill, log])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    whole.fit(X, Y, epochs=5, batch_size=5)
    assert len(history) == 5
    assert_equal(net.state_dict(), whole.state_dict())
    (warning,) = caught  # once
    assert f"the log {log.path} cannot be written, and the training goes on" in str(warning.message)
    lines = log.path.read_text().splitlines()
    if kind is CSVLog:
        assert all(len(row) == len(history.keys()) for row in csv.reader(lines))
    else:
        assert all(json.loads(line).keys() == history.keys() for line in lines)
    assert len(lines) == (5 if free_again else 1) + (kind is CSVLog)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
