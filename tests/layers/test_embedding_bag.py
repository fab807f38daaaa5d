"""Bags of embeddings: torch's outputs and gradients, empty bags, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host, on_backend, training

import nnbackend as nnb

BAGS = {
    "": (np.asarray([[1, 3, 1], [0, 4, 2]], np.int32), None),
    "padding": (np.asarray([[1, 3, 1], [0, 4, 2]], np.int32), 1),
    "empty": (np.asarray([[2, 2, 2], [0, 2, 4]], np.int32), 2),
    "all-empty": (np.full((1, 3), 2, np.int32), 2),
    "all-equal": (np.full((1, 4), 3, np.int32), None),
    "one": (np.asarray([[4]], np.int32), 0),
}


def passed(layer, weight, x, backend) -> Any:
    """Return output and gradients, of the weights of indices too."""
    with backend.scope():
        given = on_backend(backend, x)
        y, backward = layer.forward({"weight": backend.asarray(weight)}, given, training(backend))
        dx, grads = backward(backend.asarray(rows(tuple(y.shape), 1)))
    return host(backend, y), host(backend, grads["weight"]), host(backend, dx)


def torchs(x, weight, shares=None, **settings) -> Any:
    torch = pytest.importorskip("torch")
    table = torch.tensor(weight, requires_grad=True)
    shares = None if shares is None else torch.tensor(shares, requires_grad=True)
    y = torch.nn.functional.embedding_bag(
        torch.tensor(x), table, per_sample_weights=shares, **settings
    )
    y.backward(torch.tensor(rows(tuple(y.shape), 1)))
    dx = None if shares is None else (None, shares.grad.numpy())
    return y.detach().numpy(), table.grad.numpy(), dx


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize(("x", "padding"), BAGS.values(), ids=BAGS)
def test_outputs_and_gradients_are_torchs(x, padding, mode, backend64):
    weight = rows((5, 3))
    expected = torchs(x, weight, mode=mode, padding_idx=padding)
    layer = nnb.EmbeddingBag(5, 3, mode, padding_index=padding)
    assert_close(passed(layer, weight, x, backend64), expected, 1e-10)


@pytest.mark.parametrize(("x", "padding"), BAGS.values(), ids=BAGS)
def test_weighted_sums_are_torchs(x, padding, backend64):
    weight, shares = rows((5, 3)), rows(x.shape, 2)
    expected = torchs(x, weight, shares, mode="sum", padding_idx=padding)
    layer = nnb.EmbeddingBag(5, 3, weighted=True, padding_index=padding)
    assert_close(passed(layer, weight, (x, shares), backend64), expected, 1e-10)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_an_empty_bag_gives_zeros_whatever_the_padding_row_is(mode, backend):
    layer = nnb.EmbeddingBag(5, 3, mode, padding_index=2)
    y, gradient, _ = passed(layer, np.full((5, 3), 7.0), np.full((2, 4), 2, np.int32), backend)
    assert not y.any()
    assert not gradient.any()


def test_indices_with_weights_are_learned_from(backend):
    net = nnb.Network([nnb.EmbeddingBag(5, 3, weighted=True), nnb.Dense(1)], backend=backend)
    x, shares = BAGS[""][0], rows((2, 3))
    history = net.fit((x, shares), [[1.0], [-1.0]], epochs=60, optimizer=nnb.Adam(0.05), verbose=0)
    assert history["loss"][-1] < 0.05 * history["loss"][0]
    assert net.predict((x, shares)).shape == (2, 1)
    with pytest.raises(ValueError, match=r"from 0 to 4, .* at X\[0\]\[0, 0\]"):
        net.predict((x + 4, shares))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nnb.EmbeddingBag(5, 3, "mean", weighted=True), "weighted=True goes with mode='sum'"),
        (lambda: nnb.EmbeddingBag(5, 3, "median"), "mode must be 'sum', 'mean' or 'max'"),
        (lambda: nnb.EmbeddingBag(5, 3, padding_index=7), "padding_index must be below count=5"),
        (lambda: nnb.Network(nnb.EmbeddingBag(5, 3), input_shape=()), "got a single number"),
        (lambda: nnb.Network(nnb.EmbeddingBag(5, 3), input_shape=((2,), (2,))), "weighted=True"),
        (lambda: nnb.Network(nnb.EmbeddingBag(5, 3, weighted=True), input_shape=3), "the tuple"),
        (lambda: nnb.Network(nnb.EmbeddingBag(5, 3, weighted=True), input_shape=((2,), (3,))),
         "the same shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_bag_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
