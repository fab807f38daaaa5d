"""Layers: shapes, gradients, and what they must leave alone."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import LAYERS, Case, each, rows
from hypothesis import given, settings
from tools import assert_close, assert_equal, host, parameters, training

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.tree import flatten, tree_map


def passed(case: Case, backend, batch=3, input_grad=True):
    """Return x, dy and the results of a training pass and its backward pass."""
    params = parameters(case.thing, case.shape, backend)
    x = backend.asarray(rows((batch, *case.shape)))
    with backend.scope():
        y, backward = case.thing.forward(params, x, training(backend))
        dy = backend.asarray(rows(y.shape, seed=1))
        return params, x, dy, y, *backward(dy, input_grad=input_grad), backward


@each(LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_agree_with_central_differences(case, batch, backend64):
    net = nnb.Network(case.thing, backend=backend64, input_shape=case.shape)
    assert nnb.testing.check_gradients(net, rows((batch, *case.shape))) < 1e-7


@each(LAYERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_shapes_of_output_and_gradients(case, batch, backend):
    params, x, _, y, dx, grads, _ = passed(case, backend, batch)
    _, output_shape = case.thing.init(case.shape, Generator.of(0))
    assert tuple(y.shape) == (batch, *output_shape)
    assert tuple(dx.shape) == tuple(x.shape)
    assert tree_map(lambda p: tuple(p.shape), grads) == tree_map(lambda p: tuple(p.shape), params)


@each(LAYERS)
def test_everything_keeps_dtype_and_device(case, backend):
    _, _, _, y, dx, grads, _ = passed(case, backend)
    for array in [y, dx, *flatten(grads).values()]:
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
    assert_equal(host(backend, {"x": x, "dy": dy, "y": y, "params": params}), before)
    assert_equal(host(backend, again), first)


# What has no parameters has nothing to save by leaving out the gradient of its input.
_PASSING = nnb.Dropout | nnb.AlphaDropout | nnb.GaussianNoise | nnb.Flatten


@each(LAYERS)
def test_without_the_gradient_of_the_input_the_others_are_the_same(case, backend):
    *_, with_dx, _ = passed(case, backend)
    *_, dx, without_dx, _ = passed(case, backend, input_grad=False)
    assert isinstance(case.thing, _PASSING) or dx is None
    assert_close(host(backend, without_dx), host(backend, with_dx), 1e-6)


@each(LAYERS)
def test_a_row_gives_the_same_alone_as_in_a_batch(case, backend):
    params = parameters(case.thing, case.shape, backend)
    x = backend.asarray(rows((3, *case.shape)))
    ctx = Context(backend)
    with backend.scope():
        whole, _ = case.thing.forward(params, x, ctx)
        one, _ = case.thing.forward(params, x[1:2, ...], ctx)
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


# ------------------------------------------------------------------------------------- dense


def test_dense_is_a_product_plus_bias(backend):
    dense = nnb.Dense(2)
    params = {"weight": backend.asarray([[1, 2], [3, 4]]), "bias": backend.asarray([10, 20])}
    y, backward = dense.forward(params, backend.asarray([[1, 1], [2, 0]]), Context(backend))
    dx, grads = backward(backend.asarray([[1, 0], [0, 1]]))
    assert_equal(host(backend, y), np.array([[14, 26], [12, 24]], np.float32))
    assert_equal(host(backend, dx), np.array([[1, 3], [2, 4]], np.float32))
    assert_equal(host(backend, grads["weight"]), np.array([[1, 2], [1, 0]], np.float32))
    assert_equal(host(backend, grads["bias"]), np.array([1, 1], np.float32))


@settings(max_examples=10)
@given(
    axes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    features=st.integers(1, 5),
    outputs=st.integers(1, 5),
)
def test_dense_takes_any_number_of_axes(axes, features, outputs, backend):
    layer = nnb.Dense(outputs, activation="tanh")
    x = rows((*axes, features))
    params = parameters(layer, (*axes[1:], features), backend)
    y, backward = layer.forward(params, backend.asarray(x), Context(backend))
    dx, grads = backward(y)
    assert (tuple(y.shape), tuple(dx.shape)) == ((*axes, outputs), x.shape)
    w, b = host(backend, params["weight"]), host(backend, params["bias"])
    np.testing.assert_allclose(host(backend, y), np.tanh(x @ w + b), atol=1e-5)
    assert tuple(grads["weight"].shape) == (features, outputs)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("relu", "he_uniform"), ("gelu", "he_uniform"), ("tanh", "glorot_uniform"),
     (None, "glorot_uniform"), ("softmax", "glorot_uniform")],
)  # fmt: skip
def test_dense_takes_the_initializer_that_suits_its_activation(activation, expected):
    assert nnb.Dense(3, activation).initializer == nnb.initializers.get(expected)


def test_sizes_may_be_numpys_integers():
    assert nnb.Dense(np.int64(3)) == nnb.Dense(3)
    assert type(nnb.Dense(np.int64(3)).out_features) is int


# ------------------------------------------------------------------------------------- dropout


def dropped(backend, rate, step=0, shape=(200, 100), key=(1, 2)):
    ctx = Context(backend, True, key, step)
    y, backward = nnb.Dropout(rate).forward(
        {}, backend.xp.ones(shape, dtype=backend.dtype, device=backend.device), ctx
    )
    return host(backend, y), backward


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_fraction_and_keeps_the_mean(rate, backend):
    y, _ = dropped(backend, rate)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4 * deviation
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_masks_change_with_step_and_key_only(backend):
    y, _ = dropped(backend, 0.5)
    assert_equal(dropped(backend, 0.5)[0], y)
    for other in (dropped(backend, 0.5, step=1)[0], dropped(backend, 0.5, key=(1, 3))[0]):
        assert abs((other == y).mean() - 0.5) < 0.02


def test_dropouts_rows_are_the_same_in_a_longer_batch(backend):
    assert_equal(dropped(backend, 0.3, shape=(50, 7))[0][:20],
                 dropped(backend, 0.3, shape=(20, 7))[0])  # fmt: skip


def test_dropout_does_nothing_outside_training(backend):
    x = backend.asarray(rows((3, 4)))
    y, backward = nnb.Dropout(0.5).forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))


def test_each_dropout_of_a_network_has_a_mask_of_its_own(backend):
    layers = nnb.Sequential([nnb.Dropout(0.5), nnb.Dropout(0.5)])
    ones = backend.xp.ones((50, 40), dtype=backend.dtype, device=backend.device)
    y, _ = layers.forward(parameters(layers, (40,), backend), ones, training(backend))
    assert abs((host(backend, y) == 0).mean() - 0.75) < 0.04  # equal masks would give 0.5


# --------------------------------------------------------------------------------------- noise


def noisy(layer, backend, step=0, shape=(200, 100), x=None):
    """Return the output of a training pass on the host."""
    x = np.zeros(shape) if x is None else x
    y, _ = layer.forward({}, backend.asarray(x), Context(backend, True, (1, 2), step))
    return host(backend, y)


def test_gaussian_noise_is_normal(backend):
    y = noisy(nnb.GaussianNoise(2.0), backend).ravel() / 2
    n = y.size
    assert abs(y.mean()) < 4 / n**0.5
    assert abs(y.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((y**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((y**4).mean() - 3) < 4 * (96 / n) ** 0.5
    below = np.sort(y).searchsorted([-2, -1, 0, 1, 2]) / n
    np.testing.assert_allclose(below, [0.02275, 0.15866, 0.5, 0.84134, 0.97725], atol=2 / n**0.5)
    assert abs(np.corrcoef(y[::2], y[1::2])[0, 1]) < 4 / (n / 2) ** 0.5


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_noise_is_the_same_on_every_backend_up_to_rounding(step, backend64):
    numpy = nnb.get_backend("numpy", dtype="float64")
    for layer in (nnb.GaussianNoise(1.0), nnb.AlphaDropout(0.3)):
        expected = noisy(layer, numpy, step)
        np.testing.assert_allclose(noisy(layer, backend64, step), expected, rtol=0, atol=1e-14)


def test_noise_in_float32_is_that_of_float64_rounded(backend):
    expected = noisy(nnb.GaussianNoise(1.0), nnb.get_backend("numpy", dtype="float64"))
    np.testing.assert_allclose(noisy(nnb.GaussianNoise(1.0), backend), expected, atol=1e-5)


def test_noise_changes_with_the_step_and_not_with_the_length_of_the_batch(backend):
    layer = nnb.GaussianNoise(1.0)
    y = noisy(layer, backend, shape=(50, 7))
    assert_close(y[:20], noisy(layer, backend, shape=(20, 7)), 1e-6)
    other = noisy(layer, backend, step=1, shape=(50, 7))
    assert abs(np.corrcoef(y.ravel(), other.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_alpha_dropout_keeps_mean_and_variance(rate, backend):
    x = np.random.default_rng(0).normal(size=(200, 100))
    y = noisy(nnb.AlphaDropout(rate), backend, x=x)
    assert abs(y.mean()) < 0.05
    assert abs(y.var() - 1) < 0.05


@pytest.mark.parametrize("layer", [nnb.GaussianNoise(1.0), nnb.AlphaDropout(0.5)])
def test_there_is_no_noise_outside_training(layer, backend):
    x = backend.asarray(rows((3, 4)))
    y, backward = layer.forward({}, x, Context(backend))
    assert_equal(host(backend, y), host(backend, x))
    assert_equal(host(backend, backward(x)[0]), host(backend, x))


# ------------------------------------------------------------------------------------- bad input


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


def test_a_residual_names_the_shapes_that_do_not_match():
    with pytest.raises(ValueError, match=r"layer 1 \(Residual\).*\(3,\).*\(2,\)"):
        nnb.Network([nnb.Dense(3), nnb.Residual([nnb.Dense(2)])], input_shape=(4,))


def test_an_initializer_of_the_wrong_shape_is_named():
    layer = nnb.Dense(2, initializer=lambda shape, rng: np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"weight.*\(1, 1\).*\(3, 2\)"):
        layer.init((3,), Generator.of(0))
