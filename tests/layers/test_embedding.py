"""Embeddings: padding, norms, indices outside the table, and torch's outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host, on_backend, parameters, training

import nnbackend as nnb
from nnbackend.core.random import Generator, ShapeGenerator

X = np.asarray([[1, 3, 1], [0, 4, 4]], np.int32)


def passed(layer, params, x, backend) -> Any:
    """Return the output, and the gradient of the table for a fixed gradient of the output."""
    with backend.scope():
        table = {"weight": backend.asarray(params)}
        y, backward = layer.forward(table, on_backend(backend, x), training(backend))
        dx, grads = backward(backend.asarray(rows(tuple(y.shape), 1)))
    assert dx is None
    return host(backend, y), host(backend, grads["weight"])


def torchs(x, weight, **settings) -> Any:
    """Return what torch makes of the same."""
    torch = pytest.importorskip("torch")
    table = torch.tensor(weight, requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(x), table, **settings)
    y.backward(torch.tensor(rows(tuple(y.shape), 1)))
    return y.detach().numpy(), table.grad.numpy()


@pytest.mark.parametrize(
    ("x", "padding"),
    [(X, None), (X, 1), (X, 4), (np.full((1, 6), 2, np.int32), None),
     (np.asarray([3, 3, 0], np.int32), 0)],
    ids=["", "padding", "repeated-padding", "all-equal", "one-index-a-row"],
)  # fmt: skip
def test_outputs_and_gradients_are_torchs(x, padding, backend64):
    layer, weight = nnb.Embedding(5, 3, padding_index=padding), rows((5, 3))
    expected = torchs(x, weight, padding_idx=padding)
    assert_close(passed(layer, weight, x, backend64), expected, 1e-10)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_rows_are_shortened_as_in_torch(p, backend64):
    weight = rows((5, 3)) * np.asarray([0.1, 1.0, 2.0, 5.0, 0.0])[:, None]
    y, _ = passed(nnb.Embedding(5, 3, max_norm=1.5, norm=p), weight, X, backend64)
    expected, _ = torchs(X, weight, max_norm=1.5, norm_type=p)
    assert_close(y, expected, 1e-10)
    assert np.isclose(np.linalg.norm(y, p, axis=-1), 1.5).any()


def test_the_gradient_of_rows_within_the_norm_is_torchs(backend64):
    weight = rows((5, 3))
    expected = torchs(X, weight, max_norm=100.0)
    assert_close(passed(nnb.Embedding(5, 3, max_norm=100.0), weight, X, backend64), expected, 1e-10)


def test_a_huge_row_is_shortened_without_overflow(backend):
    weight = np.full((5, 3), 1e30)
    y, gradient = passed(nnb.Embedding(5, 3, max_norm=3.0), weight, X, backend)
    np.testing.assert_allclose(y, 3.0 / 3**0.5, rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_the_row_of_the_padding_index_begins_and_stays_zero(backend):
    layers = [nnb.Embedding(5, 3, padding_index=4), nnb.Flatten(), nnb.Dense(1)]
    net = nnb.Network(layers, backend=backend, input_shape=3)
    assert_equal(host(backend, net.params["0"]["weight"])[4], np.zeros(3, np.float32))
    net.fit(X, [[1.0], [2.0]], optimizer=nnb.AdamW(0.1), epochs=5, verbose=0)
    weight = host(backend, net.params["0"]["weight"])
    assert_equal(weight[4], np.zeros(3, np.float32))
    assert np.abs(weight).min(axis=1)[0] > 0.0


def test_an_initializers_own_table_is_left_alone():
    table = np.ones((5, 3))
    layer = nnb.Embedding(5, 3, padding_index=1, initializer=lambda shape, rng: table)
    params, _ = layer.init((2,), Generator.of(0))
    assert (params["weight"].sum(), table.sum()) == (12.0, 15.0)


def test_a_huge_table_takes_no_memory_to_find_its_shape():
    params, shape = nnb.Embedding(10**12, 8, padding_index=3).init((), ShapeGenerator((0, 0)))
    assert (params["weight"].shape, shape) == ((10**12, 8), (8,))


# ------------------------------------------------------------------------------------ bad indices


@nnb.register_layer
@dataclass(frozen=True)
class TwoTables:
    """The sum of rows of two tables, of inputs by name."""

    left: nnb.Embedding
    right: nnb.Embedding
    takes = "indices"

    def index_limit(self):
        return {"a": self.left.count, "b": self.right.count}

    def init(self, input_shape, rng):
        params = {
            name: layer.init(input_shape[key], rng.child(name))[0]
            for (name, layer), key in zip(nnb.layers.children(self), "ab", strict=True)
        }
        return params, (*input_shape["a"], self.left.features)

    def forward(self, params, x, ctx):
        y, back = self.left.forward(params["left"], x["a"], ctx.child("left"))
        z, more = self.right.forward(params["right"], x["b"], ctx.child("right"))

        def backward(dy, input_grad=True):
            none = {"a": None, "b": None}
            return none, {"left": back(dy)[1], "right": more(dy)[1]}

        return y + z, backward


NETWORKS = {
    "first": [nnb.Embedding(5, 3), nnb.Flatten(), nnb.Dense(1)],
    "nested": [nnb.Sequential([nnb.Sequential([nnb.Embedding(5, 3)]), nnb.Flatten()]), nnb.Dense(1)],
    "bag": [nnb.EmbeddingBag(5, 3), nnb.Dense(1)],
}  # fmt: skip


@pytest.mark.parametrize("value", [5, -1, 2**40, 0.5, float("nan")])
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_an_index_outside_is_an_error_with_its_place(layers, value, backend):
    net = nnb.Network(layers, backend=backend, input_shape=3)
    before = host(backend, net.state_dict())
    y, bad = np.zeros((2, 1)), X.astype(type(value))
    bad[1, 2] = value
    place = r"X must hold whole numbers from 0 to 4, which are indices; got .* at X\[{}2\]"
    for call in (lambda: net.fit(bad, y, verbose=0), lambda: net.predict(bad),
                 lambda: net.partial_fit(bad, y), lambda: net.predict(bad[1:]),
                 lambda: net.evaluate(bad, y, loss="mse")):  # fmt: skip
        with pytest.raises(ValueError, match=place.format("[01], ")):
            call()
    assert_equal(host(backend, net.state_dict()), before)
    stream = nnb.data.Batches(lambda: iter([(X, y), (bad, y)]))
    with pytest.raises(ValueError, match=f"batch 2 of epoch 1: {place.format('1, ')}"):
        net.fit(stream, verbose=0)
    with pytest.raises(ValueError, match=place.format("[13], ")):
        net.evaluate(stream, loss="mse")


def test_each_input_of_a_composite_has_its_own_limit(backend):
    layers = [TwoTables(nnb.Embedding(5, 3), nnb.Embedding(9, 3)), nnb.Dense(1)]
    net = nnb.Network(layers, backend=backend, input_shape={"a": (), "b": ()})
    a, b = np.asarray([0, 4]), np.asarray([8, 2])
    net.fit({"a": a, "b": b}, np.zeros((2, 1)), epochs=2, verbose=0)
    with pytest.raises(ValueError, match=r"from 0 to 4, .* got 8 at X\['a'\]\[0\]"):
        net.predict({"a": b, "b": a})
    with pytest.raises(ValueError, match=r"from 0 to 8, .* got 9 at X\['b'\]\[1\]"):
        net.predict({"a": a, "b": a + 5})


def test_a_graph_has_tables_beside_numbers(backend):
    nodes = {
        "color": (nnb.Sequential([nnb.Embedding(5, 3), nnb.Flatten()]), "colors"),
        "size": (nnb.EmbeddingBag(7, 2, weighted=True), "sizes", "shares"),
        "all": (nnb.Concatenate(), "color", "size", "numbers"),
        "price": (nnb.Dense(1), "all"),
    }
    graph = nnb.Graph(("colors", "sizes", "shares", "numbers"), nodes, "price")
    net = nnb.Network(graph, backend=backend)
    x = {"colors": X, "sizes": X + 2, "shares": rows((2, 3)), "numbers": rows((2, 4))}
    history = net.fit(x, [[1.0], [-1.0]], epochs=40, optimizer=nnb.Adam(0.05), verbose=0)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    with pytest.raises(ValueError, match=r"from 0 to 4, .* got 5 at X\['colors'\]\[1, 1\]"):
        net.predict(x | {"colors": X + 1})
    with pytest.raises(ValueError, match=r"from 0 to 6, .* got 7 at X\['sizes'\]\[1, 1\]"):
        net.predict(x | {"sizes": X + 3})


def test_numbers_instead_of_indices_are_refused(backend):
    layer = nnb.Embedding(5, 3)
    with backend.scope(), pytest.raises(TypeError, match=r"Embedding takes indices.*float32"):
        layer.forward(parameters(layer, (2,), backend), backend.asarray(X), training(backend))
    with pytest.raises(ValueError, match=r"layer 1 \(Embedding\) takes indices"):
        nnb.Network([nnb.Dense(2), layer], input_shape=3)


def test_negative_indices_that_a_layer_computes_do_not_count_from_the_end(backend):
    layer = nnb.Embedding(5, 3)
    params = parameters(layer, (2,), backend)
    x = backend.asarray(X - 1, backend.xp.int32)
    try:
        with backend.scope():
            y, _ = layer.forward(params, x, training(backend))
    except (IndexError, RuntimeError):
        return
    assert np.isnan(host(backend, y)[1, 0]).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nnb.Embedding(5, 3, padding_index=5), "padding_index must be below count=5"),
        (lambda: nnb.Embedding(5, 3, max_norm=0.0), "max_norm must be above 0"),
        (lambda: nnb.Embedding(5, 3, norm=0.5), "norm"),
        (
            lambda: nnb.Network(nnb.Embedding(5, 3), input_shape=((2,), (2,))),
            "one array of indices",
        ),
    ],
)
def test_what_cannot_be_an_embedding_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
