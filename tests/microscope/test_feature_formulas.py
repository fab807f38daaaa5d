"""The formulas of RealMLP's layers: scaled sums, feature scales and parametric activations."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cases import rows
from microscope.recompute import checked_symbols

import nnbackend as nnb
from nnbackend.core.tree import flatten
from nnbackend.layers import FeatureScale, ParametricActivation, Replicate, ScaledDense
from nnbackend.microscope.formulas import Number
from nnbackend.tabular.realmlp import build_realmlp


def network(layers, features=5):
    """Return a network with random parameters: scales of one would hide what is missing."""
    net = nnb.Network(layers, input_shape=features, dtype="float64", seed=4)
    state = net.state_dict()
    for i, (name, values) in enumerate(sorted(state.items())):
        state[name] = rows(values.shape, i) + 0.5
    net.load_state_dict(state)
    return net


def table_network():
    return network([
        FeatureScale(), ScaledDense(4), ParametricActivation("selu"), FeatureScale(),
        ScaledDense(3, bias=False), nnb.Activation("selu"), ScaledDense(2), nnb.Activation("softmax"),
    ])  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_each_formula_adds_up(count):
    x, y = rows((count, 5), 9), np.arange(count)
    e = nnb.explain(table_network(), x, y, "softmax_cross_entropy", nnb.SGD(0.1))
    found = Counter(checked_symbols(e))
    summed = ", summed over the rows" if count > 1 else ""
    units, weights = 4 + 3 + 2, 5 * 4 + 4 * 3 + 3 * 2
    expected = {
        "y = x \u00b7 weight": (5 + 4) * count,
        "z = sum of input \u00b7 weight / sqrt(number of inputs) + bias": (4 + 2) * count,
        "z = sum of input \u00b7 weight / sqrt(number of inputs)": 3 * count,
        "y = x + weight \u00b7 (selu(x) - x)": 4 * count,
        "y = selu(z)": 3 * count,
        "error = sum of delta behind \u00b7 weight / sqrt(inputs of that layer)": (5 + 4 + 3)
        * count,
        "error = error behind \u00b7 (1 - weight + weight \u00b7 selu'(x))": 4 * count,
        "error = error behind \u00b7 weight": 4 * count,
        f"gradient = input \u00b7 delta / sqrt(number of inputs){summed}": weights,
        f"gradient = input \u00b7 error{summed}": 5 + 4,
        f"gradient = (selu(input) - input) \u00b7 error{summed}": 4,
        "weight after = weight - learning rate \u00b7 gradient": weights + units - 3 + 5 + 4 + 4,
    }
    assert {symbols: found[symbols] for symbols in expected} == expected


def test_the_numbers_are_those_of_the_library():
    net, x, y = table_network(), rows((2, 5), 9), np.array([0, 1])
    e = nnb.explain(net, x, y, "softmax_cross_entropy", nnb.SGD(0.1))
    seen = {p.path: p for p in nnb.observe(net, x, y, "softmax_cross_entropy")}
    for path, units in (("1", 4), ("4", 3), ("6", 2)):
        assert seen[path].notes["z"] is seen[path].y
        for place in np.ndindex(2, units):
            assert e.value(Number(f"{path}:z", place)) == seen[path].y[place]
            assert e.value(Number(f"{path}:dz", place)) == seen[path].dy[place]
    copy = net.to()
    copy.partial_fit(x, y, loss="softmax_cross_entropy", optimizer=nnb.SGD(0.1))
    for name, after in flatten(copy.params).items():
        for place in np.ndindex(after.shape):
            assert e.value(Number(name, place)) == net.state_dict()[name][place]
            assert e.value(Number(f"{name}:after", place)) == after[place]
    assert not any("not listed" in note for note in e.notes)


def test_layers_and_steps_in_words():
    e = nnb.explain(table_network(), rows((1, 5)), [1], "softmax_cross_entropy")
    text = str(e)
    assert "divides the sum by the root of the number of inputs" in text
    assert "ScaledDense(3) \u2192 selu" in text
    assert "ParametricActivation(selu)" in text
    assert e.items["weight:1:2:2"].name == "weight of input 2 in layer 0"
    assert e.items["weight:3:3:3"].name == "weight of unit 3 of layer 1 in layer 2"
    assert "softmax in the loss" in text
    plain = nnb.Network([nnb.Dense(2)], input_shape=2)
    text = str(nnb.explain(plain, rows((1, 2)), [[1.0, 2.0]], "mse"))
    assert "root" not in text
    assert "sqrt" not in text


def test_a_formula_that_begins_another_is_said_too():
    e = nnb.explain(network([ScaledDense(2), nnb.Dense(1)]), rows((1, 5)), [1.0], "mse")
    lines = str(e).splitlines()
    assert "   gradient = input \u00b7 delta / sqrt(number of inputs)" in lines
    assert "   gradient = input \u00b7 delta" in lines


def test_an_activation_of_all_units_is_not_written_as_one_of_a_number():
    net = network([ScaledDense(3), ParametricActivation("softmax"), ScaledDense(1)])
    e = nnb.explain(net, rows((1, 5)), [1.0], "mse")
    checked_symbols(e)
    text = str(e)
    assert "softmax(x)" not in text
    assert "softmax'" not in text
    assert "softmax being that of all units together" in text


def test_the_identity_is_no_scale():
    net = network([ParametricActivation("identity"), ScaledDense(1)])
    found = checked_symbols(nnb.explain(net, rows((1, 5)), [1.0], "mse"))
    assert found.count("y = x + weight \u00b7 (identity(x) - x)") == 5
    assert "y = x \u00b7 weight" not in found


def test_members_are_told_by_layer():
    layers = [Replicate(2), FeatureScale(axes=2), ScaledDense(3, members=2), nnb.Flatten()]
    e = nnb.explain(network([*layers, nnb.Dense(1)]), rows((1, 5)), [1.0], "mse")
    assert [layer.text for layer in e.layers[1:3]] == [
        "FeatureScale(axes=2)",
        "ScaledDense(3, members=2)",
    ]
    assert not any("sqrt" in formula.symbols for formula in e.formulas)
    assert "Weights that are not listed: those of layer 1, 2." in str(e)


@pytest.mark.parametrize("simple", [False, True])
def test_realmlp(simple):
    layers = build_realmlp(3, 2, outputs=3, steps=10, simple=simple, hidden=(6, 20))
    net = network(layers)
    e = nnb.explain(net, rows((1, 5)), [2], "softmax_cross_entropy")
    assert len(checked_symbols(e)) > 100
    left = [note for note in e.notes if "not listed" in note]
    assert len(left) == (0 if simple else 1)
    assert simple or "those of layer 0." in left[0]
