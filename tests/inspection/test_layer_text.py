"""Layers as lines of text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import nnbackend as nnb
from nnbackend import Dense, Layer, Residual, Sequential
from nnbackend.inspection.layer_text import describe_layer


@dataclass(frozen=True)
class Wrap:
    inner: Layer


@dataclass(frozen=True)
class Scale:
    factor: float


# Any object with the methods of a layer will do.
for cls in (Wrap, Scale):
    cls.init = lambda self, input_shape, rng: ({}, input_shape)
    cls.forward = lambda self, params, x, ctx: (x, None)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Dense(3, "relu"), "Dense(3, relu)"),
        (Dense(3, bias=False), "Dense(3, identity, no bias)"),
        (nnb.Activation("tanh"), "Activation(tanh)"),
        (Dense(3, nnb.activations.LeakyReLU(0.3), initializer="zeros"),
         "Dense(3, LeakyReLU(slope=0.3), initializer=Zeros())"),
        (Dense(3, initializer="glorot_uniform"), "Dense(3, identity)"),
        (Dense(3, "relu", initializer="glorot_uniform"),
         "Dense(3, relu, initializer=GlorotUniform())"),
        (nnb.Dropout(0.5), "Dropout(0.5)"),
        (nnb.BatchNorm(momentum=0.2), "BatchNorm(momentum=0.2)"),
        (nnb.Conv2D(8, (3, 3), stride=2), "Conv2D(8, 3, identity, stride=2)"),
        (nnb.Conv2D(8, (3, 1), padding="same", activation="relu"),
         "Conv2D(8, (3, 1), relu, padding='same')"),
        (nnb.Reshape((3, 3)), "Reshape((3, 3))"),
        (nnb.Repeat(Dense(2), 3, shared=True), "Repeat(Dense(2, identity), times=3, shared=True)"),
        (nnb.Graph("x", {"y": (Dense(2), "x")}, "y"),
         "Graph(Dense(2, identity), inputs=('x',), outputs='y')"),
        (Sequential([]), "Sequential()"),
        (Residual([Dense(2), Sequential([nnb.Flatten()])]),
         "Residual(Dense(2, identity), Sequential(Flatten()))"),
        (Wrap(Dense(2)), "Wrap(Dense(2, identity))"),
        (Scale(2.0), "Scale(2.0)"),
    ],
)  # fmt: skip
def test_a_layer_as_a_line(layer, text):
    assert describe_layer(layer) == text


def test_the_layers_inside_can_be_left_out():
    assert describe_layer(nnb.Repeat(Dense(2), 3), inside=False) == "Repeat(times=3)"


def test_a_layer_whose_defaults_cannot_be_known_shows_all_that_differs_from_the_fields():
    @dataclass(frozen=True)
    class Picky:
        size: int
        bound: int = 1

        def __post_init__(self):
            if self.bound < self.size:
                raise ValueError("bound must be at least size")

        init = forward = None

    assert describe_layer(Picky(3, 5)) == "Picky(3, bound=5)"
