"""Layers: shapes, gradients, and what they must leave alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases import LAYERS, Case, each, rows
from tools import (
    assert_close,
    assert_equal,
    gradients_of_numbers,
    host,
    on_backend,
    parameters,
    training,
)

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.tree import arrays_in, flatten, slice_rows, tree_map


def passed(case: Case, backend, batch=3):
    """Return x, dy and the results of a training pass and its backward pass."""
    params = parameters(case.thing, case.shape, backend)
    x = on_backend(backend, case.inputs(batch))
    with backend.scope():
        y, backward = case.thing.forward(params, x, training(backend))
        dy = backend.asarray(rows(y.shape, seed=1))
        return params, x, dy, y, *backward(dy), backward


@each(LAYERS)
def test_gradients_agree_with_central_differences(case, backend64):
    net = nnb.Network(case.thing, backend=backend64, input_shape=case.shape)
    for batch in (1, 3) if backend64.name == "numpy" else (3,):  # the others compile for each shape
        assert nnb.testing.check_gradients(net, case.inputs(batch)) < 1e-7


@each(LAYERS)
def test_shapes_dtypes_and_devices_of_output_and_gradients(case, backend):
    for batch in (1, 3) if backend.name == "numpy" else (3,):
        params, x, _, y, dx, grads, _ = passed(case, backend, batch)
        _, output_shape = case.thing.init(case.shape, Generator.of(0))
        assert tuple(y.shape) == (batch, *output_shape)
        shapes = tree_map(lambda p: tuple(p.shape), params)
        assert tree_map(lambda p: tuple(p.shape), grads) == shapes
        for array in [y, *gradients_of_numbers(x, dx), *flatten(grads).values()]:
            assert array.dtype == backend.xp.float32
            assert str(array.device) == str(backend.device)


@each(LAYERS)
def test_inputs_gradients_and_parameters_are_left_alone(case, backend):
    params, x, dy, y, dx, grads, backward = passed(case, backend)
    before = host(backend, {"x": x, "dy": dy, "y": y, "params": params})
    first = host(backend, {"dx": dx, "grads": grads})
    with backend.scope():
        case.thing.forward(params, x, training(backend, step=5))
        again = dict(zip(("dx", "grads"), backward(dy), strict=True))
        no_dx, without_dx = backward(dy, input_grad=False)
    assert_equal(host(backend, {"x": x, "dy": dy, "y": y, "params": params}), before)
    assert_equal(host(backend, again), first)
    assert arrays_in(no_dx) == []
    assert_close(host(backend, without_dx), first["grads"], 1e-6)


@each(LAYERS)
def test_a_row_gives_the_same_alone_as_in_a_batch(case, backend):
    params = parameters(case.thing, case.shape, backend)
    x = on_backend(backend, case.inputs(3))
    ctx = Context(backend)
    with backend.scope():
        whole, _ = case.thing.forward(params, x, ctx)
        one, _ = case.thing.forward(params, slice_rows(x, 1, 2), ctx)
    assert_close(host(backend, one), host(backend, whole)[1:2], 1e-6)


@each(LAYERS)
def test_shapes_are_found_without_drawing_numbers(case):
    expected, output_shape = case.thing.init(case.shape, Generator.of(0))
    found, found_shape = case.thing.init(case.shape, ShapeGenerator((0, 0)))
    assert found_shape == output_shape
    assert tree_map(np.shape, found) == tree_map(np.shape, expected)


@each(LAYERS)
def test_a_layer_is_an_immutable_value(case):
    assert case.thing == case.thing
    assert hash(case.thing) == hash(case.thing)
    with pytest.raises(AttributeError):
        case.thing.something = 1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: nnb.Dense(0), ValueError, "out_features"),
        (lambda: nnb.Dense(-3), ValueError, "out_features"),
        (lambda: nnb.Dense(2.5), ValueError, "out_features"),
        (lambda: nnb.Dense(True), ValueError, "out_features"),
        (lambda: nnb.Dense(3, "rellu"), ValueError, "did you mean 'relu'"),
        (lambda: nnb.Dense(3, initializer="glorot_unifrom"), ValueError, "glorot_uniform"),
        (lambda: nnb.Dense(3, activation=nnb.activations.ReLU), TypeError, "ReLU"),
        (lambda: nnb.Dense(3, activation=7), TypeError, "7"),
        (lambda: nnb.Activation("tahn"), ValueError, "did you mean 'tanh'"),
        (lambda: nnb.Dropout(1.0), ValueError, "rate"),
        (lambda: nnb.Dropout(-0.1), ValueError, "rate"),
        (lambda: nnb.Dropout(float("nan")), ValueError, "rate"),
        (lambda: nnb.Dropout("half"), ValueError, "rate"),
        (lambda: nnb.AlphaDropout(1.0), ValueError, "rate"),
        (lambda: nnb.DropPath(1.0), ValueError, "rate"),
        (lambda: nnb.SpatialDropout(0.1, "lst"), ValueError, "channels must be 'last' or 'first'"),
        (lambda: nnb.DropBlock(0.1, 0), ValueError, "size"),
        (lambda: nnb.GaussianNoise(-0.1), ValueError, "std"),
        (lambda: nnb.GaussianNoise(float("inf")), ValueError, "std"),
        (lambda: nnb.Sequential([nnb.Dense]), TypeError, r"write Dense\(\.\.\.\)"),
        (lambda: nnb.Sequential(["Dense"]), TypeError, "Dense"),
        (lambda: nnb.Residual([3]), TypeError, "3"),
        (lambda: nnb.activations.GELU("fast"), ValueError, "fast"),
        (lambda: nnb.activations.LeakyReLU("x"), (ValueError, TypeError), "slope"),
        (lambda: nnb.activations.ELU(float("nan")), ValueError, "alpha"),
    ],
)
def test_what_cannot_be_a_layer_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("kind", [nnb.Dropout, nnb.AlphaDropout, nnb.GaussianNoise])
@pytest.mark.parametrize("features", [1, 2, 7])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_a_part_of_a_batch_draws_the_numbers_of_its_rows(kind, rate, features, start, backend):
    """As where several processes share a batch; a compiler may hand the row as an array."""
    layer, ctx = kind(rate), training(backend, step=3)
    x = backend.asarray(rows((9, features)))
    with backend.scope():
        whole, _ = layer.forward({}, x, ctx)
        expected = host(backend, whole)[start : start + 3]
        for first_row in (start, backend.asarray(start, backend.xp.int32)):
            ctx.start_pass(3, first_row=first_row)
            part, _ = layer.forward({}, x[start : start + 3, ...], ctx)
            assert_close(host(backend, part), expected, 1e-6)


@dataclass(frozen=True)
class Square(nnb.layers.Parameterless):
    """What a layer without parameters has to say."""

    def apply(self, x, ctx):
        return x * x, lambda dy: 2.0 * x * dy


def test_a_layer_without_parameters_gives_a_function_and_its_derivative(backend64):
    net = nnb.Network([nnb.Dense(3), Square(), nnb.Dense(1)], backend=backend64, input_shape=4)
    assert net.params["1"] == {}
    assert net.summary_rows()[1].output_shape == (3,)
    assert nnb.testing.check_gradients(net, rows((5, 4))) < 1e-7
    net.fit(rows((8, 4)), rows((8, 1)), epochs=1, verbose=0)
