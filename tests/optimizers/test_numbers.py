"""The numbers of rules: by name, of one step or many."""

from __future__ import annotations

import numpy as np
import pytest
from cases import OPTIMIZERS

import nnbackend as nnb
from nnbackend.core.tree import tree_map
from nnbackend.optimizers import SGD, Adam, AdamW

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
        (Misspelled(), AttributeError, "'learning_rat'; numbers.* learning_rate, momentum"),
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
