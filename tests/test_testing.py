"""The checks that users run: they find what is wrong, and say where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend import Context
from nnbackend.backends.numpy import NumPyBackend
from nnbackend.core.tree import tree_map
from nnbackend.errors import BackendUnavailableError, GradientError
from nnbackend.testing import check_gradients, compare_backends

X = rows((4, 3))


@dataclass(frozen=True)
class Wrong:
    """A dense layer whose backward pass is off by a factor in one place."""

    out_features: int
    place: str
    factor: float = 1.001
    activation: str = "tanh"

    @property
    def right(self):
        return nnb.Dense(self.out_features, activation=self.activation)

    def init(self, input_shape, rng):
        return self.right.init(input_shape, rng)

    def forward(self, params, x, ctx):
        y, right_backward = self.right.forward(params, x, ctx)

        def backward(dy, input_grad=True):
            dx, grads = right_backward(dy, input_grad=input_grad)
            if self.place in grads:
                grads[self.place] = grads[self.place] * self.factor
            elif dx is not None:
                dx = dx * self.factor
            return dx, grads

        return y, backward


PLACES = {"weight": "weight", "bias": "bias", "x": "its input"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("factor", [1.001, 0.999, 0.0, -1.0])
def test_a_gradient_that_is_off_by_a_thousandth_is_found_and_its_layer_named(
    place, factor, backend64
):
    layers = [nnb.Dense(5, activation="sigmoid"), Wrong(4, place, factor), nnb.Dense(2)]
    net = nnb.Network(layers, backend=backend64)
    with pytest.raises(GradientError, match=rf"layer 1 \(Wrong\).*{PLACES[place]}"):
        check_gradients(net, X)


@pytest.mark.parametrize("place", PLACES)
def test_the_layer_is_found_inside_others(place, backend64):
    inner = nnb.Residual([nnb.Dense(4), nnb.Sequential([nnb.Dropout(0.1), Wrong(3, place)])])
    net = nnb.Network([nnb.Dense(3), inner, nnb.Dense(1)], backend=backend64)
    with pytest.raises(GradientError, match=rf"layer 1\.1\.1 \(Wrong\).*{PLACES[place]}"):
        check_gradients(net, X)


@dataclass(frozen=True)
class WrongResidual:
    """A composite that forgets the connection around its layers in the backward pass."""

    layers: Any

    def init(self, input_shape, rng):
        return nnb.Residual(self.layers).init(input_shape, rng)

    def forward(self, params, x, ctx):
        y, _ = nnb.Residual(self.layers).forward(params, x, ctx)
        _, backward = nnb.Sequential(self.layers).forward(params, x, ctx)
        return y, backward


def test_a_composite_is_blamed_when_what_is_in_it_is_right(backend64):
    net = nnb.Network(
        [nnb.Dense(3), WrongResidual((nnb.Dense(3),)), nnb.Dense(1)], backend=backend64
    )
    with pytest.raises(GradientError, match=r"layer 1 \(WrongResidual\).*its input"):
        check_gradients(net, X)


@dataclass(frozen=True)
class Broken:
    """A layer without parameters whose backward pass returns what it should not."""

    dx: Any = None
    grads: Any = ()

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        def backward(dy, input_grad=True):
            return (None if self.dx is None else dy[..., : self.dx]), dict(self.grads)

        return x * 2.0, backward


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Broken(), r"layer 0 \(Broken\).*its input"),
        (Broken(dx=1), r"layer 0 \(Broken\).*its input"),
        (Broken(dx=3, grads=(("weight", 1.0),)), "different names: 0.weight"),
    ],
)
def test_a_backward_pass_of_the_wrong_form_is_found(layer, words):
    with pytest.raises(GradientError, match=words):
        check_gradients(nnb.Network([layer]), X)


def test_what_is_right_returns_its_error(backend64):
    net = nnb.Network([nnb.Dense(4, activation="gelu"), nnb.Dense(2)], backend=backend64)
    assert 0 <= check_gradients(net, X) < 1e-8
    assert check_gradients(nnb.Dense(2, activation="mish"), X) < 1e-8
    assert check_gradients(nnb.Network([]), X) < 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_a_gradient_that_is_0_is_not_compared_with_rounding(seed, backend64):
    """Normalization takes the bias before it away."""
    layers = [nnb.Dense(4), nnb.BatchNorm(), nnb.Activation("tanh"), nnb.Dense(2)]
    net = nnb.Network(layers, backend=backend64, input_shape=3, seed=seed)
    assert check_gradients(net, X) < 1e-5


def test_the_check_leaves_the_network_as_it_was():
    net = nnb.Network([nnb.Dense(2)], input_shape=3)
    before = net.state_dict()
    check_gradients(net, X)
    assert net.backend.dtype_name == "float32"
    assert all((net.state_dict()[name] == value).all() for name, value in before.items())


def test_the_check_needs_float64():
    strict = pytest.importorskip("array_api_strict")
    net = nnb.Network([nnb.Dense(2)], backend=strict, device="no_float64")
    with pytest.raises((BackendUnavailableError, ValueError), match="float64"):
        check_gradients(net, X)


# ------------------------------------------------------------------------------------- backends


class Slanted:
    """NumPy's namespace with one function that is a little off."""

    def __init__(self, name, factor=1 + 1e-6):
        self._name, self._factor = name, factor

    def __getattr__(self, name):
        import array_api_compat.numpy as xp

        right = getattr(xp, name)
        return (lambda *a, **k: self._factor * right(*a, **k)) if name == self._name else right


def slanted(name):
    made = NumPyBackend(None, "float64")
    made.xp = Slanted(name)
    return made


LAYERS = [nnb.Dense(4, activation="sigmoid"), nnb.Residual([nnb.Dense(4, activation="tanh"),
          nnb.Dropout(0.2)]), nnb.Dense(3, activation="softmax")]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "layer"),
    [
        ("tanh", "1.0 (Dense)"),
        ("cos", None),
        ("max", None),
        ("sum", "2 (Dense)"),
        ("exp", "0 (Dense)"),
    ],
)
def test_the_first_layer_is_named_at_which_backends_part(function, layer):
    found = compare_backends(nnb.Network(LAYERS, dtype="float64"), X, slanted(function))
    assert found.first_difference == layer, str(found)
    assert (found.largest > 1e-10) == (layer is not None)


def test_backends_agree_to_rounding(backend64):
    net = nnb.Network(LAYERS, backend=backend64)
    found = compare_backends(net, X, "numpy")
    assert found.first_difference is None, str(found)
    assert found.largest < 1e-12
    assert found.backends == (backend64.name, "numpy")
    names = [row[0] for row in found.rows]
    assert sorted(names) == [
        "0 (Dense)",
        "1 (Residual)",
        "1.0 (Dense)",
        "1.1 (Dropout)",
        "2 (Dense)",
    ]
    assert str(found).splitlines()[-1].endswith("agree (tolerance 1e-10)")


@dataclass(frozen=True)
class OfItsBackend:
    """A layer that does something else on one backend: forward, backward, or with no number."""

    name: str
    where: str = "forward"

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx: Context):
        factor = 1.0 + 1e-3 * (ctx.backend.name == self.name)
        if self.where == "nan" and ctx.backend.name == self.name:
            x = x * float("nan")

        def backward(dy, input_grad=True):
            return dy * (factor if self.where == "backward" else 1.0), {}

        return x * (factor if self.where == "forward" else 1.0), backward


@pytest.mark.parametrize("where", ["forward", "backward", "nan"])
def test_a_layer_that_knows_its_backend_is_found(where):
    pytest.importorskip("array_api_strict")
    layers = [nnb.Dense(4), nnb.Dense(4, activation="tanh"),
              nnb.Residual([OfItsBackend("array-api-strict", where)]), nnb.Dense(2)]  # fmt: skip
    found = compare_backends(nnb.Network(layers), X, "numpy", "array-api-strict")
    # The forward pass parts in the layer; the backward pass at the layer before, which is given dy.
    expected = {"backward": "1 (Dense)"}.get(where, "2.0 (OfItsBackend)")
    assert found.first_difference == expected, str(found)
    assert "part at layer" in str(found)


def test_comparing_needs_one_or_two_backends():
    net = nnb.Network([nnb.Dense(1)])
    with pytest.raises(ValueError, match="at most two"):
        compare_backends(net, X, "numpy", "numpy", "numpy")
    assert compare_backends(net, X, "numpy").largest == 0
    assert compare_backends(net, X).first_difference is None


def test_comparing_leaves_the_network_as_it_was():
    net = nnb.Network([nnb.Dense(2), nnb.Dropout(0.5)], input_shape=3)
    before, steps = tree_map(np.copy, net.params), net.trained
    compare_backends(net, X, "numpy")
    assert net.trained == steps
    assert all((net.params["0"][name] == value).all() for name, value in before["0"].items())
