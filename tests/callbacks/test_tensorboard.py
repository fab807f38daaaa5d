"""TensorBoard reads what is written for it."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from callbacks.runs import X, Y, network

import nnbackend as nnb
from nnbackend.callbacks import TensorBoard


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


def test_a_full_disk_under_the_events_is_a_warning_and_does_not_cost_the_model(tmp_path):
    pytest.importorskip("tensorboardX")
    resource = pytest.importorskip("resource", reason="Windows has no limit for the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(run):
        if run.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))

    net = network()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            history = net.fit(X, Y, epochs=5, callbacks=[fill, TensorBoard(tmp_path)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(history) == 5
    (warning,) = caught  # once
    assert f"the log {tmp_path} cannot be written, and the training goes on" in str(warning.message)
