"""Values that users' code reads from outside its arguments."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from cases import rows

import nnbackend as nnb
from nnbackend.core.outside import OutsideValues

SCALE = [1.0]
FACTOR = 1.0


def _scaled_mse(scale):
    """Return a mean squared error times a number that ``scale()`` returns."""

    def loss(prediction, target, sample_weight=None):
        difference, factor = prediction - target, scale()
        return np.mean(
            difference * difference
        ) * factor, 2.0 * factor / difference.size * difference

    return loss


class Anneal(nnb.callbacks.Callback):
    """Calls a function after each epoch."""

    def __init__(self, change):
        self._change = change

    def epoch_end(self, run):
        self._change()


def _by_list():
    scale = [1.0]

    def loss(prediction, target, sample_weight=None):
        d = prediction - target
        return np.mean(d * d) * scale[0], 2.0 * scale[0] / d.size * d

    def halve():
        scale[0] *= 0.5

    return loss, halve


def _by_nonlocal():
    scale = 1.0

    def loss(prediction, target, sample_weight=None):
        d = prediction - target
        return np.mean(d * d) * scale, 2.0 * scale / d.size * d

    def halve():
        nonlocal scale
        scale *= 0.5

    return loss, halve


def _by_global():
    def loss(prediction, target, sample_weight=None):
        d = prediction - target
        return np.mean(d * d) * FACTOR, 2.0 * FACTOR / d.size * d

    def halve():
        globals()["FACTOR"] *= 0.5

    globals()["FACTOR"] = 1.0
    return loss, halve


def _by_attribute():
    class Loss:
        scale = 1.0

        def __call__(self, prediction, target, sample_weight=None):
            d = prediction - target
            return np.mean(d * d) * self.scale, 2.0 * self.scale / d.size * d

    loss = Loss()
    loss.scale = 1.0

    def halve():
        loss.scale *= 0.5

    return loss, halve


def _by_array():
    scale = np.array(1.0)

    def loss(prediction, target, sample_weight=None):
        d = prediction - target
        return np.mean(d * d) * float(scale), 2.0 * float(scale) / d.size * d

    def halve():
        scale[...] *= 0.5

    return loss, halve


def _by_slot():
    class Loss:
        __slots__ = ("_Loss__scale",)

        def __init__(self):
            self.__scale = 1.0

        def halve(self):
            self.__scale *= 0.5

        def __call__(self, prediction, target, sample_weight=None):
            return _scaled_mse(lambda: self.__scale)(prediction, target)

    loss = Loss()
    return loss, loss.halve


def _by_class():
    class Settings:
        scale = 1.0

    def halve():
        Settings.scale *= 0.5

    return _scaled_mse(lambda: Settings.scale), halve


def _by_own_class():
    class Loss:
        scale = 1.0

        def _factor(self):
            return type(self).scale

        def __call__(self, prediction, target, sample_weight=None):
            return _scaled_mse(self._factor)(prediction, target)

    def halve():
        Loss.scale *= 0.5

    return Loss(), halve


def _by_depth():
    inside = scale = [1.0]
    for _ in range(50):
        inside = {"inside": SimpleNamespace(inside=[inside])}

    def found():
        at = inside
        while isinstance(at, dict):
            at = at["inside"].inside[0]
        return at[0]

    def halve():
        scale[0] *= 0.5

    return _scaled_mse(found), halve


def _by_function_of_a_library():
    @functools.cache
    def factor(epoch):
        return SCALE[0]

    def halve():
        SCALE[0] *= 0.5
        factor.cache_clear()

    SCALE[0] = 1.0
    return _scaled_mse(lambda: factor(0)), halve


def _by_default():
    def loss(prediction, target, sample_weight=None, scale=[1.0]):  # noqa: B006
        return _scaled_mse(lambda: scale[0])(prediction, target)

    def halve():
        loss.__defaults__[1][0] *= 0.5

    return loss, halve


def _by_function_inside():
    def loss(prediction, target, sample_weight=None):
        def factor():
            return FACTOR

        return _scaled_mse(factor)(prediction, target)

    def halve():
        globals()["FACTOR"] *= 0.5

    globals()["FACTOR"] = 1.0
    return loss, halve


def _by_module():
    settings = ModuleType("settings")
    settings.scale = 1.0
    globals()["SETTINGS"] = settings

    def loss(prediction, target, sample_weight=None):
        return _scaled_mse(lambda: SETTINGS.scale)(prediction, target)  # noqa: F821

    def halve():
        settings.scale *= 0.5

    return loss, halve


def _by_called_function():
    scale = [1.0]

    def halve():
        scale[0] *= 0.5

    return _scaled_mse(lambda: scale[0]), halve


@pytest.mark.parametrize(
    "make",
    [
        _by_list,
        _by_nonlocal,
        _by_global,
        _by_attribute,
        _by_array,
        _by_called_function,
        _by_slot,
        _by_class,
        _by_own_class,
        _by_depth,
        _by_default,
        _by_function_of_a_library,
        _by_function_inside,
        _by_module,
    ],
)
def test_a_loss_that_is_annealed_between_epochs(make):
    loss, halve = make()
    net = nnb.Network([nnb.Dense(1)], seed=0)
    history = net.fit(
        rows((320, 3)), rows((320, 1), 1), loss=loss, optimizer=nnb.SGD(1e-9), epochs=8,
        batch_size=16, callbacks=[Anneal(halve)], verbose=0,
    )  # fmt: skip
    expected = history["loss"][0] * 0.5 ** np.arange(8)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-4)


class Scale:
    """A layer that is no dataclass, and whose factor is set from outside."""

    def __init__(self):
        self.factor = 1.0

    def init(self, input_shape, rng):
        return {}, input_shape

    def forward(self, params, x, ctx):
        return x * self.factor, lambda dy, input_grad=True: (dy * self.factor, {})


def test_predictions_see_an_attribute_that_was_set():
    scale = Scale()
    net = nnb.Network([scale, nnb.Dense(2)], input_shape=3)
    x = rows((2, 3))
    whole = [net.predict(x) for _ in range(5)][-1]
    scale.factor = 0.0
    assert not np.array_equal(net.predict(x), whole)
    np.testing.assert_array_equal(net.predict(x), np.zeros((2, 2)))
    scale.factor = 1.0
    np.testing.assert_array_equal(net.predict(x), whole)


@dataclass(frozen=True)
class Held:
    values: list = field(default_factory=lambda: [1.0])


def test_the_librarys_own_read_nothing_from_outside():
    assert not OutsideValues((nnb.Sequential([nnb.Dense(3)]), nnb.losses.mse, nnb.Adam()))._sources


def test_nan_and_items_of_fields():
    held = Held()
    values = OutsideValues((held, lambda: np.nan))
    assert not values.changed()
    held.values.append(2.0)
    assert values.changed()
    assert not values.changed()


class Sized(list):
    """A class with a length, of which the class itself has none."""


@pytest.mark.parametrize("value", [
    Sized, np.ndarray, Sized([1.0]), np.float32(1.0), {1: "a", "b": [2.0]}, {1.0, 2.0}, object(),
    np, len, np.array(["text", None], dtype=object), (x for x in ()), b"bytes", 1j, float("nan"),
    range(10**9), memoryview(b"abc"),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_whatever_code_reads_can_be_looked_at(value):
    values = OutsideValues(lambda: value)
    assert not values.changed()


def test_what_contains_itself_or_is_nested_by_the_thousand_has_an_end():
    circle = [1.0]
    circle.append(circle)
    chain = circle
    for _ in range(3000):
        chain = [chain]
    values = OutsideValues(lambda: chain)
    assert not values.changed()
    circle[0] = 2.0
    assert values.changed()


def test_more_values_than_are_looked_at_are_told():
    many = {i: [i] for i in range(10_000)}

    def loss(prediction, target):
        return many

    with pytest.warns(UserWarning, match=r"loss: more than 10000 values .*say pure = False"):
        assert not OutsideValues(loss).changed()


def test_a_zero_with_another_sign_is_another_number():
    held = [0.0]
    values = OutsideValues(lambda: held)
    held[0] = -0.0
    assert values.changed()
    held[0] = float("nan")
    assert values.changed()
    held[0] = -float("nan")
    assert not values.changed()
