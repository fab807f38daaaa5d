"""The numbers of rules: by name, of one step or many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from cases import OPTIMIZERS, rows

import nnbackend as nnb
from nnbackend.core.tree import tree_map
from nnbackend.optimizers import SGD, Adam, AdamW, Optimizer

SHAPES = {"0": {"weight": (3, 4), "bias": (4,)}}


class Halving(Adam):
    """A rule that users wrote: numbers that its base does not know."""

    def numbers(self, step):
        h = super().numbers(step)
        return {**h, "step_size": h["step_size"] / step}


class Doubled(nnb.optimizers.Wrapper):
    def numbers(self, step):
        return {name: 2 * number for name, number in super().numbers(step).items()}


FURTHER = [
    Halving(),
    Doubled(Adam()),
    Adam(nnb.schedules.Exponential(0.1, 0.9), beta2=0.99),
    AdamW(0.02, beta1=0.0, beta2=0.99999),
    nnb.optimizers.EMA(nnb.optimizers.Clipped(AdamW(0.1), norm=1.0)),
]


@pytest.mark.parametrize(
    "steps", [range(1, 2), range(1, 3), range(1, 1000), range(511, 541), range(90_000, 90_050)]
)
@pytest.mark.parametrize(
    "optimizer", [*(case.thing for case in OPTIMIZERS), *FURTHER], ids=lambda o: type(o).__name__
)
def test_the_numbers_of_many_steps_are_those_of_each(optimizer, steps):
    if isinstance(optimizer, nnb.optimizers.LBFGS):
        pytest.skip("it has no single steps")
    params = tree_map(np.zeros, SHAPES)
    together = np.asarray(optimizer.prepared(params).number_rows(steps))
    alone = [tuple(optimizer.numbers(step).values()) for step in steps]
    np.testing.assert_array_equal(together, alone)


def test_the_numbers_are_floats_not_numpys():
    """For NumPy's are of float64 where they meet an array of float32."""
    for case in OPTIMIZERS:
        if not isinstance(case.thing, nnb.optimizers.LBFGS):
            assert {type(number) for number in case.thing.numbers(3).values()} == {float}, case.id


def test_where_no_number_changes_it_is_computed_once():
    rows = SGD(0.1).prepared({"weight": np.zeros(2)}).number_rows(range(1, 101))
    assert len(rows) == 100
    assert all(row is rows[0] for row in rows)


class Misspelled(SGD):
    def rule(self, p, g, slots, h, xp):
        return p - h.learning_rat * g, slots


class ByPosition(SGD):
    def rule(self, p, g, slots, scalars, xp):
        return p - scalars[0] * g, slots


@pytest.mark.parametrize(
    ("optimizer", "error", "words"),
    [
        (Misspelled(), AttributeError, "'learning_rat'; numbers.* learning_rate, .*momentum"),
        (ByPosition(), TypeError, "have names: .*h.learning_rate"),
    ],
)
def test_a_rule_that_asks_for_what_there_is_not_is_told_what_there_is(optimizer, error, words):
    params = {"weight": np.zeros(2)}
    with pytest.raises(error, match=words):
        optimizer.update(params, {"weight": np.ones(2)}, optimizer.init(params))


@pytest.mark.parametrize("name", ["varying", "fixed", "scalars", "gradients"])
def test_what_optimizers_once_overrode_is_refused_by_name(name):
    with pytest.raises(TypeError, match=rf"Old.{name}: .*numbers\(step\)"):
        type("Old", (SGD,), {name: lambda self, step: ()})


@dataclass(frozen=True)
class Shuffled(Optimizer):
    """Gives its numbers in another order at even steps, or others."""

    decay: float = 0.5
    others: bool = False
    bounds: ClassVar[Any] = {"learning_rate": (0.0, math.inf), "decay": (0.0, 1.0)}

    def numbers(self, step):
        found = super().numbers(step)
        if step % 2 == 0:
            found = dict(reversed(found.items()))
            if self.others:
                found["more"] = 1.0
        return found

    def rule(self, p, g, slots, h, xp):
        p -= h.learning_rate * g
        return p, slots


@pytest.mark.parametrize("size", [None, 4])
def test_numbers_are_read_by_name(size):
    x, y = rows((8, 3)), rows((8, 2), 1)
    losses = []
    for optimizer in (Shuffled(0.01), nnb.SGD(0.01)):
        net = nnb.Network([nnb.Dense(2)], input_shape=3)
        history = net.fit(x, y, optimizer=optimizer, epochs=6, batch_size=size, verbose=0)
        losses.append(history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("size", [None, 4])
def test_other_numbers_at_a_later_step_are_refused(size):
    net = nnb.Network([nnb.Dense(2)], input_shape=3)
    with pytest.raises(ValueError, match="must give the same numbers at each step"):
        net.fit(rows((8, 3)), rows((8, 2), 1), optimizer=Shuffled(0.01, others=True), epochs=3,
                batch_size=size, verbose=0)  # fmt: skip
