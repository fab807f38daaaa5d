"""Dropout."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import Plain, assert_equal, host, parameters, training

import nnbackend as nnb
from nnbackend import Context


def dropped(backend, rate, step=0, shape=(200, 100), key=(1, 2)):
    ctx = Context(backend, True, key, step)
    y, backward = nnb.Dropout(rate).forward(
        {}, backend.xp.ones(shape, dtype=backend.dtype, device=backend.device), ctx
    )
    return host(backend, y), backward


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_fraction_and_keeps_the_mean(rate, backend):
    y, _ = dropped(backend, rate)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_masks_change_with_step_and_key_only(backend):
    y, _ = dropped(backend, 0.5)
    assert_equal(dropped(backend, 0.5)[0], y)
    for other in (dropped(backend, 0.5, step=1)[0], dropped(backend, 0.5, key=(1, 3))[0]):
        assert abs((other == y).mean() - 0.5) < 0.02


def test_dropouts_rows_are_the_same_in_a_longer_batch(backend):
    assert_equal(dropped(backend, 0.3, shape=(50, 7))[0][:20],
                 dropped(backend, 0.3, shape=(20, 7))[0])  # fmt: skip


def test_dropout_does_nothing_outside_training(backend):
    x = backend.asarray(rows((3, 4)))
    y, backward = nnb.Dropout(0.5).forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))


def test_each_dropout_of_a_network_has_a_mask_of_its_own(backend):
    layers = nnb.Sequential([nnb.Dropout(0.5), nnb.Dropout(0.5)])
    ones = backend.xp.ones((50, 40), dtype=backend.dtype, device=backend.device)
    y, _ = layers.forward(parameters(layers, (40,), backend), ones, training(backend))
    assert abs((host(backend, y) == 0).mean() - 0.75) < 0.04  # equal masks would give 0.5


def test_a_rate_may_follow_a_schedule(backend):
    schedule = nnb.schedules.Cosine(0.6, 8)
    for step in (0, 3, 6, 7):
        y, _ = dropped(backend, schedule, step)
        same, _ = dropped(backend, schedule(step), step)  # to the last bit of the mask
        assert_equal(y == 0, same == 0)
        np.testing.assert_allclose(y, same, rtol=1e-6)
    for step in (8, 10**6):
        assert (dropped(backend, schedule, step)[0] == 1.0).all()


def test_a_long_schedule_has_a_rate_for_several_steps(backend):
    """Of 5000 steps there are 1000 rates: that of the next step of which there is one."""
    schedule = nnb.schedules.FlatCosine(0.5, 5000)
    for step, used in ((0, 0), (4096, 4100), (4100, 4100), (4999, 5000)):
        y, _ = dropped(backend, schedule, step)
        assert_equal(y == 0, dropped(backend, schedule(used), step)[0] == 0)


def test_a_rate_by_schedule_is_that_of_the_step_in_training_too(backend):
    """In steps that are recorded or compiled: the loss of each epoch shows the masks."""

    def losses(backend):
        layers = [nnb.Dropout(nnb.schedules.Cosine(0.8, 60)), nnb.Dense(1, initializer="ones")]
        net = nnb.Network(layers, backend=backend, seed=4)
        return net.fit(np.ones((60, 5)), np.zeros((60, 1)), epochs=11, batch_size=10, verbose=0,
                       optimizer=nnb.SGD(0.0))["loss"]  # fmt: skip

    found = losses(backend)
    assert found == pytest.approx(losses(Plain()), rel=1e-5)
    assert np.mean(found[:3]) > np.mean(found[6:9]) > 25.0
    assert found[10] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (nnb.schedules.Exponential(0.5, 0.9), "a schedule that comes to an end"),
        (nnb.schedules.Cosine(0.5, 9, multiplier=2), "a schedule that comes to an end"),
        (nnb.schedules.FlatCosine(1.5, 10), r"rate must be a number, from 0 to below 1; got 1\.5"),
        (lambda step: 0.1, "rate must be a number"),
    ],
)
def test_a_schedule_without_an_end_or_out_of_range_is_refused(rate, words):
    with pytest.raises(ValueError, match=words):
        nnb.Dropout(rate)
