"""Groups of parameters with hyperparameters of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from optimizers.wrapped import (
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

from nnbackend.core.tree import flatten
from nnbackend.errors import UnknownNameError
from nnbackend.optimizers import EMA, SGD, Adam, AdamW, Clipped, Frozen, Grouped, Optimizer
from nnbackend.schedules import Constant, CosineLog, FlatCosine, Step


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


def test_an_average_around_groups_is_the_same_in_a_loop_and_in_a_fit(backend64):
    """The average has a place of its own in the state, however many groups there are."""
    groups = {"0.*": {"learning_rate_factor": 0.5}, "*.bias": {"weight_decay": 0.0}}
    optimizer = EMA(Grouped(AdamW(0.02), groups), decay=0.8)
    fitted, looped = network(backend64), network(backend64)
    fitted.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=8, shuffle=False)
    raw, averages = descend(looped, optimizer)
    assert_close(raw_weights(fitted), raw, 1e-12)
    assert_close(weights(fitted), averages, 1e-12)


def test_factors_of_rate_and_decay_both_count_in_adamws_decay(backend64):
    """p *= 1 - rate * rate_factor * decay * decay_factor, as RealMLP has it, at a step of schedules."""
    rate, decay = CosineLog(0.3, 10), FlatCosine(0.2, 4)
    factors = {"learning_rate_factor": 6.0, "weight_decay_factor": 0.5}
    optimizer = Grouped(AdamW(rate, weight_decay=decay), {"0.weight": factors})
    plain = Grouped(AdamW(rate, weight_decay=0.0), {"0.weight": {"learning_rate_factor": 6.0}})
    assert rate(0) == 0.0  # the first step of that schedule changes nothing
    (with_decay, *_), (without, *_) = (
        trajectory(o, backend64, steps=2) for o in (optimizer, plain)
    )
    before = flatten(tree(0))
    for name, value in flatten(with_decay[1]).items():
        own = 6.0 * 0.5 if name == "0.weight" else 1.0
        change = rate(1) * own * decay(1) * before[name]
        np.testing.assert_allclose(
            value, flatten(without[1])[name] - change, rtol=1e-12, atol=1e-14
        )


def test_a_step_with_factors_is_torchs(backend64):
    torch = pytest.importorskip("torch")
    optimizer = Grouped(
        AdamW(0.04, beta2=0.95, weight_decay=0.02),
        {"0.weight": {"learning_rate_factor": 6.0, "weight_decay_factor": 6.0},
         "*.bias": {"learning_rate_factor": 0.1, "weight_decay": 0.0}},
    )  # fmt: skip
    own = {"0.weight": (6.0, 6.0), "2.0.weight": (1.0, 1.0), "0.bias": (0.1, 0.0),
           "2.0.bias": (0.1, 0.0)}  # fmt: skip
    p = {n: torch.tensor(a, requires_grad=True) for n, a in flatten(tree(0)).items()}
    for name, g in flatten(tree(1)).items():
        p[name].grad = torch.tensor(g)
    torch.optim.AdamW(
        [{"params": [p[n]], "lr": 0.04 * r, "weight_decay": 0.02 * d} for n, (r, d) in own.items()],
        betas=(0.9, 0.95),
    ).step()
    raw, *_ = trajectory(optimizer, backend64, steps=1)
    for name, value in flatten(raw[0]).items():
        np.testing.assert_allclose(value, p[name].detach().numpy(), rtol=1e-13, atol=1e-15)


@dataclass(frozen=True)
class WithoutDecay(Optimizer):
    def rule(self, p, g, slots, h, xp):
        return p - h.learning_rate * g, slots


def test_a_factor_of_a_decay_that_an_optimizer_has_not_is_refused():
    with pytest.raises(UnknownNameError, match="WithoutDecay: 'weight_decay_factor'"):
        Grouped(WithoutDecay(0.1), {"*": {"weight_decay_factor": 0.5}})
    with pytest.raises(ValueError, match="weight_decay_factor must be a number, 0 or more; got -1"):
        Grouped(AdamW(0.1), {"*": {"weight_decay_factor": -1}})
