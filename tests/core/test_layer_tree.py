"""Layers inside layers: their names, and what is found or replaced in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import nnbackend as nnb
from nnbackend import Dense, Layer, Residual, Sequential
from nnbackend.constraints import MaxNorm
from nnbackend.core.layer_tree import children, map_layers, weights_with
from nnbackend.regularizers import L2


class Composite:
    """A layer that runs its children one after the other."""

    def init(self, input_shape, rng):
        params, shape = {}, input_shape
        for name, child in children(self):
            params[name], shape = child.init(shape, rng.child(name))
        return params, shape

    def forward(self, params, x, ctx):
        backwards = {}
        for name, child in children(self):
            x, backwards[name] = child.forward(params[name], x, ctx.child(name))

        def backward(dy, input_grad=True):
            grads = {}
            for name in reversed(backwards):
                dy, grads[name] = backwards[name](dy)
            return dy, grads

        return x, backward


@dataclass(frozen=True)
class Wrap(Composite):
    inner: Layer


@dataclass(frozen=True)
class Branches(Composite):
    branches: Any
    layers: Any = ()


@dataclass(frozen=True)
class MadeInside(Composite):
    units: int
    inner: Layer = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "inner", Dense(self.units, regularizer=L2(0.1)))
        object.__setattr__(self, "outer", Dense(self.units, regularizer=L2(0.2)))


class Pair(NamedTuple):
    left: Layer
    right: Layer


class NoDataclass(Composite):
    def __init__(self, inner):
        self.inner = inner


def shrink(name, layer):
    """Replace Dense layers at any depth."""
    return Dense(1) if isinstance(layer, Dense) else map_layers(shrink, layer)


A, B = Dense(3, regularizer=L2(0.1)), Dense(4, constraint=MaxNorm(1.0))

COMPOSITES = [
    (Sequential([A, B]), ["0", "1"]),
    (Residual([A, B]), ["0", "1"]),
    (Wrap(A), ["inner"]),
    (Branches([A, B]), ["branches.0", "branches.1"]),
    (Branches({"a": A, "b": [B, A]}), ["branches.a", "branches.b.0", "branches.b.1"]),
    (Branches((), {"a": A, "b": B}), ["a", "b"]),
    (Branches([A], [B]), ["branches.0", "0"]),
    (Branches(Pair(A, B)), ["branches.0", "branches.1"]),
    (Branches([("name", A, 3), B]), ["branches.0.1", "branches.1"]),
    (MadeInside(3), ["inner", "outer"]),
    (NoDataclass(A), ["inner"]),
]


@pytest.mark.parametrize(("layer", "names"), COMPOSITES)
def test_children_have_the_names_of_their_fields(layer, names):
    assert [name for name, _ in children(layer)] == names
    params, _ = layer.init((3,), nnb.core.random.Generator.of(0)) if names[0] != "0" else ({}, 0)
    assert not params or list(params) == names


@pytest.mark.parametrize(("layer", "names"), COMPOSITES)
def test_map_layers_replaces_each_child_and_nothing_else(layer, names):
    seen = []

    def replaced(name, child):
        seen.append((name, child))
        return Dense(7)

    before = list(children(layer))
    new = map_layers(replaced, layer)
    assert seen == before == list(children(layer))
    assert list(children(new)) == [(name, Dense(7)) for name in names]
    assert type(new) is type(layer)
    assert map_layers(lambda name, child: child, layer) is layer


@pytest.mark.parametrize("layers", [{1: A, "1": B}, {"branches": A}])
def test_two_children_of_one_name_are_refused(layers):
    with pytest.raises(ValueError, match="two layers inside Branches are called"):
        list(children(Branches(A, layers)))


def test_map_layers_keeps_the_kinds_of_collections_and_what_is_no_layer():
    new = map_layers(shrink, Branches([("name", A, 3)], {"a": Pair(A, B)}))
    assert new == Branches([("name", Dense(1), 3)], {"a": Pair(Dense(1), Dense(1))})
    assert isinstance(new.layers, Mapping)
    assert isinstance(new.layers["a"], Pair)


def test_map_layers_descends_with_its_function():
    assert map_layers(shrink, Wrap(Sequential([Residual([A]), nnb.Dropout(0.1)]))) == Wrap(
        Sequential([Residual([Dense(1)]), nnb.Dropout(0.1)])
    )


@pytest.mark.parametrize("leaf", [A, nnb.Dropout(0.1), nnb.Flatten(), nnb.Activation("relu")])
def test_a_layer_without_children_is_left_alone(leaf):
    assert not list(children(leaf))
    assert map_layers(shrink, nnb.Flatten()) == nnb.Flatten()


def test_weights_are_found_in_any_composite():
    layer = Sequential([Wrap(Branches({"a": A}, [B])), MadeInside(2)])
    assert weights_with("regularizer", layer) == (
        ("0.inner.branches.a.weight", L2(0.1)),
        ("1.inner.weight", L2(0.1)),
        ("1.outer.weight", L2(0.2)),
    )
    assert weights_with("constraint", layer) == (("0.inner.0.weight", MaxNorm(1.0)),)


PENALIZED = Dense(1, regularizer=L2(0.1), constraint=MaxNorm(0.01))
X = np.random.default_rng(0).normal(size=(12, 3))
Y = X[:, :1]


@pytest.mark.parametrize(
    "around",
    [
        Wrap,
        lambda layer: Wrap(Wrap(layer)),
        lambda layer: Branches([layer]),
        lambda layer: Branches({"a": (layer,)}),
        lambda layer: Sequential([Wrap(Residual([])), Wrap(layer)]),
        NoDataclass,
    ],
)
def test_regularizers_and_constraints_hold_inside_a_composite(around):
    net = nnb.Network([around(PENALIZED)], dtype="float64", input_shape=3)
    weight = next(value for name, value in net.state_dict().items() if name.endswith("weight"))
    loss = float(np.mean((net.predict(X) - Y) ** 2) + 0.1 * np.sum(weight**2))
    assert net.evaluate(X, Y, loss="mse")["loss"] == pytest.approx(loss)
    history = net.fit(X, Y, loss="mse", optimizer="sgd", epochs=1, batch_size=12, verbose=0)
    assert history["loss"][0] == pytest.approx(loss)
    state = net.state_dict()
    weight = next(value for name, value in state.items() if name.endswith("weight"))
    assert float(np.linalg.norm(weight)) == pytest.approx(0.01)


@dataclass(frozen=True)
class Transparent:
    """A composite that hands all its parameters on, without a name."""

    inner: Layer

    def init(self, input_shape, rng):
        return self.inner.init(input_shape, rng)

    def forward(self, params, x, ctx):
        return self.inner.forward(params, x, ctx)


@pytest.mark.parametrize("kind", ["regularizer", "constraint"])
def test_a_composite_with_other_names_is_refused_instead_of_ignored(kind):
    option = {"regularizer": L2(0.1), "constraint": MaxNorm(1.0)}[kind]
    net = nnb.Network([Transparent(Dense(1, **{kind: option}))])
    with pytest.raises(ValueError, match=rf"{kind}.*0\.inner\.weight.*nnbackend.layers.children"):
        net.fit(X, Y, loss="mse", epochs=1, verbose=0)


class Private(Composite):
    """A class that is no dataclass and keeps its layer to itself."""

    def __init__(self, inner):
        self._inner = inner


class Slotted(Composite):
    __slots__ = ("kept",)

    def __init__(self, inner):
        self.kept = inner


@pytest.mark.parametrize(("kind", "name"), [(Private, "_inner"), (Slotted, "kept")])
def test_classes_that_are_no_dataclasses_hide_no_layers(kind, name):
    inner = Dense(2, activation="softmax", regularizer=L2(0.5))
    assert [*children(kind(inner))] == [(name, inner)]
    assert weights_with("regularizer", kind(inner)) == ((f"{name}.weight", L2(0.5)),)
    net = nnb.Network([kind(inner)], input_shape=3)
    with pytest.raises(ValueError, match="softmax"):
        net.fit(np.ones((4, 3)), np.zeros(4, int), loss="softmax_cross_entropy")
