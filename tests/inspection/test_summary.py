"""Networks as lines of text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import nnbackend as nnb
from nnbackend import Dense, Layer, Residual, Sequential
from nnbackend.inspection.summary import line


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
        (nnb.Activation("tanh"), "Activation('tanh')"),
        (nnb.Dropout(0.5), "Dropout(rate=0.5)"),
        (nnb.Conv2D(4, 3, bias=False), "Conv2D(out_channels=4, kernel_size=(3, 3), bias=False)"),
        (nnb.MaxPool2D(2, stride=1), "MaxPool2D(size=(2, 2), stride=(1, 1))"),
        (nnb.BatchNorm(), "BatchNorm()"),
        (Sequential([]), "Sequential()"),
        (Residual([Dense(2), Sequential([nnb.Flatten()])]),
         "Residual(Dense(2, identity), Sequential(Flatten()))"),
        (Wrap(Dense(2)), "Wrap(Dense(2, identity))"),
        (Scale(2.0), "Scale(factor=2.0)"),
    ],
)  # fmt: skip
def test_a_layer_as_a_line(layer, text):
    assert line(layer) == text
