"""Parameters that stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from optimizers.wrapped import (
    X,
    Y,
    network,
    trajectory,
    tree,
    weights,
)
from tools import assert_close, assert_equal

import nnbackend as nnb
from nnbackend.optimizers import EMA, SGD, Adam, AdamW, Clipped, Frozen, Grouped


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
