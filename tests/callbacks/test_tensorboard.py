"""TensorBoard reads what is written for it."""

from __future__ import annotations

import sys

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
