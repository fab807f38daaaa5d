"""What all optimizers that wrap another have in common."""

from __future__ import annotations

import pytest
from cases import WRAPPERS, each
from optimizers.wrapped import (
    SHAPES,
    X,
    Y,
    brought,
    descend,
    network,
    raw_weights,
    trajectory,
    tree,
    weights,
)
from tools import assert_close, assert_equal, host

from nnbackend.core.tree import flatten, tree_map
from nnbackend.errors import UnknownNameError
from nnbackend.optimizers import EMA, SGD, SWA, Adam, Clipped, Frozen, Grouped


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
        (lambda: Grouped("sgd", "*.bias"), TypeError, "groups must be"),
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
