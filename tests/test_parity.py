"""The contract: same seed, same data, same numbers, whatever the backend.

Each test trains on NumPy and on the backend under test, for a hundred steps through ``fit``: with
dropout, sample weights, shuffled batches and a smaller last batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import (
    ACTIVATIONS,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    STATEFUL_LAYERS,
    WRAPPERS,
    Case,
    each,
    rows,
)
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import losses
from nnbackend.core import random

ROWS, BATCH, EPOCHS = 36, 8, 20  # five batches an epoch, the last of four rows


def tolerance(backend) -> float:
    return 1e-9 if backend.name == "cupy" else 1e-10


def trained(layers, backend, loss="mse", optimizer=None, shape=(4,), target=None, indices=None):
    """Return a network trained for a hundred steps, and its history."""
    net = nnb.Network(layers, backend=backend, dtype=getattr(backend, "dtype_name", "float64"),
                      seed=11, input_shape=shape)  # fmt: skip
    rng = np.random.default_rng(5)
    y = rng.normal(size=(ROWS, *net.output_shape))
    if target is not None:
        y = target(rng, (ROWS, *net.output_shape))
    x = Case("", None, shape, indices=indices).inputs(ROWS)
    history = net.fit(
        x, y, loss=loss, optimizer=optimizer or nnb.Adam(1e-2), epochs=EPOCHS,
        batch_size=BATCH, sample_weight=rng.uniform(0.5, 2.0, ROWS),
    )  # fmt: skip
    return net, history


def assert_alike(layers, backend, **task):
    reference, expected = trained(layers, "numpy", **task)
    net, history = trained(layers, backend, **task)
    assert_close(host(backend, net.state_dict()), host(reference.backend, reference.state_dict()),
                 tolerance(backend))  # fmt: skip
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=tolerance(backend))


@each([*LAYERS, *STATEFUL_LAYERS])
def test_layers(case, backend64):
    assert_alike([case.thing, nnb.Flatten(), nnb.Dense(2)], backend64, shape=case.shape,
                 indices=case.indices)  # fmt: skip


@each(ACTIVATIONS)
def test_activations(case, backend64):
    assert_alike([nnb.Dense(5, activation=case.thing), nnb.Dropout(0.2), nnb.Dense(2)], backend64)


@each(LOSSES)
def test_losses(case, backend64):
    size = case.shape[-1]
    assert_alike([nnb.Dense(6, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(size)], backend64,
                 loss=case.thing, shape=case.shape, target=case.target)  # fmt: skip


@each([*OPTIMIZERS, *WRAPPERS])
def test_optimizers(case, backend64):
    layers = [nnb.Dense(6, activation="silu"), nnb.Dropout(0.3), nnb.Dense(2)]
    assert_alike(layers, backend64, optimizer=case.thing)


def test_losses_of_float32_agree_to_four_digits(backend):
    layers = [nnb.Dense(16, activation="relu"), nnb.Dropout(0.2), nnb.Dense(2)]
    _, expected = trained(layers, nnb.get_backend("numpy"))
    _, history = trained(layers, backend)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)


@pytest.mark.parametrize("ending", ["sigmoid", "softmax"])
def test_metrics_and_validation_agree(ending, backend64):
    loss = {"sigmoid": "binary_cross_entropy", "softmax": "softmax_cross_entropy"}[ending]

    def history(backend):
        net = nnb.Network([nnb.Dense(3, activation=ending)], backend=backend, dtype="float64")
        y = np.eye(3)[np.arange(ROWS) % 3]
        return net.fit(rows((ROWS, 4)), y, loss=loss, epochs=3, batch_size=10,
                       metrics=["accuracy", "mae", "r2"], validation_split=0.25).to_dict()  # fmt: skip

    expected, found = history("numpy"), history(backend64)
    assert found.keys() == expected.keys()
    for name in found.keys() - {"seconds"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=name)


@each([*LAYERS, *STATEFUL_LAYERS])
def test_initial_weights_are_the_same_to_the_last_bit(case, backend):
    def weights(backend):
        net = nnb.Network(case.thing, backend=backend, seed=3, input_shape=case.shape)
        return host(net.backend, net.state_dict())

    assert_equal(weights(backend), weights("numpy"))


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_dropout_masks_are_the_same_to_the_last_bit(step, backend):
    def mask(backend):
        net = nnb.Network([nnb.Residual([nnb.Dropout(0.4)]), nnb.Dropout(0.1)], backend=backend)
        y, _ = net.forward(np.ones((7, 5, 3)), training=True, step=step)
        return host(net.backend, y)

    assert_equal(mask(backend), mask("numpy"))


def test_masks_in_training_are_those_of_the_step_and_the_network(backend):
    """With weights of one that stay, the loss of each epoch shows the masks it drew."""

    def values(backend):
        net = nnb.Network([nnb.Dropout(0.5), nnb.Dense(1, bias=False, initializer="ones")],
                          backend=backend, seed=4)  # fmt: skip
        history = net.fit(np.ones((6, 5)), np.zeros((6, 1)), epochs=4, batch_size=3,
                          optimizer=nnb.SGD(0.0))  # fmt: skip
        return history["loss"]

    found = values(backend)
    assert found == pytest.approx(values("numpy"), rel=1e-7)
    assert len(set(found)) > 1


@dataclass(frozen=True)
class Recorder:
    """A layer that notes the rows it sees in training, on backends that run step by step."""

    seen: Any

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        if ctx.training:
            self.seen.append(np.asarray(ctx.backend.to_numpy(x))[:, 0].tolist())
        return x, lambda dy, input_grad=True: (dy, {})


def test_batches_come_in_the_order_of_the_seed(backend):
    if backend.name == "jax" and type(backend).__name__ == "JAXBackend":
        pytest.skip("a compiled step cannot be watched; its results are compared above")
    seen: list = []
    net = nnb.Network([Recorder(seen), nnb.Dense(1)], backend=backend, seed=9)
    net.fit(np.arange(7.0)[:, None], np.zeros((7, 1)), epochs=2, batch_size=3)
    batches = [batch[: 1 if i % 3 == 2 else 3] for i, batch in enumerate(seen)]  # without padding
    order = [int(row) for batch in batches for row in batch]
    for epoch in (1, 2):
        expected = random.permutation(9, 7, "order", epoch).tolist()
        assert order[7 * epoch - 7 : 7 * epoch] == expected


def test_going_on_draws_new_orders_and_masks(backend64):
    """Two fits of three epochs are one of six, as far as randomness is concerned."""

    def net():
        return nnb.Network([nnb.Dense(4), nnb.Dropout(0.5), nnb.Dense(1)], backend=backend64,
                           input_shape=2)  # fmt: skip

    x, y = rows((10, 2)), rows((10, 1), 1)
    task = {"loss": losses.mse, "optimizer": nnb.SGD(0.01), "batch_size": 4}
    once, twice = net(), net()
    once.fit(x, y, epochs=6, **task)
    for _ in range(2):
        twice.fit(x, y, epochs=3, **task)
    assert_close(host(backend64, twice.state_dict()), host(backend64, once.state_dict()), 1e-12)
