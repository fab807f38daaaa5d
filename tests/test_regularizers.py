"""What is added to the loss, what holds for weights, and the gradient of a batch in parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from cases import CONSTRAINTS, REGULARIZERS, each, rows
from tools import assert_close, assert_equal, host, slope

import nnbackend as nnb
from nnbackend import constraints, regularizers
from nnbackend.constraints import MaxNorm, NonNegative, UnitNorm
from nnbackend.core.tree import flatten
from nnbackend.errors import GradientError
from nnbackend.optimizers import LBFGS, SGD, Adam
from nnbackend.regularizers import L1, L2, ElasticNet, PerRowL2

X, Y = rows((23, 3)), rows((23, 2), 1)
W = np.arange(23.0) % 4


def weights(net):
    return host(net.backend, net.state_dict())


# ------------------------------------------------------------------------------------- penalties


def penalized(backend, **given):
    """Return a network with a penalty on three of its four weights, two of them inside others."""
    layers = [
        nnb.Dense(4, activation="tanh", regularizer=L1(0.02)),
        nnb.Residual([nnb.Dense(4, activation="tanh"), nnb.Dense(4, regularizer=L2(0.03))]),
        nnb.Sequential([nnb.Dense(2, regularizer=ElasticNet(0.01, 0.02))]),
    ]
    return nnb.Network(layers, backend=backend, input_shape=3, **given)


def penalty_of(w: dict[str, np.ndarray]) -> float:
    """Return what the penalties of that network are, by hand."""
    first, second, third = w["0.weight"], w["1.1.weight"], w["2.0.weight"]
    return float(
        0.02 * np.abs(first).sum()
        + 0.03 * (second**2).sum()
        + 0.01 * np.abs(third).sum()
        + 0.02 * (third**2).sum()
    )


def without(net):
    """Return a network of the same weights without penalties."""

    def plain(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return replace(layer, layers=[plain(inner) for inner in layer.layers])
        return replace(layer, regularizer=None)

    other = nnb.Network(plain(net.layers), backend=net.backend, input_shape=3)
    return other.load_state_dict(net.state_dict())


@each(REGULARIZERS)
def test_the_gradient_is_the_slope_of_the_value(case, backend64):
    w, v = rows((4, 3)), rows((4, 3), 1)

    def value(w):
        return float(case.thing(backend64.asarray(w))[0])

    gradient = host(backend64, case.thing(backend64.asarray(w))[1])
    assert (gradient * v).sum() == pytest.approx(slope(value, w, v), rel=1e-8, abs=1e-12)


@each(REGULARIZERS)
def test_a_penalty_keeps_dtype_and_device_and_leaves_the_weight_alone(case, backend):
    w = backend.asarray(rows((4, 3)))
    before = host(backend, w)
    for array in case.thing(w):
        assert array.dtype == backend.dtype
        assert str(array.device) == str(backend.device)
    assert_equal(host(backend, w), before)


def test_the_slope_of_the_absolute_value_at_zero_is_zero(backend):
    _, gradient = L1(0.5)(backend.asarray([[0.0, 2.0, -3.0]]))
    assert_equal(host(backend, gradient), np.array([[0.0, 0.5, -0.5]], np.float32))


def test_every_reported_loss_contains_the_penalties(backend64):
    net = penalized(backend64)
    expected = without(net).evaluate(X, Y, loss="mse")["loss"] + penalty_of(weights(net))
    history = net.fit(X, Y, optimizer=SGD(0.0), validation_data=(X, Y), batch_size=8)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-12)
    assert history["validation_loss"][0] == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(X, Y)["loss"] == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(X[:5], Y[:5], loss="mse")["loss"] == pytest.approx(
        without(net).evaluate(X[:5], Y[:5], loss="mse")["loss"] + penalty_of(weights(net))
    )
    assert net.partial_fit(X, Y, optimizer=SGD(0.0)) == pytest.approx(expected, rel=1e-12)
    profiled = penalized("numpy", dtype="float64").fit(
        X, Y, optimizer=SGD(0.0), profile=True, verbose=0
    )
    assert profiled["loss"][0] == pytest.approx(expected, rel=1e-12)


def test_a_loop_of_ones_own_adds_the_penalties(backend64):
    fitted, looped = penalized(backend64), penalized(backend64)
    history = fitted.fit(X, Y, optimizer=SGD(0.1), epochs=3, batch_size=8, shuffle=False)
    terms, values = regularizers.terms(looped.layers), []
    optimizer = SGD(0.1)
    looped.load_state_dict(looped.state_dict())  # arrays that the optimizer may change
    with backend64.scope():
        state = optimizer.init(looped.params)
        for _ in range(3):
            for start in range(0, 23, 8):
                x, y = X[start : start + 8], backend64.asarray(Y[start : start + 8])
                prediction, backward = looped.forward(x, training=True)
                value, dy = nnb.losses.mse(prediction, y)
                _, grads = backward(dy)
                value, grads = regularizers.penalized(terms, looped.params, value, grads)
                looped.params, state = optimizer.update(looped.params, grads, state)
                values.append(float(value) * len(x))
    assert_close(weights(fitted), weights(looped), 1e-12)
    steps = np.reshape(values, (3, -1)).sum(axis=1) / 23
    np.testing.assert_allclose(history["loss"], steps, rtol=1e-12)


def test_a_penalty_makes_weights_smaller_and_l1_makes_some_vanish(backend):
    def learned(regularizer):
        net = nnb.Network(
            [nnb.Dense(1, regularizer=regularizer)], backend=backend, input_shape=10, seed=1
        )
        x = rows((60, 10), 3)
        net.fit(x, 2.0 * x[:, 0], optimizer=SGD(0.05), epochs=60, batch_size=20)
        return np.abs(weights(net)["0.weight"][:, 0])

    plain, lasso, ridge = learned(None), learned(L1(0.2)), learned(L2(0.5))
    assert ridge[0] < 0.9 * plain[0]
    assert (lasso[1:] < 0.02).all()
    assert lasso[0] > 1.5


def test_the_gradient_check_covers_penalties(backend64):
    @dataclass(frozen=True)
    class Wrong:
        def __call__(self, weight):
            value, gradient = L2(0.1)(weight)
            return value, 1.01 * gradient

    net = penalized(backend64)
    assert nnb.testing.check_gradients(net, X[:3]) < 1e-7
    layers = [nnb.Dense(4), nnb.Residual([nnb.Dense(4, regularizer=Wrong())])]
    wrong = nnb.Network(layers, backend=backend64, input_shape=3)
    with pytest.raises(GradientError, match=r"layer 1\.0 \(Dense\).*weight"):
        nnb.testing.check_gradients(wrong, X[:3])


def test_a_penalty_may_be_a_function(backend64):
    def cubes(weight):
        xp = backend64.xp
        return 0.1 * xp.sum(xp.abs(weight) ** 3), 0.3 * weight * xp.abs(weight)

    net = nnb.Network([nnb.Dense(2, regularizer=cubes)], backend=backend64, input_shape=3)
    assert nnb.testing.check_gradients(net, X[:3]) < 1e-7
    plain = nnb.Network([nnb.Dense(2)], backend=backend64, input_shape=3)
    more = 0.1 * (np.abs(weights(net)["0.weight"]) ** 3).sum()
    expected = plain.evaluate(X, Y, loss="mse")["loss"] + more
    assert net.fit(X, Y, batch_size=None)["loss"][0] == pytest.approx(expected, rel=1e-12)


def test_penalties_of_frozen_layers_are_in_the_loss(backend64):
    net = penalized(backend64).freeze("0.*")
    expected = without(net).evaluate(X, Y, loss="mse")["loss"] + penalty_of(weights(net))
    history = net.fit(X, Y, batch_size=None)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-12)


def test_l_bfgs_minimizes_the_penalties_too(backend64):
    pytest.importorskip("scipy")
    task = {"optimizer": LBFGS(), "batch_size": None, "epochs": 50}
    ridge = nnb.Network([nnb.Dense(2, bias=False, regularizer=L2(0.1))], backend=backend64)
    ridge.fit(X, Y, **task)
    expected = np.linalg.solve(X.T @ X + 0.1 * Y.size * np.eye(3), X.T @ Y)
    np.testing.assert_allclose(weights(ridge)["0.weight"], expected, atol=1e-4)
    with pytest.raises(ValueError, match="Constrained changes single steps"):
        nnb.Network([nnb.Dense(2, constraint="unit_norm")], backend=backend64).fit(X, Y, **task)
    with pytest.raises(ValueError, match="accumulate=1"):
        ridge.fit(X, Y, **task, accumulate=2)
    with pytest.raises(ValueError, match="Frozen changes single steps"):
        ridge.freeze("*").fit(X, Y, **task)


def test_both_are_saved_with_the_layer(backend, tmp_path):
    layer = nnb.Dense(2, regularizer=ElasticNet(0.1, 0.2), constraint=MaxNorm(1.5))
    net = nnb.Network([nnb.Residual([nnb.Dense(3)]), layer], backend=backend, input_shape=3)
    net.save(tmp_path / "net.safetensors")
    assert nnb.load(tmp_path / "net.safetensors", backend=backend).layers == net.layers
    assert nnb.Dense(2, regularizer="l2").regularizer == L2(0.01)
    assert nnb.Dense(2, constraint="max_norm").constraint == MaxNorm(2.0)


@dataclass(frozen=True)
class Bare:
    """A layer with penalty and constraint for a weight that it does not have."""

    regularizer: Any = None
    constraint: Any = None

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {"scale": np.ones(input_shape)}, input_shape

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        return x * params["scale"], lambda dy, input_grad=True: (dy, {"scale": dy.sum(0)})


@pytest.mark.parametrize("given", [{"regularizer": L2()}, {"constraint": UnitNorm()}])
def test_a_penalty_for_a_weight_that_is_not_there_is_refused(given):
    net = nnb.Network([Bare(**given)], input_shape=3)
    with pytest.raises(ValueError, match=r"no parameter 0\.weight; there are 0\.scale"):
        net.fit(X, X)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: L1(-0.1), ValueError, "strength"),
        (lambda: L2(float("nan")), ValueError, "strength"),
        (lambda: L2("much"), ValueError, "strength"),
        (lambda: ElasticNet(l2=-1), ValueError, "l2"),
        (lambda: MaxNorm(0), ValueError, "norm must be above 0"),
        (lambda: MaxNorm(-1), ValueError, "norm"),
        (lambda: nnb.Dense(2, regularizer="l3"), ValueError, "regularizer 'l3'.*'l"),
        (lambda: nnb.Dense(2, regularizer=0.1), TypeError, "regularizer"),
        (lambda: nnb.Dense(2, regularizer=L2), TypeError, "regularizer"),
        (lambda: nnb.Dense(2, constraint="maxnorm"), ValueError, "did you mean 'max_norm'"),
        (lambda: nnb.Dense(2, constraint=MaxNorm), TypeError, "constraint"),
        (lambda: nnb.Network([nnb.Dense(2)]).fit(X, Y, accumulate=0), ValueError, "accumulate"),
        (lambda: nnb.Network([nnb.Dense(2)]).fit(X, Y, accumulate=1.5), ValueError, "accumulate"),
        (lambda: nnb.Network([nnb.Dense(2)]).partial_fit(X, Y, accumulate=-1), ValueError, "accumulate"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ------------------------------------------------------------------------------------- constraints


@each(CONSTRAINTS)
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3)])
def test_a_constraint_is_a_projection(case, shape, backend64):
    w = rows(shape)
    given = backend64.asarray(w)
    once = case.thing(given)
    assert_close(host(backend64, case.thing(once)), host(backend64, once), 1e-14)
    assert_equal(host(backend64, given), w)
    assert once.dtype == backend64.dtype
    assert str(once.device) == str(backend64.device)


def test_norms_are_those_of_the_incoming_weights_of_each_unit(backend64):
    w = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])  # norms 5, 0.5 and 0 of three units

    def applied(constraint):
        return host(backend64, constraint(backend64.asarray(w)))

    expected = np.array([[0.6, 0.3, 0.0], [0.8, 0.4, 0.0]])
    np.testing.assert_allclose(applied(MaxNorm(1.0)), expected, rtol=1e-15)
    expected = np.array([[0.6, 0.6, 0.0], [0.8, 0.8, 0.0]])
    np.testing.assert_allclose(applied(UnitNorm()), expected, rtol=1e-15)
    np.testing.assert_array_equal(applied(MaxNorm(10.0)), w)


def test_negative_weights_become_zero_and_the_others_stay(backend):
    w = backend.asarray([[1.5, -2.0], [0.0, -0.1]])
    expected = np.array([[1.5, 0.0], [0.0, 0.0]], np.float32)
    assert_equal(host(backend, NonNegative()(w)), expected)


def test_constraints_hold_after_every_step_also_inside_other_layers(backend):
    optimizer = nnb.optimizers.EMA(SGD(0.5), decay=0.5)
    layers = [
        nnb.Dense(4, activation="tanh", constraint=MaxNorm(0.4)),
        nnb.Residual([nnb.Dense(4, constraint="unit_norm")]),
        nnb.Dense(2, constraint=constraints.NonNegative()),
    ]
    net = nnb.Network(layers, backend=backend, input_shape=3)
    raw = [net.raw_params]
    net.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=8,
            callbacks=[lambda run: raw.append(host(backend, net.raw_params))])  # fmt: skip
    net.partial_fit(X, Y, optimizer=optimizer)
    raw.append(host(backend, net.raw_params))
    for params in raw[1:]:
        w = flatten(params)
        assert (np.linalg.norm(w["0.weight"], axis=0) <= 0.4 * (1 + 1e-6)).all()
        np.testing.assert_allclose(np.linalg.norm(w["1.0.weight"], axis=0), 1.0, rtol=1e-6)
        assert (w["2.weight"] >= 0).all()
    averages = weights(net)
    assert (np.linalg.norm(averages["0.weight"], axis=0) <= 0.4 * (1 + 1e-6)).all()
    assert (averages["2.weight"] >= 0).all()


def test_a_step_and_a_projection_by_hand(backend64):
    net = nnb.Network(
        [nnb.Dense(2, bias=False, constraint="non_negative")], backend=backend64, input_shape=3
    )
    w = weights(net)["0.weight"]
    net.fit(X, Y, epochs=4, batch_size=None, optimizer=SGD(0.1))
    for _ in range(4):
        w = np.maximum(w - 0.1 * 2 / Y.size * X.T @ (X @ w - Y), 0.0)
    assert_close(weights(net)["0.weight"], w, 1e-12)


def test_frozen_weights_are_not_constrained(backend):
    layers = [nnb.Dense(4, constraint=MaxNorm(1e-3)), nnb.Dense(2)]
    net = nnb.Network(layers, backend=backend, input_shape=3).freeze("0.weight")
    before = weights(net)
    net.fit(X, Y)
    assert_equal(weights(net)["0.weight"], before["0.weight"])


# ------------------------------------------------------------------------------------- accumulation


def network(backend, **given):
    layers = [nnb.Dense(5, activation="tanh", regularizer=L2(0.01)), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, input_shape=3, **given)


@pytest.mark.parametrize(
    ("accumulate", "weighted"), [(2, False), (3, False), (3, True), (50, True)]
)
def test_the_gradient_in_parts_is_that_of_the_whole(accumulate, weighted, backend64):
    """Batches of 8, 8 and 7 rows: in parts of equal size, with a smaller last one, and of one row."""
    whole, parts = network(backend64), network(backend64)
    task = {
        "optimizer": Adam(0.02), "epochs": 3, "batch_size": 8, "metrics": ["mae"],
        "sample_weight": W if weighted else None,
    }  # fmt: skip
    expected = whole.fit(X, Y, **task)
    history = parts.fit(X, Y, **task, accumulate=accumulate)
    assert_close(weights(parts), weights(whole), 1e-12)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-11)


def test_full_batches_many_epochs_together(backend64):
    whole, parts = network(backend64), network(backend64)
    task = {"optimizer": Adam(0.02), "epochs": 30, "batch_size": None}
    expected = whole.fit(X, Y, **task)
    history = parts.fit(X, Y, **task, accumulate=4)
    assert_close(weights(parts), weights(whole), 1e-11)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-11)


def test_labels_and_partial_fits_in_parts(backend64):
    def net():
        return nnb.Network([nnb.Dense(3, activation="softmax")], backend=backend64, input_shape=3)

    labels, task = np.arange(23) % 3, {"loss": "softmax_cross_entropy", "optimizer": Adam(0.1)}
    whole, parts = net(), net()
    for size, accumulate in ((23, 4), (10, 3), (10, 1)):
        value = whole.partial_fit(X[:size], labels[:size], **task)
        other = parts.partial_fit(X[:size], labels[:size], **task, accumulate=accumulate)
        assert other == pytest.approx(value, rel=1e-12)
    assert_close(weights(parts), weights(whole), 1e-12)


def test_parts_of_rows_that_do_not_count_change_nothing(backend64):
    net = network(backend64)
    weight = np.concatenate([np.zeros(16), np.ones(7)])
    whole = network(backend64)
    task = {"batch_size": None, "sample_weight": weight, "optimizer": SGD(0.1)}
    whole.fit(X, Y, **task)
    net.fit(X, Y, **task, accumulate=6)
    assert_close(weights(net), weights(whole), 1e-12)


@dataclass(frozen=True)
class Recorder:
    """A layer that notes the shapes and rows it sees in training."""

    seen: Any

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        if ctx.training:
            self.seen.append((tuple(x.shape), ctx.step))
        return x, lambda dy, input_grad=True: (dy, {})


def test_no_more_rows_than_a_part_go_through_the_network_at_once(backend):
    if backend.name == "jax":
        pytest.skip("a compiled step cannot be watched; its results are compared above")
    seen: list = []
    net = nnb.Network([Recorder(seen), nnb.Dense(2)], backend=backend, input_shape=3)
    net.fit(X[:16], Y[:16], batch_size=8, accumulate=3)
    assert [shape for shape, _ in seen] == [(3, 3), (3, 3), (2, 3)] * 2
    net.fit(X[:16], Y[:16], batch_size=8)
    steps = [step for _, step in seen]
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7]  # each part has random numbers of its own, once


def test_each_part_has_a_mask_of_its_own(backend):
    """With weights of one that stay, the loss shows the masks that were drawn."""

    def net():
        layers = [nnb.Dropout(0.5), nnb.Dense(1, bias=False, initializer="ones")]
        return nnb.Network(layers, backend=backend, seed=4, input_shape=5)

    ones, zeros = np.ones((7, 5)), np.zeros((7, 1))
    history = net().fit(ones, zeros, batch_size=7, accumulate=3, optimizer=SGD(0.0), epochs=2)
    for epoch in range(2):
        squares = []
        for part, size in enumerate((3, 3, 1)):
            y, _ = net().forward(ones[:size], training=True, step=3 * epoch + part)
            squares.append((host(backend, y) ** 2).sum())
        assert history["loss"][epoch] == pytest.approx(sum(squares) / 7, rel=1e-5)


def test_dropout_in_parts_is_the_same_on_every_backend(backend64):
    def learned(backend):
        layers = [nnb.Dense(6, activation="tanh"), nnb.Dropout(0.3), nnb.Dense(2)]
        net = nnb.Network(layers, backend=backend, dtype="float64", input_shape=3, seed=2)
        history = net.fit(
            X, Y, epochs=5, batch_size=9, accumulate=4, sample_weight=W, metrics=["mae"]
        )
        return weights(net), history

    found, history = learned(backend64)
    expected, reference = learned("numpy")
    assert_close(found, expected, 1e-10)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(history[name], reference[name], rtol=1e-10)


def test_a_penalty_per_row_is_divided_by_rows_or_weights():
    w, b = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([5.0])
    penalty = PerRowL2(6.0, (("0", "weight"), ("1", "weight")))
    params = {"0": {"weight": w, "bias": b}, "1": {"weight": 2 * w}}
    grads = {"0": {"weight": np.zeros((2, 2)), "bias": np.zeros(1)}, "1": {}}  # "1" is frozen
    value, found = penalty.add_to(np.asarray(1.0), grads, params, 4.0)
    np.testing.assert_allclose(value, 1.0 + 6.0 / 2 * 5 * (w**2).sum() / 4)
    np.testing.assert_allclose(found["0"]["weight"], 6.0 * w / 4)
    np.testing.assert_array_equal(found["0"]["bias"], 0.0)
    assert found["1"] == {}
    none = {"0": {"weight": 0 * w}, "1": {}}
    stronger, _ = penalty.add_to(np.asarray(1.0), none, params, 4.0, 12.0)
    np.testing.assert_allclose(stronger - 1.0, 2 * (value - 1.0))
