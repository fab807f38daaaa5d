"""Optimizers that wrap another: clipping, averages, groups and frozen parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import WRAPPERS, each, rows
from tools import assert_close, assert_equal, host

import nnbackend as nnb
from nnbackend.core.tree import flatten, tree_map
from nnbackend.errors import DivergenceError, UnknownNameError
from nnbackend.optimizers import EMA, SGD, SWA, Adam, AdamW, Clipped, Constrained, Frozen, Grouped
from nnbackend.schedules import Constant, Step

SHAPES = {
    "0": {"weight": (3, 4), "bias": (4,)},
    "1": {},
    "2": {"0": {"weight": (4, 1), "bias": (1,)}},
}
X, Y = rows((23, 3)), rows((23, 2), 1)


def tree(seed: int) -> dict:
    return tree_map(lambda shape: rows(shape, seed), SHAPES)


def brought(backend, values):
    """Return arrays that the optimizer may consume."""
    with backend.scope():
        return tree_map(lambda v: backend.xp.asarray(backend.asarray(v), copy=True), values)


def trajectory(optimizer, backend, steps=6):
    """Return the parameters after each step, the averages and the last state."""
    params, raw, averages = brought(backend, tree(0)), [], []
    state = optimizer.init(params)
    for step in range(steps):
        params, state = optimizer.update(params, brought(backend, tree(step + 1)), state)
        raw.append(host(backend, params))
        averages.append(host(backend, optimizer.averaged(params, state)))
    return raw, averages, state


def network(backend, **given):
    layers = [nnb.Dense(5, activation="tanh"), nnb.Activation("identity"), nnb.Dense(2)]
    return nnb.Network(layers, backend=backend, input_shape=3, **given)


def weights(net):
    return host(net.backend, net.state_dict())


def raw_weights(net):
    return flatten(host(net.backend, net.raw_params))


def descend(net, optimizer, epochs=2, size=8):
    """Train by a loop of one's own; return the parameters and their averages."""
    backend, params = net.backend, brought(net.backend, host(net.backend, net.params))
    with backend.scope():
        state = optimizer.init(params)
        for _ in range(epochs):
            for start in range(0, 23, size):
                net.params = params
                prediction, backward = net.forward(X[start : start + size], training=True)
                _, dy = nnb.losses.mse(prediction, backend.asarray(Y[start : start + size]))
                params, state = optimizer.update(params, backward(dy)[1], state)
        averages = optimizer.averaged(params, state)
    return flatten(host(backend, params)), flatten(host(backend, averages))


# ------------------------------------------------------------------------------------- all of them


@each(WRAPPERS)
def test_an_update_keeps_names_shapes_dtypes_and_devices(case, backend):
    params = brought(backend, tree(0))
    state = case.thing.init(params)
    for step in range(3):
        params, state = case.thing.update(params, brought(backend, tree(step + 1)), state)
    assert state["step"] == 3
    averaged = case.thing.averaged(params, state)
    for arrays in (params, averaged):
        assert tree_map(lambda p: tuple(p.shape), arrays) == SHAPES
    for array in [*flatten(params).values(), *flatten(state["slots"]).values()]:
        assert array.dtype == backend.dtype
        assert str(array.device) == str(backend.device)


@each(WRAPPERS)
def test_the_gradients_are_left_alone(case, backend):
    params, grads = brought(backend, tree(0)), brought(backend, tree(1))
    before = host(backend, grads)
    case.thing.update(params, grads, case.thing.init(params))
    assert_equal(host(backend, grads), before)


@each(WRAPPERS)
def test_fitting_is_what_a_loop_of_ones_own_does(case, backend64):
    """So the vector of all parameters, and a compiled step, do as single arrays do."""
    if backend64.name == "jax" and case.id != "nested":
        pytest.skip("test_parity compares the compiled step of each; one is enough here")
    fitted, looped = network(backend64), network(backend64)
    fitted.fit(X, Y, optimizer=case.thing, epochs=2, batch_size=8, shuffle=False)
    raw, averages = descend(looped, case.thing)
    assert_close(raw_weights(fitted), raw, 1e-12)
    assert_close(weights(fitted), averages, 1e-12)


@each([case for case in WRAPPERS if case.id in ("ema", "nested")])
def test_partial_fits_are_one_fit_in_pieces(case, backend64):
    pieces, whole = network(backend64), network(backend64)
    for start in range(0, 20, 5):
        batch = slice(start, start + 5)
        pieces.partial_fit(X[batch], Y[batch], optimizer=case.thing)
    whole.fit(X[:20], Y[:20], optimizer=case.thing, batch_size=5, shuffle=False)
    assert_close(weights(pieces), weights(whole), 1e-12)
    assert_close(raw_weights(pieces), raw_weights(whole), 1e-12)


@each(WRAPPERS)
def test_the_learning_rate_is_that_of_the_optimizer_inside(case):
    assert case.thing.rate(1) == case.thing.optimizer.rate(1)
    assert case.thing.scaled(0.5).rate(3) == pytest.approx(0.5 * case.thing.rate(3))


@each([case for case in WRAPPERS if not isinstance(case.thing, Grouped)])
def test_half_the_learning_rate_is_half_a_step(case, backend64):
    """With plain gradient descent inside; groups have tests of their own."""

    def step(factor):
        optimizer = case.thing.map_innermost(lambda _: SGD(0.1)).scaled(factor)
        raw, *_ = trajectory(optimizer, backend64, steps=1)
        return tree_map(lambda p, start: (p - start) / factor, raw[0], tree(0))

    assert_close(step(0.5), step(1.0), 1e-12)


def test_a_name_stands_for_an_optimizer():
    assert Clipped("adam", norm=1.0) == Clipped(Adam(), norm=1.0)
    assert EMA("sgd").rate(1) == SGD().rate(1)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Clipped("adam"), ValueError, "either norm=.* or value="),
        (lambda: Clipped("adam", norm=1.0, value=1.0), ValueError, "either norm="),
        (lambda: Clipped("adam", norm=0.0), ValueError, "norm must be above 0"),
        (lambda: Clipped("adam", norm=-1.0), ValueError, "norm"),
        (lambda: Clipped("adam", norm=float("nan")), ValueError, "norm"),
        (lambda: Clipped("adam", value="1"), ValueError, "value"),
        (lambda: Clipped("adamm", norm=1.0), UnknownNameError, "did you mean 'adam'"),
        (lambda: Clipped(3, norm=1.0), TypeError, "optimizer"),
        (lambda: Clipped(Frozen("adam", "0.*"), norm=1.0), ValueError, r"Frozen\(Clipped\("),
        (lambda: EMA("adam", decay=1.0), ValueError, "decay"),
        (lambda: EMA("adam", decay=-0.1), ValueError, "decay"),
        (lambda: EMA("adam", bias_correction=1), ValueError, "bias_correction"),
        (lambda: EMA(SWA("adam")), ValueError, "keeps an average already"),
        (lambda: SWA("adam", start=-1), ValueError, "start"),
        (lambda: SWA("adam", start=1.5), ValueError, "start"),
        (lambda: SWA("adam", every=0), ValueError, "every"),
        (lambda: SWA("adam", unit="epochs"), ValueError, "'step' or 'epoch'"),
        (lambda: Grouped("sgd", {"*": {"momentun": 0.9}}), UnknownNameError, "'momentum'"),
        (lambda: Grouped("sgd", {"*": {"momentum": 2.0}}), ValueError, "momentum"),
        (lambda: Grouped("sgd", {"*": {"learning_rate_factor": -1}}), ValueError, "rate_factor"),
        (lambda: Grouped("sgd", {"*": 0.1}), TypeError, r"\{pattern: \{hyperparameter: value\}\}"),
        (lambda: Grouped("sgd", {3: {}}), TypeError, "a pattern is a text"),
        (lambda: Grouped("sgd", "*.bias"), TypeError, "groups are"),
        (lambda: Grouped("sgd", {"*": {}}, decay="biases"), ValueError, "'all' or 'weights'"),
        (lambda: Grouped(Clipped("sgd", norm=1.0), {}), ValueError, "put Clipped around it"),
        (lambda: Frozen("sgd", [3]), TypeError, "pattern"),
        (lambda: Frozen("sgd"), ValueError, "patterns of names to freeze"),
        (lambda: network("numpy").freeze(), ValueError, "freeze what"),
        (lambda: network("numpy").freeze(["0.*"]), TypeError, "a pattern is a text"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ------------------------------------------------------------------------------------- clipping


def test_the_norm_of_all_gradients_together_is_clipped(backend64):
    gradient = tree(1)
    total = np.sqrt(sum((g**2).sum() for g in flatten(gradient).values()))
    for limit, factor in [(0.5, 0.5 / total), (2 * total, 1.0)]:
        params = brought(backend64, tree(0))
        optimizer = Clipped(SGD(1.0), norm=limit)
        params, _ = optimizer.update(params, brought(backend64, gradient), optimizer.init(params))
        expected = tree_map(lambda p, g, f=factor: p - f * g, tree(0), gradient)
        assert_close(host(backend64, params), expected, 1e-14)


def test_a_gradient_within_the_norm_is_not_touched(backend):
    plain, clipped = network(backend), network(backend)
    plain.fit(X, Y, optimizer="sgd", epochs=2)
    clipped.fit(X, Y, optimizer=Clipped("sgd", norm=1e6), epochs=2)
    assert_close(weights(clipped), weights(plain), 1e-7)


def test_values_are_clipped_one_by_one(backend64):
    raw, *_ = trajectory(Clipped(SGD(1.0), value=0.3), backend64, steps=1)
    expected = tree_map(lambda p, g: p - np.clip(g, -0.3, 0.3), tree(0), tree(1))
    assert_close(raw[0], expected, 1e-14)


def test_a_gradient_of_zeros_has_a_direction_of_zeros(backend):
    params = brought(backend, tree(0))
    zeros = tree_map(np.zeros_like, tree(0))
    optimizer = Clipped(SGD(1.0), norm=1.0)
    before = host(backend, params)
    params, _ = optimizer.update(params, brought(backend, zeros), optimizer.init(params))
    assert_equal(host(backend, params), before)


def test_clipping_keeps_a_step_that_would_diverge(backend):
    task = {"epochs": 5, "batch_size": 8}
    with pytest.raises(DivergenceError):
        network(backend).fit(X, 1e12 * Y, optimizer=SGD(1e18), **task)
    clipped = network(backend)
    clipped.fit(X, 1e12 * Y, optimizer=Clipped(SGD(0.1), norm=1.0), **task)
    assert all(np.abs(w).max() < 10 for w in weights(clipped).values())


# ------------------------------------------------------------------------------------- averages


def test_a_corrected_average_is_the_weighted_mean_of_the_steps(backend64):
    raw, averages, _ = trajectory(EMA(SGD(0.3), decay=0.8), backend64, steps=5)
    for t in range(1, 6):
        w = 0.8 ** np.arange(t - 1, -1, -1)
        w /= w.sum()
        expected = tree_map(lambda *ps, w=w: np.tensordot(w, np.stack(ps), 1), *raw[:t])
        assert_close(averages[t - 1], expected, 1e-13)


def test_an_uncorrected_average_starts_as_the_parameters_after_the_first_step(backend64):
    raw, averages, _ = trajectory(
        EMA(SGD(0.3), decay=0.8, bias_correction=False), backend64, steps=3
    )
    expected = raw[0]
    assert_close(averages[0], expected, 1e-14)
    for t in (1, 2):
        expected = tree_map(lambda a, p: 0.8 * a + 0.2 * p, expected, raw[t])
        assert_close(averages[t], expected, 1e-13)


def test_a_stochastic_weight_average_is_the_mean_of_every_third_step_after_the_start(backend64):
    raw, averages, _ = trajectory(SWA(SGD(0.3), start=2, every=3), backend64, steps=12)
    for t in range(1, 5):  # up to the first that counts, the parameters as they are
        assert_close(averages[t - 1], raw[t - 1], 1e-14)
    for t in range(5, 13):
        counted = [raw[i - 1] for i in range(5, t + 1, 3)]
        expected = tree_map(lambda *ps: np.mean(ps, axis=0), *counted)
        assert_close(averages[t - 1], expected, 1e-13)


def test_averaging_does_not_change_what_is_learned(backend64):
    plain, averaged = network(backend64), network(backend64)
    plain.fit(X, Y, optimizer=Adam(0.02), epochs=3, batch_size=8)
    averaged.fit(X, Y, optimizer=EMA(Adam(0.02), decay=0.9), epochs=3, batch_size=8)
    assert_close(raw_weights(averaged), weights(plain), 1e-12)
    assert plain.raw_params is plain.params
    assert not np.allclose(weights(averaged)["0.weight"], weights(plain)["0.weight"], rtol=1e-3)


def test_validation_callbacks_and_the_network_see_the_average(backend64):
    seen = []
    net = network(backend64)
    history = net.fit(
        X, Y, optimizer=EMA(SGD(0.2), decay=0.9), epochs=4, batch_size=8,
        validation_data=(X, Y), callbacks=[lambda run: seen.append(weights(run.network))],
    )  # fmt: skip
    assert net.evaluate(X, Y)["loss"] == pytest.approx(history["validation_loss"][-1], rel=1e-12)
    assert_close(seen[-1], weights(net), 1e-14)
    raw = network(backend64)
    raw.params = brought(backend64, host(backend64, net.raw_params))
    value = raw.evaluate(X, Y, loss="mse")["loss"]
    assert value != pytest.approx(history["validation_loss"][-1], rel=1e-4)
    net.load_state_dict(raw_weights(net))  # how the raw ones are taken
    assert net.evaluate(X, Y)["loss"] == pytest.approx(value, rel=1e-12)
    assert net.raw_params is net.params


def test_swa_counts_epochs_where_it_is_told_to(backend64):
    in_epochs, in_steps = network(backend64), network(backend64)
    task = {"epochs": 6, "batch_size": 8}  # three steps an epoch
    in_epochs.fit(X, Y, optimizer=SWA(SGD(0.1), 2, 2, unit="epoch"), **task)
    in_steps.fit(X, Y, optimizer=SWA(SGD(0.1), 6, 6), **task)
    assert_equal(weights(in_epochs), weights(in_steps))
    with pytest.raises(ValueError, match="in steps"):
        network(backend64).partial_fit(X, Y, optimizer=SWA(SGD(0.1), 2, unit="epoch"))


def test_before_the_first_step_the_average_is_the_start(backend):
    params = brought(backend, tree(0))
    optimizer = EMA("adam")
    start = optimizer.averaged(params, optimizer.init(params))
    assert_equal(host(backend, start), host(backend, params))
    seen = []

    class AtStart(nnb.callbacks.Callback):
        def start(self, run):
            seen.append(weights(run.network))

    net = network(backend)
    before = weights(net)
    net.fit(X, Y, optimizer=optimizer, callbacks=[AtStart()])
    assert_equal(seen[0], before)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_diverged_run_leaves_a_finite_average(batch_size, backend):
    net = network(backend)
    with pytest.raises(DivergenceError):
        net.fit(X, Y, optimizer=EMA(SGD(1e18), decay=0.5), epochs=20, batch_size=batch_size)
    assert all(np.isfinite(w).all() for w in [*weights(net).values(), *raw_weights(net).values()])


def test_a_resumed_run_goes_on_with_its_average(backend64, tmp_path):
    optimizer = EMA(Clipped(Grouped(AdamW(0.02), decay="weights"), norm=0.5), decay=0.8)
    task = {"optimizer": optimizer, "batch_size": 8, "accumulate": 2}
    whole, begun, resumed = (network(backend64) for _ in range(3))
    whole.fit(X, Y, epochs=4, **task)
    task["callbacks"] = [nnb.callbacks.Checkpoint(tmp_path)]
    begun.fit(X, Y, epochs=2, **task)
    resumed.fit(X, Y, epochs=4, resume=tmp_path, **task)
    assert_equal(weights(resumed), weights(whole))
    assert_equal(raw_weights(resumed), raw_weights(whole))


# ------------------------------------------------------------------------------------- groups


def test_each_group_is_updated_by_its_own_hyperparameters(backend64):
    optimizer = Grouped(
        SGD(0.1, weight_decay=0.2),
        {
            "0.*": {"learning_rate_factor": 0.5},
            "*.bias": {"weight_decay": 0.0},
            "2.*": {"learning_rate": 0.3},
        },
    )
    raw, *_ = trajectory(optimizer, backend64, steps=1)
    rates = {"0": 0.05, "2": 0.3}
    for name, value in flatten(raw[0]).items():
        p, g = flatten(tree(0))[name], flatten(tree(1))[name]
        decay = 0.0 if name.endswith("bias") else 0.2
        np.testing.assert_allclose(value, p - rates[name[0]] * (g + decay * p), rtol=1e-13)


def test_one_word_leaves_biases_out_of_weight_decay(backend64):
    raw, *_ = trajectory(Grouped(AdamW(0.1, weight_decay=0.5), decay="weights"), backend64, 4)
    decayed, *_ = trajectory(AdamW(0.1, weight_decay=0.5), backend64, 4)
    without, *_ = trajectory(AdamW(0.1, weight_decay=0.0), backend64, 4)
    for name, value in flatten(raw[-1]).items():
        other = without if name.endswith("bias") else decayed
        np.testing.assert_array_equal(value, flatten(other[-1])[name])


def test_a_pattern_has_the_last_word_over_the_word_and_over_earlier_patterns(backend64):
    optimizer = Grouped(
        SGD(0.1, weight_decay=0.5),
        {"0.*": {"learning_rate": 0.2}, "0.bias": {"learning_rate": 0.3, "weight_decay": 0.1}},
        decay="weights",
    )
    raw, *_ = trajectory(optimizer, backend64, steps=1)
    p, g = tree(0)["0"]["bias"], tree(1)["0"]["bias"]
    np.testing.assert_allclose(raw[0]["0"]["bias"], p - 0.3 * (g + 0.1 * p), rtol=1e-13)


def test_a_factor_multiplies_a_schedule_and_callbacks_multiply_all(backend64):
    optimizer = Grouped(SGD(Step(0.4, every=2, factor=0.5)), {"0.*": {"learning_rate_factor": 0.1}})
    raw, *_ = trajectory(optimizer, backend64, steps=3)
    p, steps = tree(0)["0"]["weight"], [0.04, 0.04, 0.02]
    for i, rate in enumerate(steps):
        p = p - rate * tree(i + 1)["0"]["weight"]
    np.testing.assert_allclose(raw[-1]["0"]["weight"], p, rtol=1e-13)
    absolute = Grouped(
        SGD(0.4), {"0.weight": {"learning_rate": 0.2}, "*bias": {"learning_rate": Constant(0.1)},
                   "2.*weight": SGD(0.3)}
    ).scaled(0.5)  # fmt: skip
    raw, *_ = trajectory(absolute, backend64, steps=1)
    rates = {"0.weight": 0.1, "0.bias": 0.05, "2.0.weight": 0.15, "2.0.bias": 0.05}
    for name, value in flatten(raw[0]).items():
        p, g = flatten(tree(0))[name], flatten(tree(1))[name]
        np.testing.assert_allclose(value, p - rates[name] * g, rtol=1e-13)


def test_a_group_may_have_another_optimizer(backend64):
    optimizer = Grouped(Adam(0.1), {"*.bias": SGD(0.5, momentum=0.9)})
    raw, *_ = trajectory(optimizer, backend64)
    adam, *_ = trajectory(Adam(0.1), backend64)
    sgd, *_ = trajectory(SGD(0.5, momentum=0.9), backend64)
    for name, value in flatten(raw[-1]).items():
        other = sgd if name.endswith("bias") else adam
        np.testing.assert_array_equal(value, flatten(other[-1])[name])


def test_the_learning_rate_of_the_history_is_that_of_the_optimizer_inside(backend):
    optimizer = Grouped(SGD(Step(0.4, every=3, factor=0.5)), {"0.*": {"learning_rate": 0.9}})
    history = network(backend).fit(X, Y, optimizer=EMA(optimizer), epochs=2, batch_size=8)
    assert history["learning_rate"] == [0.4, 0.2]


@pytest.mark.parametrize(
    "optimizer", [Grouped("sgd", {"3.*": {"learning_rate": 0.1}}), Frozen("sgd", ["0.*", "3.*"]),
                  EMA(Clipped(Grouped("sgd", {"3.*": {}}), norm=1.0))]
)  # fmt: skip
def test_a_pattern_that_matches_nothing_lists_the_names_and_changes_nothing(optimizer, backend):
    net = network(backend)
    before = weights(net)
    for call in (net.fit, net.partial_fit):
        with pytest.raises(
            ValueError, match=r"'3\.\*' matches none .*0\.weight, 0\.bias, 2\.weight"
        ):
            call(X, Y, optimizer=optimizer)
    with pytest.raises(ValueError, match="matches none"):
        optimizer.init(brought(backend, host(backend, net.params)))
    assert_equal(weights(net), before)


# ------------------------------------------------------------------------------------- frozen


@pytest.mark.parametrize("optimizer", [SGD(0.1, weight_decay=0.5), AdamW(0.1, weight_decay=0.5),
                                       EMA(Clipped(AdamW(0.1), norm=0.1), decay=0.5)])  # fmt: skip
def test_frozen_parameters_do_not_move_by_a_bit(optimizer, backend):
    net = network(backend).freeze("0.weight", "2.*")
    before = weights(net)
    net.fit(X, Y, optimizer=optimizer, epochs=3, batch_size=8, accumulate=2)
    net.partial_fit(X, Y, optimizer=optimizer)
    after = weights(net)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"0.bias"}
    assert net.frozen == ("0.weight", "2.weight", "2.bias")


def test_the_others_learn_as_if_nothing_was_frozen(backend64):
    """In one step; later the frozen ones make a difference."""
    frozen, free = network(backend64).freeze("2.weight", "0.*"), network(backend64)
    for net in (frozen, free):
        net.partial_fit(X, Y, optimizer=AdamW(0.1))
    assert_close(weights(frozen)["2.bias"], weights(free)["2.bias"], 1e-14)


def test_frozen_gradients_do_not_count_in_the_norm(backend64):
    optimizer = Clipped(SGD(1.0), norm=1e-3)
    raw, *_ = trajectory(Frozen(optimizer, ["0.*", "2.0.bias"]), backend64, steps=1)
    step = raw[0]["2"]["0"]["weight"] - tree(0)["2"]["0"]["weight"]
    assert np.linalg.norm(step) == pytest.approx(1e-3, rel=1e-10)


@dataclass(frozen=True)
class ForwardOnly:
    """A layer with a parameter and no backward pass."""

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {"scale": np.ones(input_shape)}, input_shape

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        def backward(dy: Any, input_grad: bool = True) -> Any:
            raise AssertionError("the backward pass of a frozen layer was run")

        return x * params["scale"], backward


def test_what_lies_before_the_first_layer_that_learns_has_no_backward_pass(backend):
    layers = [nnb.Dropout(0.1), ForwardOnly(), nnb.Dense(4), nnb.Dense(2)]
    net = nnb.Network(layers, backend=backend, input_shape=3).freeze("1.*", "2.weight")
    history = net.fit(X, Y, epochs=5, optimizer=Adam(0.05), batch_size=8, accumulate=2)
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(AssertionError, match="was run"):
        net.unfreeze("1.*").fit(X, Y)


def test_frozen_layers_draw_the_same_masks(backend64):
    def learned(frozen):
        layers = [nnb.Dense(4), nnb.Dropout(0.5), nnb.Dense(2)]
        net = nnb.Network(layers, backend=backend64, input_shape=3)
        optimizer = (
            Frozen(SGD(0.1), "0.*")
            if frozen
            else Grouped(SGD(0.1), {"0.*": {"learning_rate": 0.0}})
        )
        net.fit(X, Y, epochs=2, batch_size=8, optimizer=optimizer)
        return weights(net)

    assert_close(learned(True), learned(False), 1e-12)


def test_freezing_survives_saving_and_moving_and_ends_by_unfreezing(tmp_path, backend):
    net = network(backend).freeze("0.*")
    net.save(tmp_path / "net.safetensors")
    loaded = nnb.load(tmp_path / "net.safetensors", backend=backend)
    for other in (loaded, net.to("numpy")):
        assert other.frozen == ("0.weight", "0.bias")
        before = weights(other)
        other.fit(X, Y)
        assert_equal(weights(other)["0.weight"], before["0.weight"])
        assert not np.array_equal(weights(other)["2.weight"], before["2.weight"])
    assert loaded.unfreeze("*.bias").frozen == ("0.weight",)
    assert loaded.unfreeze().frozen == ()
    loaded.load_state_dict(net.state_dict())
    before = weights(loaded)
    loaded.fit(X, Y)
    assert not np.array_equal(weights(loaded)["0.weight"], before["0.weight"])


def test_groups_may_name_what_is_frozen(backend):
    net = network(backend).freeze("0.*")
    before = weights(net)
    net.fit(X, Y, optimizer=Grouped("sgd", {"0.*": {"learning_rate": 9.0}}))
    assert_equal(weights(net)["0.weight"], before["0.weight"])


def test_freezing_says_what_is_wrong(backend):
    net = network(backend)
    with pytest.raises(ValueError, match=r"'0\.wieght' matches none .*did you mean '0\.weight'"):
        net.freeze("0.wieght")
    with pytest.raises(ValueError, match="matches none"):
        net.unfreeze("9.*")
    with pytest.raises(ValueError, match="input_shape"):
        nnb.Network([nnb.Dense(2)], backend=backend).freeze("0.*")
    with pytest.raises(ValueError, match="all parameters are frozen"):
        net.freeze("*").fit(X, Y)
    with pytest.raises(ValueError, match="all parameters are frozen"):
        net.partial_fit(X, Y)


def test_constraints_hold_in_a_loop_of_ones_own(backend64):
    def net():
        layers = [nnb.Dense(5, "tanh", constraint="unit_norm"), nnb.Activation("identity"),
                  nnb.Dense(2, constraint="non_negative")]  # fmt: skip
        return nnb.Network(layers, backend=backend64, input_shape=3)

    fitted, looped = net(), net()
    optimizer = EMA(SGD(0.1), decay=0.5)
    fitted.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=8, shuffle=False)
    inside = EMA(Constrained(SGD(0.1), looped.layers), decay=0.5)
    raw, averages = descend(looped, inside)
    assert_close(raw_weights(fitted), raw, 1e-12)
    assert_close(weights(fitted), averages, 1e-12)
    np.testing.assert_allclose(np.linalg.norm(raw["0.weight"], axis=0), 1.0, rtol=1e-12)
    assert (raw["2.weight"] >= 0).all()
    assert (averages["2.weight"] >= 0).all()
