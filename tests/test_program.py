"""A training step that is run as a program must do what the step does.

The kernels are compiled for the host (``host_device.py``), from the very text that a card is given.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import ACTIVATIONS, LAYERS, LOSSES, OPTIMIZERS, WRAPPERS, each, rows
from host_device import COMPILER, HostDevice
from numpy.testing import assert_allclose
from tools import host

import nnbackend as nnb
from nnbackend import Backend
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.program import run
from nnbackend.program.run import Steps, TracedBackend

EPOCHS, BATCH, ROWS = 8, 6, 24

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here")


class Plain(NumPyBackend):
    """NumPy with all parameters in one piece, as on a card, and without recordings."""

    chunk = None

    def scan(self, step_on, see=None):
        return Backend.scan(self, step_on)


class Programs(Plain):
    """The same, with steps run as programs on the host."""

    made: list[Steps] = []

    def scan(self, step_on, see=None):
        plain = super().scan(step_on)
        if see is None:
            return plain
        traced = step_on(TracedBackend(self.dtype_name))
        self.made.append(Steps(plain, step_on(self), traced, see, self, HostDevice()))
        return self.made[-1]


@pytest.fixture(autouse=True)
def programs(monkeypatch) -> list[Steps]:
    """Return the steps made during a test, which become programs early on."""
    monkeypatch.setattr(run, "EARLY", 6)
    monkeypatch.setattr(Programs, "made", [])
    return Programs.made


def fitted(backend, layers, loss="mse", optimizer=None, shape=(4,), target=None, weighted=False,
           dtype="float64", **settings):  # fmt: skip
    """Return parameters and history of a network that was trained."""
    net = nnb.Network(layers, backend=backend(None, dtype), seed=3, input_shape=shape)
    rng = np.random.default_rng(0)
    x, y = rows((ROWS, *shape), seed=1), rng.normal(size=(ROWS, *net.output_shape))
    if target is not None:
        y = target(rng, (ROWS, *net.output_shape))
    weight = rng.uniform(0.5, 2.0, ROWS) if weighted else None
    history = net.fit(
        x, y, loss=loss, optimizer=optimizer or nnb.Adam(1e-2), verbose=0, sample_weight=weight,
        **{"batch_size": BATCH, "epochs": EPOCHS, **settings},
    )  # fmt: skip
    return host(net.backend, net.state_dict()), history.to_dict()


def assert_same(layers, tolerance=1e-9, **task):
    (plain, history), (program, history2) = (fitted(b, layers, **task) for b in (Plain, Programs))
    for name in plain:
        assert_allclose(program[name], plain[name], rtol=tolerance, atol=tolerance, err_msg=name)
    del history["seconds"], history2["seconds"]
    assert history.keys() == history2.keys()
    for name in history:
        assert_allclose(history2[name], history[name], rtol=tolerance, atol=tolerance)


def assert_used(programs):
    assert programs[0].refused is None
    assert programs[0].programs


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(LAYERS)
def test_layers(case, weighted, programs):
    assert_same([case.thing, nnb.Flatten(), nnb.Dense(2)], shape=case.shape, weighted=weighted)
    assert_used(programs)


@each(ACTIVATIONS)
def test_activations(case, programs):
    assert_same([nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2)])
    assert_used(programs)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@each(LOSSES)
def test_losses(case, weighted, programs):
    layers = [nnb.Dense(6, activation="tanh"), nnb.Dense(case.shape[-1])]
    assert_same(layers, loss=case.thing, shape=case.shape, target=case.target, weighted=weighted)
    assert_used(programs)


@each([*OPTIMIZERS, *WRAPPERS])
def test_optimizers(case, programs):
    layers = [nnb.Dense(6, activation="silu"), nnb.Dropout(0.3), nnb.Dense(2)]
    assert_same(layers, optimizer=case.thing)
    assert_used(programs)
