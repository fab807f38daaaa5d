"""Activations: values, derivatives, and behavior far out."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import ACTIVATIONS, each, rows
from hypothesis import given
from tools import assert_equal, host, slope

import nnbackend as nnb
from nnbackend import Context, activations
from nnbackend.core import functional

FAR = [-1e6, -1e4, -1e3, -200.0, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 200.0, 1e3, 1e4, 1e6]


@each(ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (2, 3, 4)])
def test_derivative_agrees_with_central_differences(case, shape, backend64):
    ctx = Context(backend64)
    x, dy, v = rows(shape), rows(shape, 1), rows(shape, 2)

    def value(x):
        return float((host(backend64, case.thing(backend64.asarray(x), ctx)[0]) * dy).sum())

    _, backward = case.thing(backend64.asarray(x), ctx)
    dx = host(backend64, backward(backend64.asarray(dy)))
    assert dx.shape == shape
    assert (dx * v).sum() == pytest.approx(slope(value, x, v), rel=1e-7, abs=1e-8)


@each(ACTIVATIONS)
def test_float32_stays_float32_and_nothing_is_changed(case, backend):
    x, dy = backend.asarray(rows((3, 4))), backend.asarray(rows((3, 4), 1))
    before = host(backend, {"x": x, "dy": dy})
    y, backward = case.thing(x, Context(backend))
    y_before = host(backend, y)
    dx = backward(dy)
    assert y.dtype == dx.dtype == backend.xp.float32
    again = backward(dy)
    assert_equal(host(backend, {"x": x, "dy": dy}), before)
    assert_equal(host(backend, y), y_before)
    assert_equal(host(backend, again), host(backend, dx))


@each(ACTIVATIONS)
def test_values_and_derivatives_are_finite_far_out(case, backend):
    x = backend.asarray(np.array([FAR, FAR[::-1]]))
    y, backward = case.thing(x, Context(backend))
    dx = host(backend, backward(backend.xp.ones_like(x)))
    assert np.isfinite(host(backend, y)).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax"])
def test_saturating_activations_stay_within_their_bounds(name, backend):
    x = backend.asarray(np.array([FAR]))
    y = host(backend, activations.get(name)(x, Context(backend))[0])
    assert y.min() >= (-1 if name == "tanh" else 0)
    assert y.max() <= 1


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "softplus", "mish", "elu", "selu"])
def test_the_relu_family_grows_as_its_input(name, backend):
    x = backend.asarray(np.array([[1e3, 1e4]]))
    y, backward = activations.get(name)(x, Context(backend))
    scale = 1.0507009873554805 if name == "selu" else 1.0
    np.testing.assert_allclose(host(backend, y), [[scale * 1e3, scale * 1e4]], rtol=1e-6)
    np.testing.assert_allclose(host(backend, backward(backend.xp.ones_like(x))), scale, rtol=1e-6)


@given(
    values=st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=6),
    shift=st.floats(-1e4, 1e4),
)
def test_softmax_sums_to_one_and_ignores_a_shift(values, shift, backend):
    ctx = Context(backend)
    x = np.array([values])
    y = host(backend, activations.Softmax()(backend.asarray(x), ctx)[0])
    moved = host(backend, activations.Softmax()(backend.asarray(x + shift), ctx)[0])
    assert y.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(moved, y, atol=5e-3)  # float32 holds 1e4 to within 5e-4


def test_log_softmax_is_the_logarithm_of_softmax(backend):
    x = backend.asarray([[1.0, -2.0, 3.0], [1e3, -1e4, 0.0]])
    logs = host(backend, functional.log_softmax(x, backend.xp))
    np.testing.assert_allclose(
        np.exp(logs[0]), host(backend, functional.softmax(x, backend.xp))[0], rtol=1e-6
    )
    np.testing.assert_allclose(logs[1], [0.0, -1.1e4, -1e3])


def test_one_hot_marks_each_label(backend):
    labels = backend.asarray([[0, 2], [1, 1]], dtype=backend.xp.int32)
    found = host(backend, functional.one_hot(labels, 3, backend.dtype, backend.xp))
    assert_equal(found, np.eye(3, dtype=np.float32)[[[0, 2], [1, 1]]])


def test_the_error_function_is_exact_to_rounding(backend64):
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-9, 9, 2001), [0.0, 1e-300, 1e-8, -1.0, 1.0, 40.0, -1e100]])
    found = host(backend64, functional.erf(backend64.asarray(x), backend64.xp))
    np.testing.assert_allclose(found, special.erf(x), rtol=1e-14, atol=1e-300)


def test_the_error_function_of_the_backend_is_that_of_the_standard_library(backend64):
    from math import erf

    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(
        host(backend64, backend64.erf(backend64.asarray(x))), [erf(v) for v in x], rtol=1e-14
    )


def test_sigmoid_keeps_its_relative_accuracy_in_both_tails(backend64):
    x = np.array([-700.0, -100.0, -40.0, -1.0, 1.0, 40.0])
    found = host(backend64, functional.sigmoid(backend64.asarray(x), backend64.xp))
    np.testing.assert_allclose(found, np.exp(-np.logaddexp(0, -x)), rtol=1e-13)


def test_none_is_the_identity_and_an_object_stands_for_itself():
    leaky = activations.LeakyReLU(0.2)
    assert activations.get(None) == activations.Identity()
    assert activations.get(leaky) is leaky


KINKS = [-6.0, -3.0, -1.0, -0.0, 0.0, 0.05, 1.0, 3.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("activation", "twin"),
    [
        (activations.HardSwish(), lambda F, x: F.hardswish(x)),
        (activations.HardSigmoid(), lambda F, x: F.relu6(x + 3) / 6),
        (activations.HardTanh(), lambda F, x: F.hardtanh(x)),
        (activations.HardTanh(0.05, 4.0), lambda F, x: F.hardtanh(x, 0.05, 4.0)),
        (activations.ReLU6(), lambda F, x: F.relu6(x)),
        (activations.CELU(2.0), lambda F, x: F.celu(x, 2.0)),
        (activations.ReLU(), lambda F, x: F.relu(x)),
        (activations.Softsign(), lambda F, x: F.softsign(x)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_derivative_at_a_kink_is_torchs(activation, twin, backend64):
    torch = pytest.importorskip("torch")
    x, dy = np.array([KINKS]), np.arange(1.0, len(KINKS) + 1)[None]
    y, backward = activation(backend64.asarray(x), Context(backend64))
    leaf = torch.tensor(x, requires_grad=True)
    expected = twin(torch.nn.functional, leaf)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(host(backend64, y), expected.detach().numpy(), atol=1e-15)
    dx = host(backend64, backward(backend64.asarray(dy)))
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=1e-12, atol=1e-15)


SPARSE = [  # inputs, and the distribution that is nearest to them
    ([[3.0, 1.0, 0.1]], [[1.0, 0.0, 0.0]]),
    ([[0.5, 0.4, 0.1, -2.0]], [[0.5, 0.4, 0.1, 0.0]]),
    ([[1.0, 1.0, 1.0, 1.0]], [[0.25, 0.25, 0.25, 0.25]]),
    ([[2.0, -1.0, 2.0, 1.5]], [[0.5, 0.0, 0.5, 0.0]]),  # the last is at the threshold
    ([[7.0]], [[1.0]]),
    ([[1e30, -1e30, 1e30]], [[0.5, 0.0, 0.5]]),
]


@pytest.mark.parametrize(("x", "expected"), SPARSE)
def test_sparsemax_is_the_nearest_distribution(x, expected, backend):
    y, backward = activations.Sparsemax()(backend.asarray(x), Context(backend))
    np.testing.assert_allclose(host(backend, y), expected, atol=1e-7)
    assert ((host(backend, y) == 0) == (np.array(expected) == 0)).all()
    dy = np.arange(1.0, len(x[0]) + 1)[None]
    support = np.array(expected) > 0
    wanted = np.where(support, dy - dy[support].mean(), 0.0)
    np.testing.assert_allclose(
        host(backend, backward(backend.asarray(dy))), wanted, rtol=1e-6, atol=1e-6
    )


@given(values=st.lists(st.floats(-3, 3), min_size=1, max_size=8), shift=st.floats(-100, 100))
def test_sparsemax_sums_to_one_and_is_the_projection(values, shift, backend64):
    x = np.array([values])
    y = host(
        backend64, activations.Sparsemax()(backend64.asarray(x + shift), Context(backend64))[0]
    )
    assert y.min() >= 0.0
    assert y.sum() == pytest.approx(1.0, abs=1e-12)
    # Of a projection onto a convex set: (x - y) . (p - y) <= 0 for each corner p of it.
    toward = (x - y) @ (np.eye(x.shape[1]) - y).T
    assert toward.max() < 1e-12


@pytest.mark.parametrize("name", ["prelu", "PReLU", "glu", "SwiGLU", "geglu", "reglu", "maxout"])
def test_what_is_a_layer_here_is_said(name):
    with pytest.raises(nnb.errors.UnknownNameError, match="it is a layer") as error:
        nnb.Activation(name)
    assert f"nnbackend.{activations.layer_instead(name)}" in str(error.value)
    with pytest.raises(TypeError, match=f"that is the layer {activations.layer_instead(name)[:5]}"):
        nnb.Sequential([name])


def test_a_layer_is_no_activation():
    with pytest.raises(TypeError, match=r"GLU\(channels='last'\) is a layer and no act"):
        nnb.Dense(4, activation=nnb.GLU())


def test_the_bounds_of_hardtanh_are_in_order():
    with pytest.raises(ValueError, match="low must be below high, got low=1 and high=1"):
        activations.HardTanh(1.0, 1.0)
    with pytest.raises(ValueError, match="alpha must be above 0"):
        activations.CELU(0.0)
