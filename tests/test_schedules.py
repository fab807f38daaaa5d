"""Schedules: their values against PyTorch's and optax's, and what an optimizer makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import SCHEDULES, each, rows
from hypothesis import given
from hypothesis import strategies as st
from tools import assert_close, host

import nnbackend as nnb
from nnbackend import schedules
from nnbackend.core.tree import tree_map
from nnbackend.optimizers import OPTIMIZERS

STEPS = 50
SHAPES = {"0": {"weight": (3, 4), "bias": (4,)}}


def pytorch_twins():
    lr = pytest.importorskip("torch").optim.lr_scheduler

    def cosine_up_and_down(optimizer):
        return lr.OneCycleLR(optimizer, 0.4, STEPS)

    def linear_up_and_down(optimizer):
        return lr.OneCycleLR(optimizer, 0.4, STEPS, pct_start=0.4, anneal_strategy="linear",
                             div_factor=4, final_div_factor=10)  # fmt: skip

    def warmed_cosine(optimizer):
        parts = [lr.LinearLR(optimizer, 1e-30, 1.0, 10), lr.CosineAnnealingLR(optimizer, 40)]
        return lr.SequentialLR(optimizer, parts, [10])

    def transformer(step):
        return min(step / 10, math.sqrt(10 / max(step, 1)))

    def up_and_down(cycles, steps):
        span = 2**cycles - 1
        return lambda t: (1 - math.cos(2 * math.pi * math.log2(1 + span * min(t / steps, 1)))) / 2

    def flat(step):
        return (1 + math.cos(math.pi * min(max(step / 20 - 1, 0), 1))) / 2

    return {
        "cosine_log": (0.4, lambda o: lr.LambdaLR(o, up_and_down(4, 50))),
        "cosine_log-two": (0.4, lambda o: lr.LambdaLR(o, up_and_down(2, 40))),
        "flat_cosine": (0.4, lambda o: lr.LambdaLR(o, flat)),
        "constant": (0.3, lambda o: lr.ConstantLR(o, 1.0)),
        "step": (0.4, lambda o: lr.StepLR(o, 7, 0.5)),
        "multi_step": (0.4, lambda o: lr.MultiStepLR(o, [5, 6, 30], 0.3)),
        "exponential": (0.4, lambda o: lr.ExponentialLR(o, 0.95)),
        "polynomial": (0.4, lambda o: lr.PolynomialLR(o, 40)),
        "cosine": (0.4, lambda o: lr.CosineAnnealingLR(o, 50)),
        "cosine-restarts": (0.4, lambda o: lr.CosineAnnealingWarmRestarts(o, 9, 1, 0.1)),
        "cosine-longer": (0.4, lambda o: lr.CosineAnnealingWarmRestarts(o, 7, 2, 0.1)),
        "one_cycle": (1.0, cosine_up_and_down),
        "one_cycle-linear": (1.0, linear_up_and_down),
        "warmup": (0.4, warmed_cosine),
        "warmup-to-a-number": (0.4, lambda o: lr.LinearLR(o, 0.25, 1.0, 10)),
        "transformer": (0.4, lambda o: lr.LambdaLR(o, transformer)),
        "inverse_square_root": (
            0.4,
            lambda o: lr.LambdaLR(o, lambda step: (1 + step / 10) ** -0.5),
        ),
        "scaled": (0.04, lambda o: lr.StepLR(o, 7, 0.5)),
    }


def optax_twins():
    optax = pytest.importorskip("optax")
    return {
        "constant": optax.constant_schedule(0.3),
        "step": optax.exponential_decay(0.4, 7, 0.5, staircase=True),
        "multi_step": optax.piecewise_constant_schedule(0.4, {5: 0.3, 6: 0.3, 30: 0.3}),
        "exponential": optax.exponential_decay(0.4, 1, 0.95),
        "exponential-every": optax.exponential_decay(0.4, 10, 0.5, end_value=0.05),
        "polynomial": optax.polynomial_schedule(0.4, 0.0, 1.0, 40),
        "polynomial-2": optax.polynomial_schedule(0.4, 0.1, 2.0, 30),
        "cosine": optax.cosine_decay_schedule(0.4, 50),
        "cosine-final": optax.cosine_decay_schedule(0.4, 30, alpha=0.25),
        "warmup": optax.warmup_cosine_decay_schedule(0.0, 0.4, 10, 50),
        "warmup-to-a-number": optax.join_schedules(
            [optax.linear_schedule(0.1, 0.4, 10), optax.constant_schedule(0.4)], [10]
        ),
    }


# Each is compared with one of the two at least.
NOT_IN_PYTORCH = {"exponential-every", "polynomial-2", "cosine-final"}
NOT_IN_OPTAX = {"cosine-restarts", "cosine-longer", "one_cycle", "one_cycle-linear", "transformer",
                "inverse_square_root", "scaled", "cosine_log", "cosine_log-two",
                "flat_cosine"}  # fmt: skip


def test_every_schedule_has_a_twin():
    everything = {case.id for case in SCHEDULES}
    assert pytorch_twins().keys() == everything - NOT_IN_PYTORCH
    assert optax_twins().keys() == everything - NOT_IN_OPTAX
    assert not NOT_IN_PYTORCH & NOT_IN_OPTAX


@each(case for case in SCHEDULES if case.id not in NOT_IN_PYTORCH)
@pytest.mark.filterwarnings("ignore:.*epoch parameter:UserWarning")
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_values_are_pytorchs(case):
    torch = pytest.importorskip("torch")
    rate, make = pytorch_twins()[case.id]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) < STEPS:
            scheduler.step()
    np.testing.assert_allclose([case.thing(t) for t in range(STEPS)], found, rtol=1e-12, atol=1e-16)


@each(case for case in SCHEDULES if case.id not in NOT_IN_OPTAX)
def test_values_are_optaxs(case):
    twin = optax_twins()[case.id]
    expected = [float(twin(t)) for t in range(2 * STEPS)]
    found = [case.thing(t) for t in range(2 * STEPS)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)  # optax is in float32


@each(SCHEDULES)
def test_a_value_is_a_float_between_the_extremes_for_ever(case):
    values = [case.thing(t) for t in [*range(200), 10**6, 10**9]]
    assert all(type(value) is float and 0.0 <= value <= 0.4 for value in values)


@given(st.floats(1.0, 3.0), st.integers(1, 20), st.integers(0, 5000))
def test_restarts_of_any_length_stay_between_the_extremes(multiplier, steps, step):
    value = schedules.Cosine(0.5, steps, final=0.1, multiplier=multiplier)(step)
    assert 0.1 <= value <= 0.5


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@given(st.floats(0.0, 1.0), st.integers(1, 40))
def test_one_cycle_of_any_form_goes_up_and_then_down(shape, warmup, steps):
    cycle = schedules.OneCycle(1.0, steps, warmup, initial=0.2, final=0.1, shape=shape)
    values = [cycle(t) for t in range(steps + 5)]
    top = int(np.argmax(values))
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert values[-5:] == [values[-1]] * 5


def test_one_cycle_ends_where_it_says():
    assert schedules.OneCycle(0.4, 50)(0) == pytest.approx(0.4 / 25)
    assert schedules.OneCycle(0.4, 50)(14) == pytest.approx(0.4)
    assert schedules.OneCycle(0.4, 50)(49) == pytest.approx(0.4 / 25e4)
    assert schedules.OneCycle(0.85, 50, initial=0.95, final=0.95)(14) == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: schedules.Constant("high"), "value"),
        (lambda: schedules.Step(0.1, every=0), "every"),
        (lambda: schedules.Step(0.1, every=5, factor=-1), "factor"),
        (lambda: schedules.MultiStep(0.1, (5, 3)), "ascending"),
        (lambda: schedules.MultiStep(0.1, (5, 5)), "ascending"),
        (lambda: schedules.MultiStep(0.1, (0.5,)), "steps"),
        (lambda: schedules.Exponential(float("nan"), 0.9), "initial"),
        (lambda: schedules.Polynomial(0.1, steps=-3), "steps"),
        (lambda: schedules.Polynomial(0.1, steps=3, power=-1), "power"),
        (lambda: schedules.Cosine(0.1, steps=0), "steps"),
        (lambda: schedules.Cosine(0.1, steps=3, multiplier=0.5), "multiplier"),
        (lambda: schedules.OneCycle(0.1, steps=3, warmup=1.5), "share"),
        (lambda: schedules.OneCycle(0.1, steps=3, shape="round"), "'cosine' or 'linear'"),
        (lambda: schedules.InverseSquareRoot(0.1, steps=0), "steps"),
        (lambda: schedules.Warmup("cosine", steps=3), "schedule"),
        (lambda: schedules.Warmup(schedules.Cosine, steps=3), "schedule"),
        (lambda: schedules.Warmup(0.1, steps=0), "steps"),
        (lambda: schedules.Scaled(0.1, factor=None), "factor"),
        (lambda: nnb.Adam(schedules.Cosine), "learning_rate"),
        (lambda: nnb.Adam("cosine"), r"learning_rate .*schedules\.Cosine"),
    ],
)
def test_a_value_out_of_range_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# In an optimizer


def trajectory(optimizer, backend, steps=6):
    with backend.scope():
        brought = [
            tree_map(
                lambda s, i=i: backend.xp.asarray(backend.asarray(rows(s, i)), copy=True), SHAPES
            )
            for i in range(steps + 1)
        ]
        params, state = brought[0], optimizer.init(brought[0])
        for grads in brought[1:]:
            params, state = optimizer.update(params, grads, state)
    return host(backend, params)


SCHEDULABLE = [
    (name, field)
    for name in OPTIMIZERS
    if hasattr(OPTIMIZERS[name], "bounds") and OPTIMIZERS[name].__module__.startswith("nnbackend")
    for field in OPTIMIZERS[name].bounds
]
BASE = {
    "sgd": {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1},
    "rmsprop": {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1},
}


@pytest.mark.parametrize(("name", "field"), SCHEDULABLE)
def test_a_constant_schedule_is_the_number_for_every_hyperparameter(name, field, backend64):
    cls, given = OPTIMIZERS[name], {"weight_decay": 0.1} | BASE.get(name, {})
    value = given.get(field, getattr(cls(**given), field))
    expected = trajectory(cls(**given | {field: value}), backend64)
    found = trajectory(cls(**given | {field: schedules.Constant(value)}), backend64)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize(("name", "field"), SCHEDULABLE)
def test_every_hyperparameter_follows_its_schedule(name, field):
    backend64 = nnb.get_backend("numpy", dtype="float64")
    cls, given = OPTIMIZERS[name], {"weight_decay": 0.1} | BASE.get(name, {})
    value = given.get(field, getattr(cls(**given), field)) or 0.01
    fixed = trajectory(cls(**given | {field: value}), backend64)
    moving = trajectory(cls(**given | {field: lambda step: value * 0.6**step}), backend64)
    assert any(
        np.any(a != b) for a, b in zip(fixed["0"].values(), moving["0"].values(), strict=True)
    )


def test_momentum_and_rate_cycle_as_in_pytorch(backend64):
    """OneCycleLR moves Adam's beta1, too, against the learning rate."""
    torch = pytest.importorskip("torch")
    steps = 30
    optimizer = nnb.Adam(
        schedules.OneCycle(0.4, steps),
        beta1=schedules.OneCycle(0.85, steps, initial=0.95, final=0.95),
    )
    twins = {name: torch.tensor(rows(shape, 0)) for name, shape in SHAPES["0"].items()}
    twin = torch.optim.Adam(twins.values(), 0.1, (0.9, 0.999))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(twin, 0.4, steps)
    for i in range(steps):
        for name, shape in SHAPES["0"].items():
            twins[name].grad = torch.tensor(rows(shape, i + 1))
        twin.step()
        if i + 1 < steps:
            scheduler.step()
    expected = {name: p.numpy() for name, p in twins.items()}
    assert_close(trajectory(optimizer, backend64, steps)["0"], expected, 1e-10)


@pytest.mark.parametrize("field", ["learning_rate", "momentum", "weight_decay"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1, np.float64("nan")])
def test_a_schedule_out_of_range_is_named_with_the_step_and_the_value(field, wrong):
    def broken(step):
        return wrong if step == 3 else 0.1

    net = nnb.Network([nnb.Dense(1)])
    optimizer = nnb.SGD(**{"momentum": 0.5, field: broken})
    with pytest.raises(ValueError, match=rf"broken.* at step 3: {field} must be .*{float(wrong)}"):
        net.fit(rows((8, 2)), rows((8, 1)), optimizer=optimizer, epochs=3, batch_size=4)
    assert all(np.isfinite(p).all() for p in net.state_dict().values())


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_a_schedule_in_fit_is_the_same_in_one_program(name):
    """The rates of all steps of an epoch go into one compiled program as data."""
    pytest.importorskip(name)
    optimizer = nnb.AdamW(
        schedules.Warmup(schedules.Cosine(0.1, 10), 4, initial=0.01),
        beta1=schedules.Polynomial(0.95, 12, final=0.5),
        weight_decay=schedules.Step(0.1, 3),
    )
    net = nnb.Network([nnb.Dense(3, "tanh"), nnb.Dense(1)], backend=name, dtype="float64")
    x, y = rows((20, 2)), rows((20, 1), 1)
    history = net.fit(x, y, optimizer=optimizer, epochs=3, batch_size=4, shuffle=False)
    np.testing.assert_allclose(
        history["learning_rate"], [optimizer.learning_rate(t) for t in (4, 9, 14)]
    )

    by_hand = nnb.Network([nnb.Dense(3, "tanh"), nnb.Dense(1)], backend=name, dtype="float64",
                          input_shape=2)  # fmt: skip
    params, state = by_hand.params, optimizer.init(by_hand.params)
    for step in range(15):
        batch = slice(4 * (step % 5), 4 * (step % 5) + 4)
        prediction, backward = by_hand.forward(x[batch], training=True)
        _, dy = nnb.losses.mse(prediction, by_hand.backend.asarray(y[batch]))
        _, grads = backward(dy)
        params, state = optimizer.update(params, grads, state)
        by_hand.params = params
    for own, other in zip(net.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert_close(host(net.backend, own), host(net.backend, other), 1e-10)


@pytest.mark.parametrize("wrong", ["a", None, [0.1, 0.2]])
def test_a_schedule_that_returns_no_number_is_named(wrong):
    def broken(step):
        return wrong

    with pytest.raises(ValueError, match=r"broken.* at step 4: "):
        nnb.SGD(broken).numbers(5)


def test_a_schedule_of_a_callers_own_may_return_any_number():
    jnp = pytest.importorskip("jax.numpy")
    for value in (np.float32(0.5), np.asarray(0.5), jnp.asarray(0.5), 1):
        assert type(nnb.SGD(lambda step, value=value: value).rate(1)) is float


# Those of pytabkit 1.8.0, the package of RealMLP's authors (realmlp/train.py), at shares of a run.
REALMLP = {
    "share": (0, 1, 5, 10, 30, 50, 60, 75, 90, 99),
    "coslog4": (0.0, 0.350381261601, 0.323689004229, 0.718354688462, 0.983844426923, 0.073618934186,
                0.718354688462, 0.875657731081, 0.186200800126, 0.001821440649),
    "flat_cos": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.904508497187, 0.5, 0.095491502813, 0.000986635786),
}  # fmt: skip


def test_the_schedules_of_realmlp_are_its_authors():
    up_and_down, flat = schedules.CosineLog(1.0, 100), schedules.FlatCosine(1.0, 100)
    np.testing.assert_allclose(
        [up_and_down(t) for t in REALMLP["share"]], REALMLP["coslog4"], atol=1e-11
    )
    np.testing.assert_allclose([flat(t) for t in REALMLP["share"]], REALMLP["flat_cos"], atol=1e-11)


@each(SCHEDULES)
def test_the_last_step_is_that_from_which_a_value_stays(case):
    last = case.thing.last_step
    if last is None:  # it never does, as far as it is known
        assert case.thing(10**4) != case.thing(10**4 + 5) or case.id in UNKNOWN_END
    else:
        assert {case.thing(t) for t in range(last, last + 60)} == {case.thing(last)}


UNKNOWN_END = {"step", "exponential", "exponential-every", "cosine-longer", "scaled",
               "cosine-restarts"}  # fmt: skip


def test_cycles_that_no_float_can_tell_apart_are_refused():
    with pytest.raises(ValueError, match="cycles must be at most 60, got 61"):
        schedules.CosineLog(1.0, 10, cycles=61)
