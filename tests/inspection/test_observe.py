"""What is observed of a pass, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import STATEFUL_LAYERS, RunningMean, each, rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend import Context, Dense, Dropout, Layer, Residual, Sequential
from nnbackend.core.tree import flatten, map_arrays
from nnbackend.inspection.observe import run_observed
from nnbackend.testing import check_gradients

X = rows((6, 4))
LABELS = np.arange(6) % 3
LAYERS = [
    Dense(5, "tanh"),
    Residual([Dense(5, "relu"), Sequential([Dropout(0.4)])]),
    Dense(3, "softmax"),
]
PATHS = ["0", "1.0", "1.1.0", "1.1", "1", "2"]


@pytest.fixture
def net(backend):
    return nnb.Network(LAYERS, backend=backend, input_shape=4, seed=3)


def by_path(passages):
    return {passage.path: passage for passage in passages}


def test_passages_come_in_the_order_of_the_forward_pass(net):
    passages = nnb.observe(net, X, LABELS, "softmax_cross_entropy")
    assert [p.path for p in passages] == PATHS
    kinds = [type(p.layer).__name__ for p in passages]
    assert kinds == ["Dense", "Dense", "Dropout", "Sequential", "Residual", "Dense"]
    assert passages[4].layer is net.layers.layers[1]
    assert passages[1].params is net.params["1"]["0"]


def test_what_leaves_a_layer_goes_into_the_next(net):
    seen = by_path(nnb.observe(net, X, LABELS, "softmax_cross_entropy"))
    assert seen["0"].y is seen["1"].x is seen["1.0"].x
    assert seen["1.0"].y is seen["1.1"].x is seen["1.1.0"].x
    assert seen["1"].y is seen["2"].x
    assert seen["2"].dx is seen["1"].dy
    assert seen["1"].dx is seen["0"].dy
    found = host(net.backend, {"x": seen["1"].x, "f": seen["1.1"].y, "y": seen["1"].y})
    assert_equal(found["y"], found["x"] + found["f"])


def test_gradients_are_those_of_a_training_pass_of_that_step(net):
    steps = net.trained
    for step in (0, 7):
        passages = nnb.observe(net, X, np.eye(3)[LABELS], "mse", step=step)
        y, backward = net.forward(X, training=True, step=step)
        with net.backend.scope():
            _, dy = nnb.losses.mse(y, net.backend.asarray(np.eye(3)[LABELS]))
        dx, grads = backward(dy)
        seen = by_path(passages)
        assert_equal(host(net.backend, seen["2"].y), host(net.backend, y))
        assert_equal(host(net.backend, seen["0"].dx), host(net.backend, dx))
        found = {"0": seen["0"].grads, "1": seen["1"].grads, "2": seen["2"].grads}
        assert_equal(host(net.backend, found), host(net.backend, grads))
    assert net.trained == steps


def test_dense_notes_what_its_activation_is_given(net):
    seen = by_path(nnb.observe(net, X, np.eye(3)[LABELS], "mse"))
    assert list(seen["0"].notes) == ["z", "dz"]
    first = {name: host(net.backend, a) for name, a in seen["0"].notes.items()}
    y, dy = host(net.backend, seen["0"].y), host(net.backend, seen["0"].dy)
    np.testing.assert_allclose(np.tanh(first["z"]), y, rtol=1e-5)
    np.testing.assert_allclose(dy * (1 - y**2), first["dz"], rtol=1e-4, atol=1e-8)
    assert not seen["1"].notes  # the layers inside keep theirs
    mask = host(net.backend, seen["1.1.0"].notes["mask"])
    assert_equal(host(net.backend, seen["1.1.0"].y), host(net.backend, seen["1.1.0"].x) * mask)


def test_a_loss_with_the_output_activation_in_it_shows_the_numbers_before(net):
    last = nnb.observe(net, X, LABELS, "softmax_cross_entropy")[-1]
    z, dz = host(net.backend, last.y), host(net.backend, last.dy)
    assert_equal(host(net.backend, last.notes["z"]), z)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    probabilities = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(dz, (probabilities - np.eye(3)[LABELS]) / 6, atol=1e-6)


def test_without_targets_it_is_a_pass_as_in_predict(net):
    passages = nnb.observe(net, X)
    assert [p.path for p in passages] == PATHS
    assert_close(host(net.backend, passages[-1].y), host(net.backend, net.predict(X)), 1e-6)
    assert all(p.dy is p.dx is p.grads is None for p in passages)
    dropout = by_path(passages)["1.1.0"]
    assert dropout.y is dropout.x


def test_the_loss_is_that_of_the_last_fit_if_none_is_given(net):
    with pytest.raises(ValueError, match="say which loss"):
        nnb.observe(net, X, LABELS)
    with pytest.raises(ValueError, match="give y"):
        nnb.observe(net, X, loss="mse")
    net.fit(X, LABELS, loss="softmax_cross_entropy", epochs=1, verbose=0)
    step = net.trained[0]
    before = host(net.backend, net.state_dict())
    assert nnb.observe(net, X, LABELS, step=step)[-1].grads
    assert_equal(host(net.backend, net.state_dict()), before)


def test_a_network_is_built_for_the_rows():
    net = nnb.Network([Dense(2)])
    assert "0 (" not in repr(nnb.observe(net, X))
    assert net.input_shape == (4,)


def test_a_passage_reads_as_shapes():
    passage = nnb.observe(nnb.Network([Dense(2, "relu")]), X, X[:, :2], "mse")[0]
    text = "Passage('0', Dense(2, relu), x=(6, 4), y=(6, 2), dy=(6, 2), dx=(6, 4))"
    assert repr(passage) == text
    assert passage.forward_seconds > 0
    assert passage.backward_seconds > 0


def test_mixed_precision_shows_16_bits():
    net = nnb.Network(LAYERS, precision="float16", input_shape=4)
    passages = nnb.observe(net, X, LABELS, "softmax_cross_entropy")
    assert [p.path for p in passages] == PATHS
    for p in passages:
        arrays = [p.x, p.y, p.dy, p.dx, *flatten(p.params).values()]
        assert {str(a.dtype) for a in arrays} == {"float16"}


@each(STATEFUL_LAYERS)
def test_layers_with_state_are_observed_and_keep_it(case, backend64):
    net = nnb.Network([case.thing], backend=backend64, input_shape=case.shape)
    x = rows((6, *case.shape))
    before = host(backend64, net.state)
    passages = nnb.observe(net, x, rows((6, *net.output_shape), seed=1), "mse")
    assert_equal(host(backend64, net.state), before)
    y, _ = net.forward(x, training=True, step=0)
    assert_equal(host(backend64, passages[-1].y), host(backend64, y))
    assert check_gradients(net, x) < 1e-7
    assert nnb.testing.compare_backends(net, x, "numpy").first_difference is None


def test_a_passage_has_the_state_that_the_pass_left():
    net = nnb.Network([Sequential([RunningMean(0.5)])], dtype="float64", input_shape=4)
    inner, around = nnb.observe(net, X, X, "mse")
    np.testing.assert_allclose(inner.state["mean"], 0.5 * X.mean(axis=0))
    assert list(around.state) == ["0"]
    assert float(nnb.observe(net, X)[0].state["mean"].sum()) == 0.0


# ------------------------------------------------------------------------- layers of the user's


@dataclass(frozen=True)
class Split:
    """From an array to a pair of arrays."""

    def init(self, input_shape, rng):
        return {}, (input_shape, input_shape)

    def forward(self, params, x, ctx):
        return (x, 2.0 * x), lambda dy, input_grad=True: (dy[0] + 2.0 * dy[1], {})


@dataclass(frozen=True)
class Multiply:
    """From a pair of arrays to their product."""

    off: float = 1.0

    def init(self, input_shape, rng):
        return {}, input_shape[0]

    def forward(self, params, x, ctx):
        a, b = x
        return a * b, lambda dy, input_grad=True: ((dy * b, self.off * dy * a), {})


class MultiplyNamed(Multiply):
    """From a dictionary of arrays to their product."""

    def init(self, input_shape, rng):
        return {}, input_shape["a"]

    def forward(self, params, x, ctx):
        y, pair_backward = super().forward(params, (x["a"], x["b"]), ctx)
        return y, lambda dy, input_grad=True: (
            dict(zip("ab", pair_backward(dy)[0], strict=True)), {}
        )  # fmt: skip


@dataclass(frozen=True)
class Pick:
    """One number of each row, by its index."""

    takes = ("numbers", "indices")

    def init(self, input_shape, rng):
        return {}, (1,)

    def forward(self, params, x, ctx):
        values, index = x
        columns = ctx.xp.arange(values.shape[1], dtype=index.dtype, device=ctx.backend.device)
        chosen = ctx.xp.astype(ctx.xp.expand_dims(index, axis=-1) == columns, values.dtype)
        y = ctx.xp.sum(chosen * values, axis=1, keepdims=True)
        return y, lambda dy, input_grad=True: ((dy * chosen, None), {})


@dataclass(frozen=True)
class Twice:
    """A composite that runs the layer inside it twice, and asks it for an attribute."""

    inner: Layer

    def init(self, input_shape, rng):
        assert self.inner.out_features == input_shape[-1]
        params, shape = self.inner.init(input_shape, rng.child("inner"))
        return {"inner": params}, shape

    def forward(self, params, x, ctx: Context):
        assert self.inner.out_features == x.shape[-1]
        first, first_backward = self.inner.forward(params["inner"], x, ctx.child("inner"))
        y, second_backward = self.inner.forward(params["inner"], first, ctx.child("inner"))

        def backward(dy, input_grad=True):
            dy, grads = second_backward(dy)
            dx, more = first_backward(dy)
            return dx, {"inner": {name: grads[name] + more[name] for name in grads}}

        return y, backward


@dataclass(frozen=True)
class Hidden:
    """A layer that keeps what it computes with to itself."""

    def init(self, input_shape, rng):
        params, shape = Dense(2).init(input_shape, rng.child("projection"))
        return {"projection": params}, shape

    def forward(self, params, x, ctx):
        ctx.note("sum", ctx.xp.sum(x))
        y, inner_backward = Dense(2).forward(params["projection"], x, ctx.child("projection"))

        def backward(dy, input_grad=True):
            dx, grads = inner_backward(dy)
            return dx, {"projection": grads}

        return y, backward


def test_trees_between_layers_are_observed(backend64):
    net = nnb.Network([Dense(3), Split(), Multiply(), Dense(2)], backend=backend64, input_shape=4)
    split, multiply = nnb.observe(net, X, X[:, :2], "mse")[1:3]
    assert split.y is multiply.x
    assert multiply.dx is split.dy
    assert repr(multiply).endswith("x=((6, 3), (6, 3)), y=(6, 3), dy=(6, 3), dx=((6, 3), (6, 3)))")
    assert check_gradients(net, X) < 1e-8
    assert nnb.testing.compare_backends(net, X, "numpy").first_difference is None
    wrong = nnb.Network([Dense(3), Split(), Multiply(1.01)], backend=backend64)
    with pytest.raises(nnb.errors.GradientError, match=r"layer 2 \(Multiply\).*x\[1\]"):
        check_gradients(wrong, X)


@pytest.mark.parametrize("named", [False, True])
def test_networks_of_several_inputs_are_observed_and_checked(named, backend64):
    x: Any = {"a": X, "b": X + 1.0} if named else (X, X + 1.0)
    layer = MultiplyNamed() if named else Multiply()
    net = nnb.Network([layer, Dense(2, "tanh")], backend=backend64)
    first, last = nnb.observe(net, x, X[:, :2], "mse")
    a, b = first.x.values() if named else first.x
    assert_equal(host(backend64, first.y), X * (X + 1.0))
    da, db = first.dx.values() if named else first.dx
    assert_equal(host(backend64, da), host(backend64, last.dx * b))
    assert_equal(host(backend64, db), host(backend64, last.dx * a))
    assert check_gradients(net, x) < 1e-8
    assert nnb.testing.compare_backends(net, x, "numpy").first_difference is None
    wrong = nnb.Network([type(layer)(1.01), Dense(2)], backend=backend64)
    with pytest.raises(nnb.errors.GradientError, match=r"layer 0 \(Multiply.*x\[1\]"):
        check_gradients(wrong, x)


def test_indices_have_no_gradient(backend64):
    net = nnb.Network([Pick(), Dense(2, "tanh")], backend=backend64)
    x = (X, np.arange(6) % 4)
    first, _ = nnb.observe(net, x, X[:, :2], "mse")
    assert first.dx[1] is None
    assert check_gradients(net, x) < 1e-8
    assert nnb.testing.compare_backends(net, x, "numpy").first_difference is None


def test_a_layer_that_runs_twice_is_seen_twice(backend64):
    net = nnb.Network([Twice(Dense(4, "tanh"))], backend=backend64, input_shape=4)
    first, second, whole = nnb.observe(net, X, X, "mse")
    assert [p.path for p in (first, second, whole)] == ["0.inner", "0.inner", "0"]
    assert first.y is second.x
    assert second.dx is first.dy
    assert first.notes["z"] is not second.notes["z"]
    total = map_arrays(lambda a, b: a + b, first.grads, second.grads)
    assert_equal(host(backend64, whole.grads["inner"]), host(backend64, total))


def test_notes_of_layers_that_are_kept_nowhere_go_to_the_one_around_them():
    net = nnb.Network([Sequential([Hidden()])], input_shape=4)
    hidden = nnb.observe(net, X, X[:, :2], "mse")[0]
    assert list(hidden.notes) == ["sum", "projection.z", "projection.dz"]


def test_nothing_is_kept_when_nobody_observes(backend):
    ctx, value = Context(backend), object()
    assert ctx.note("z", value) is value
    passages, *_ = run_observed(Sequential([Dense(2)]), {"0": _params(backend)}, _x(backend), ctx)
    assert passages
    assert ctx.note("z", value) is value
    assert "z" in passages[0].notes
    assert passages[0].notes["z"] is not value


def test_the_observer_is_gone_after_an_error(backend):
    ctx = Context(backend)
    with pytest.raises(KeyError):
        run_observed(Sequential([Dense(2)]), {"0": {}}, _x(backend), ctx)
    assert ctx.set_observer(None) is None


def _params(backend) -> Any:
    return {"weight": backend.asarray(rows((4, 2))), "bias": backend.asarray(rows((2,)))}


def _x(backend) -> Any:
    return backend.asarray(X)
