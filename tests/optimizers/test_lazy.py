"""Rows of a table that no batch looked up stay as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases import rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import schedules
from nnbackend.optimizers import EMA, LAMB, SGD, SWA, Adam, AdamW, Clipped, Frozen, Grouped, Lazy

COUNT, FEATURES, LENGTH, BATCH = 30, 3, 4, 8
RNG = np.random.default_rng(0)
X = RNG.integers(1, 12, (23, LENGTH))  # repeated ones, and 12 to 29 are never looked up
X[0] = 20, 20, 21, 0  # only in the first batch, and rows of padding are copies of this one
Y = rows((23, 2))


def network(backend, first=None, **given):
    first = first or nnb.Embedding(COUNT, FEATURES, padding_index=0)
    layers = [first, nnb.Flatten(), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, input_shape=LENGTH, seed=0, **given)


def table(net):
    return np.array(net.backend.to_numpy(net.params["0"]["weight"]))


def fit(net, optimizer, epochs=2, x=X, y=Y, **given):
    return net.fit(
        x, y, optimizer=optimizer, epochs=epochs, batch_size=BATCH, shuffle=False, **given
    )


def torch_weights(net, steps, bag=False, clip=None):
    """Return what torch's SparseAdam makes of the table, and its Adam of the rest."""
    torch = pytest.importorskip("torch")
    params = {k: torch.tensor(np.array(v)) for k, v in host(net.backend, net.state_dict()).items()}
    kind = torch.nn.EmbeddingBag if bag else torch.nn.Embedding
    options = {"mode": "mean"} if bag else {}
    first = kind.from_pretrained(params["0.weight"], False, sparse=True, padding_idx=0, **options)
    weight, bias = (params[f"2.{name}"].requires_grad_() for name in ("weight", "bias"))
    settings = {"lr": 0.05, "eps": 1e-16}
    lazy = torch.optim.SparseAdam(first.parameters(), **settings)
    dense = torch.optim.Adam([weight, bias], **settings)
    x, y = torch.tensor(X), torch.tensor(Y)
    for step in range(steps):
        part = slice(step % 3 * BATCH, step % 3 * BATCH + BATCH)
        z = first(x[part]).reshape(len(x[part]), -1) @ weight + bias
        lazy.zero_grad()
        dense.zero_grad()
        torch.mean((z - y[part]) ** 2).backward()
        if clip is not None:
            _clip(torch, first.weight, [weight, bias], clip)
        lazy.step()
        dense.step()
    return {"0.weight": first.weight, "2.weight": weight, "2.bias": bias}


def _clip(torch, sparse, others, limit):
    summed = sparse.grad.coalesce()
    squares = [summed.values().square().sum(), *(p.grad.square().sum() for p in others)]
    factor = limit / max(sum(squares).sqrt(), limit)
    sparse.grad = summed * factor
    for p in others:
        p.grad *= factor


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("bag", [False, True])
def test_it_is_sparse_adam_of_torch(bag, clip, backend64):
    first = nnb.EmbeddingBag(COUNT, FEATURES, mode="mean", padding_index=0) if bag else None
    net = network(backend64, first)
    before = table(net)
    expected = torch_weights(net, 21, bag, clip)
    optimizer = Lazy(Adam(0.05, epsilon=1e-16), "0.weight")
    fit(net, optimizer if clip is None else Clipped(optimizer, norm=clip), epochs=7)
    found = host(net.backend, net.state_dict())
    assert_close(found, {k: v.detach().numpy() for k, v in expected.items()}, 1e-10)
    looked_up = np.unique(X[X != 0])
    moved = np.flatnonzero((table(net) != before).any(axis=1))
    assert_equal(moved, looked_up)


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1, momentum=0.9), Adam(0.05, amsgrad=True), nnb.Nadam(0.05), nnb.RAdam(0.05),
     nnb.Adagrad(0.1), nnb.Adadelta(0.5), nnb.RMSprop(0.01, momentum=0.5), nnb.Lion(0.01),
     Clipped(Adam(schedules.Cosine(0.05, 8)), value=0.01)],
    ids=repr,
)  # fmt: skip
def test_tables_of_which_all_rows_are_looked_up_learn_as_with_any_optimizer(optimizer, backend64):
    x = np.arange(24 * LENGTH).reshape(24, LENGTH) % COUNT
    lazy, dense = (network(backend64, nnb.Embedding(COUNT, FEATURES)) for _ in range(2))
    first, second = (fit(net, o, 3, x, rows((24, 2))) for net, o in
                     [(lazy, Lazy(optimizer, "0.*")), (dense, optimizer)])  # fmt: skip
    assert_close(first["loss"], second["loss"], 1e-12)
    assert_close(
        host(lazy.backend, lazy.state_dict()), host(dense.backend, dense.state_dict()), 1e-11
    )


def test_a_row_without_a_gradient_that_was_looked_up_goes_on_by_its_mean(backend64):
    """And one in a sample of weight 0 does not."""
    net = network(backend64, nnb.Embedding(COUNT, FEATURES))
    optimizer = Lazy(Adam(0.05), "0.weight")
    net.partial_fit(X[:8], Y[:8], optimizer=optimizer)
    before = table(net)
    x = np.asarray([[20, 20, 20, 20], [21, 21, 21, 21]])
    target = host(net.backend, net.predict(x))
    net.partial_fit(
        x, np.asarray(target), sample_weight=np.asarray([1.0, 0.0]), optimizer=optimizer
    )
    assert_equal(np.flatnonzero((table(net) != before).any(axis=1)), np.asarray([20]))


def test_batches_of_padding_and_of_no_weight_move_no_row(backend64):
    padding = np.zeros((5, LENGTH), dtype=int)
    for x, weight in ((padding, 1.0), (np.concat([padding[:1], X[:4]]), 0.0)):
        net = network(backend64)
        before = table(net)
        fit(net, Lazy(SGD(0.1, momentum=0.5), "0.weight"), 2, x, Y[:5],
            sample_weight=np.asarray([1.0, *4 * [weight]]))  # fmt: skip
        assert_equal(table(net), before)


def test_the_table_is_not_all_that_learns_and_frozen_layers_stay(backend64):
    net = network(backend64).freeze("2.bias")
    before = host(net.backend, net.state_dict())
    before = {name: np.array(value) for name, value in before.items()}
    fit(net, Lazy(Grouped("adam", {"0.*": SGD(0.1)}), "0.weight"))
    after = host(net.backend, net.state_dict())
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"0.weight", "2.weight"}
    net = network(backend64).freeze("0.weight")
    fit(net, Lazy("adam", "0.weight"))
    assert_equal(table(net), before["0.weight"])


def test_a_resumed_run_is_the_whole_run(backend64, tmp_path):
    optimizer = Lazy(Adam(0.05), "0.weight")
    whole, part = network(backend64), network(backend64)
    fit(whole, optimizer, 4)
    fit(part, optimizer, 2, callbacks=[nnb.callbacks.Checkpoint(tmp_path / "a.npz")])
    again = network(backend64)
    fit(again, optimizer, 4, resume=tmp_path / "a.npz")
    assert_equal(host(again.backend, again.state_dict()), host(whole.backend, whole.state_dict()))


def test_float32_and_narrow_indices(backend):
    expected, found = network(backend), network(backend)
    optimizer = Lazy("adam", "0.weight")
    fit(expected, optimizer)
    fit(found, optimizer, x=X.astype(np.uint8), profile=not backend.static_shapes, verbose=0)
    assert_close(table(found), table(expected), 1e-6)


def test_set_rows_writes_rows_also_where_an_index_is_repeated(backend64):
    with backend64.scope():
        xp = backend64.xp
        given = rows((6, 2))
        old = xp.asarray(backend64.asarray(given), copy=True)
        index = backend64.asarray(np.asarray([4, 1, 4]), dtype=xp.int32)
        new = backend64.set_rows(
            old, index, backend64.asarray([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
        )
        expected = given.copy()
        expected[4], expected[1] = (1.0, 2.0), (3.0, 4.0)
        assert_equal(host(backend64, new), expected)
        assert new is old or not backend64.slices_are_views


@dataclass(frozen=True)
class Twice:
    """A table whose gradient a layer around it changes."""

    layer: nnb.Embedding

    def init(self, input_shape, rng):
        params, shape = self.layer.init(input_shape, rng)
        return {"layer": params}, shape

    def forward(self, params, x, ctx):
        y, backward = self.layer.forward(params["layer"], x, ctx.child("layer"))

        def twice(dy, input_grad=True):
            dx, grads = backward(dy, input_grad)
            return dx, {"layer": {"weight": 2.0 * grads["weight"]}}

        return y, twice


E = nnb.Embedding


@pytest.mark.parametrize(
    ("optimizer", "first", "options", "words"),
    [
        (lambda: Lazy("adam", "2.weight"), None, {}, "does not say which"),
        (lambda: Lazy("adam", "2.bias"), None, {}, "two axes"),
        (lambda: Lazy("adam", "1.weight"), None, {}, "matches none"),
        (lambda: Lazy("adam", ()), None, {}, "needs the patterns"),
        (lambda: Lazy("adam", [3]), None, {}, "a pattern is a text"),
        (lambda: Lazy("lbfgs", "0.weight"), None, {}, "L-BFGS has none"),
        (lambda: Lazy(Lazy("adam", "*"), "0.weight"), None, {}, "one"),
        (lambda: Lazy(AdamW(), "0.weight"), None, {}, "weight decay"),
        (lambda: Lazy(Clipped(AdamW(), norm=1.0), "0.weight"), None, {}, "weight decay"),
        (lambda: Lazy(LAMB(weight_decay=0.0), "0.weight"), None, {}, "whole parameters"),
        (lambda: Lazy(nnb.Muon(weight_decay=0.0), "0.weight"), None, {}, "whole parameters"),
        (lambda: Lazy(EMA("adam"), "0.weight"), None, {}, "average"),
        (lambda: EMA(Lazy("adam", "0.weight")), None, {}, "average"),
        (lambda: SWA(Clipped(Lazy("adam", "0.weight"), norm=1.0)), None, {}, "average"),
        (lambda: Lazy(Frozen("adam", "2.*"), "0.weight"), None, {}, r"Frozen\(Lazy\("),
        (lambda: Grouped("adam", {"0.*": Lazy("adam", "*")}), None, {}, "around Grouped"),
        (lambda: Lazy(Adam(beta1=schedules.Cosine(0.9, 4)), "0.weight"), None, {}, "beta1"),
        (lambda: Lazy("adam", "0.weight"), E(COUNT, 3, regularizer="l2"), {}, "regularizer"),
        (lambda: Lazy("adam", "0.weight"), E(COUNT, 3, constraint="non_negative"), {}, "0.weight"),
        (lambda: Lazy("adam", "0.weight"), None, {"accumulate": 2}, "accumulate=2"),
        (lambda: Lazy("adam", "0.layer.weight"), Twice(E(COUNT, 3)), {}, "Lazy asked"),
        (lambda: Lazy("adam", "0.*"), nnb.Checkpoint([E(COUNT, 3)]), {}, "computes again"),
    ],
)
def test_what_it_does_not_go_with_is_refused(optimizer, first, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        fit(network("numpy", first), optimizer(), **options)


def test_mixed_precision_and_loops_of_ones_own_are_refused():
    with pytest.raises(ValueError, match="mixed precision"):
        fit(network("numpy", precision="float16"), Lazy("adam", "0.weight"))
    net, optimizer = network("numpy", dtype="float64"), Lazy("adam", "0.weight")
    y, backward = net.forward(X, training=True)
    grads, params = backward(y)[1], net.params
    with pytest.raises(TypeError, match="loop of your own"):
        optimizer.update(params, grads, optimizer.init(params))


def test_an_optimizer_that_somebody_wrote_is_refused():
    @dataclass(frozen=True)
    class Own(SGD):
        pass

    with pytest.raises(ValueError, match="not of this library"):
        fit(network("numpy"), Lazy(Own(0.1), "0.weight"))
