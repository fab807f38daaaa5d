"""The log of an epoch: its mean loss, what a checkpoint keeps of it, and what goes on from that."""

from __future__ import annotations

import numpy as np
import pytest
from tools import host

from nnbackend.core.types import Batch, StepResult
from nnbackend.data.samples import Samples
from nnbackend.training import epoch_log
from nnbackend.training.epoch_log import EpochLog
from nnbackend.training.trainer import pad_rows

LOSSES = [1.0, 2.0, 4.0]


def samples(backend, rows=11, weight=None):
    numbers = np.arange(float(rows))
    given = None if weight is None else backend.asarray(weight)
    return Samples(backend.asarray(numbers[:, None]), backend.asarray(numbers), given)


def results(backend, losses, weights=None, outputs=None):
    """Return what a scan over steps returns: an entry for each."""
    given = [None if a is None else list(map(backend.asarray, a)) for a in (losses, weights)]
    if backend.name == "jax":  # as one array
        given = [None if a is None else backend.xp.stack(a) for a in given]
    return StepResult(*given, None if outputs is None else backend.asarray(outputs))


def test_a_step_counts_by_its_rows_or_their_weights(backend):
    log = EpochLog(backend)
    log.append(samples(backend), 4, results(backend, LOSSES))  # of 4, 4 and 3 rows
    assert log.steps == 3
    assert log.mean() == pytest.approx((4 * 1.0 + 4 * 2.0 + 3 * 4.0) / 11)
    log.append(samples(backend), 4, results(backend, LOSSES, [1.0, 0.0, 1.0]))
    assert log.mean() == pytest.approx((4 * 1.0 + 4 * 2.0 + 3 * 4.0 + 1.0 + 4.0) / 13)
    assert log.latest_losses() == LOSSES


def test_the_mean_of_one_loss_is_that_loss(backend64):
    log = EpochLog(backend64)
    log.append(samples(backend64), 11, results(backend64, [0.1]))
    assert log.mean() == 0.1


def test_outputs_come_with_their_targets_and_without_padding(backend):
    log = EpochLog(backend)
    outputs = np.arange(12.0)[:, None]  # of 11 rows, padded to three batches of 4
    log.append(samples(backend), 4, results(backend, LOSSES, None, outputs))
    log.append(samples(backend), 4, results(backend, LOSSES, None, outputs))
    y, target, weight = log.rows()
    assert host(backend, y).tolist() == [*outputs[:11].tolist()] * 2
    assert host(backend, target).tolist() == [*range(11)] * 2
    assert weight is None


@pytest.mark.parametrize("with_outputs", [False, True])
def test_it_goes_on_from_its_state(with_outputs, backend):
    outputs = np.arange(11.0)[:, None] if with_outputs else None
    whole, first, second = (EpochLog(backend) for _ in range(3))
    assert first.state() is None
    for log in (whole, first):
        log.append(samples(backend), 4, results(backend, LOSSES, None, outputs))
    state = first.state()
    assert state["losses"].tolist() == LOSSES
    if with_outputs:  # losses are on the host already
        state["outputs"] = host(backend, state["outputs"])
    second.restore(state)
    assert second.steps == 3
    if with_outputs:
        second.append_targets(samples(backend))
    for log in (whole, second):
        log.append(samples(backend), 4, results(backend, LOSSES[::-1], None, outputs))
    assert second.mean() == whole.mean()
    assert second.steps == whole.steps == 6
    if with_outputs:
        for own, expected in zip(second.rows(), whole.rows(), strict=True):
            np.testing.assert_array_equal(host(backend, own), host(backend, expected))


def test_losses_of_many_blocks_are_read_now_and_then(backend, monkeypatch):
    monkeypatch.setattr(epoch_log, "_MAX_UNREAD_BLOCKS", 2)
    log = EpochLog(backend)
    for loss in range(5):
        log.append(samples(backend), 11, results(backend, [float(loss)]))
    assert log.mean() == 2.0


def test_padding_has_the_first_rows_numbers_and_no_weight(backend):
    x = {"a": backend.asarray([[1.0], [2.0]]), "b": (backend.asarray([3.0, 4.0]),)}
    padded = pad_rows(Batch(x, backend.asarray([5.0, 6.0])), 4, backend)
    assert host(backend, padded.x["a"]).tolist() == [[1.0], [2.0], [1.0], [1.0]]
    assert host(backend, padded.x["b"][0]).tolist() == [3.0, 4.0, 3.0, 3.0]
    assert host(backend, padded.y).tolist() == [5.0, 6.0, 5.0, 5.0]
    assert host(backend, padded.weight).tolist() == [1.0, 1.0, 0.0, 0.0]
    same = Batch(x, backend.asarray([5.0, 6.0]))
    assert pad_rows(same, 2, backend) is same
