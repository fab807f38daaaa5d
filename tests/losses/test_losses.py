"""Losses: value and gradient, weights, stability."""

from __future__ import annotations

from functools import cache

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import LOSSES, Case, each, rows
from hypothesis import given
from tools import assert_close, assert_equal, host, slope

import nnbackend as nnb
from nnbackend import losses

ABSORBING = [
    case for case in LOSSES if losses.absorbed_activation(case.thing) in ("sigmoid", "softmax")
]
# A focal loss of a soft target is smallest elsewhere than at the target.
PROPER = [case for case in LOSSES if case.id not in ("binary_focal-soft", "softmax_focal-0.5")]


def target_for(case: Case, batch: int) -> np.ndarray:
    return case.target(np.random.default_rng(7), (batch, *case.shape))


def brought(backend, target: np.ndarray):
    """Return a target on a backend; class numbers stay integers."""
    return backend.asarray(target, backend.xp.int32 if target.dtype == np.int32 else None)


@cache
def compiled(loss, backend):
    """Return the loss, under JAX as a program: there it is part of one in training."""
    return backend.compile(loss) if backend.name == "jax" else loss


def evaluated(case, backend, x, target, weight=None):
    """Return the loss and its gradient on the host."""
    extra = () if weight is None else (backend.asarray(weight),)
    value, dy = compiled(case.thing, backend)(backend.asarray(x), brought(backend, target), *extra)
    return host(backend, value), host(backend, dy)


@each(LOSSES)
@pytest.mark.parametrize(("batch", "weighted"), [(1, False), (4, False), (4, True)])
def test_gradient_agrees_with_central_differences(case, batch, weighted, backend64):
    shape = (batch, *case.shape)
    x, v, target = rows(shape), rows(shape, 2), target_for(case, batch)
    weight = np.linspace(0.5, 2.0, batch) if weighted else None
    _, dy = evaluated(case, backend64, x, target, weight)
    numeric = slope(lambda x: float(evaluated(case, backend64, x, target, weight)[0]), x, v)
    assert dy.shape == shape
    assert (dy * v).sum() == pytest.approx(numeric, rel=1e-7)


@each(LOSSES)
def test_float32_stays_float32_and_nothing_is_changed(case, backend):
    x = backend.asarray(rows((4, *case.shape)))
    target, weight = brought(backend, target_for(case, 4)), backend.asarray([1, 2, 0, 4])
    before = host(backend, {"x": x, "target": target, "weight": weight})
    for extra in ((), (weight,)):
        value, dy = compiled(case.thing, backend)(x, target, *extra)
        assert value.dtype == dy.dtype == backend.xp.float32
        assert tuple(value.shape) == ()
    assert_equal(host(backend, {"x": x, "target": target, "weight": weight}), before)


@each(LOSSES)
def test_a_weight_is_a_number_of_copies(case, backend64):
    """Two for one row, none for another: in the value and in the gradient."""
    x, target = rows((4, *case.shape)), target_for(case, 4)
    copies = [0, 1, 1, 3]
    value, dy = evaluated(case, backend64, x, target, [1.0, 2.0, 0.0, 1.0])
    expected, dy_copies = evaluated(case, backend64, x[copies], target[copies])
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(dy[[0, 3]], dy_copies[[0, 3]], rtol=1e-12)
    np.testing.assert_allclose(dy[1], dy_copies[1] + dy_copies[2], rtol=1e-12)
    assert not dy[2].any()


@each(LOSSES)
def test_equal_weights_change_nothing_whatever_their_size(case, backend64):
    x, target = rows((4, *case.shape)), target_for(case, 4)
    plain, dy = evaluated(case, backend64, x, target)
    weighted, dy_weighted = evaluated(case, backend64, x, target, [3.0] * 4)
    assert weighted == pytest.approx(plain, rel=1e-13)
    assert_close(dy_weighted, dy, 1e-13)


@each(LOSSES)
def test_a_batch_of_zero_weights_has_no_loss_and_no_gradient(case, backend):
    value, dy = evaluated(case, backend, rows((4, *case.shape)), target_for(case, 4), [0.0] * 4)
    assert value == 0
    assert not dy.any()


def best_output(case: Case, target: np.ndarray) -> np.ndarray:
    """Return the outputs that have the smallest loss for a target."""
    if target.dtype == np.int32:
        target = np.eye(case.shape[-1])[target]
    if "hinge" in case.id:
        return 3.0 * target
    if case.id == "poisson":
        return np.log(np.maximum(target, 1e-9))
    absorbed, smoothing = case.thing, getattr(case.thing, "label_smoothing", 0.0)
    activation = losses.absorbed_activation(absorbed)
    if activation is None:
        return target
    classes = 2 if activation == "sigmoid" else case.shape[-1]
    p = np.clip((1 - smoothing) * target + smoothing / classes, 1e-9, 1 - 1e-9)
    return np.log(p / (1 - p)) if activation == "sigmoid" else np.log(p)


@each(PROPER)
def test_the_prediction_that_is_right_has_the_smallest_loss(case, backend64):
    target = target_for(case, 4)
    best = best_output(case, target)
    value, dy = evaluated(case, backend64, best, target)
    assert np.abs(dy).max() < 1e-8
    assert value <= evaluated(case, backend64, best + rows(best.shape), target)[0] + 1e-8


@each(ABSORBING)
@pytest.mark.parametrize("size", [1e3, 1e4, 1e30])
def test_losses_of_logits_are_stable_for_any_logit(case, size, backend):
    x = size * np.sign(rows((4, *case.shape)))
    value, dy = evaluated(case, backend, x, target_for(case, 4))
    assert np.isfinite(value)
    assert value >= 0
    assert np.isfinite(dy).all()


@pytest.mark.parametrize(("logit", "label", "expected"),
                         [(1e4, 1, 0.0), (-1e4, 0, 0.0), (1e4, 0, 1e4), (-1e4, 1, 1e4)])  # fmt: skip
def test_binary_cross_entropy_of_a_sure_answer(logit, label, expected, backend):
    value, dy = losses.binary_cross_entropy(backend.asarray([[logit]]), backend.asarray([[label]]))
    assert float(value) == pytest.approx(expected, abs=1e-30)
    assert float(dy[0, 0]) == pytest.approx(np.sign(expected) * np.sign(logit), abs=1e-30)


def test_softmax_cross_entropy_of_a_sure_answer(backend):
    logits = backend.asarray([[1e4, 0.0, -1e4]] * 3)
    labels = backend.asarray([0, 1, 2], backend.xp.int32)
    value, dy = losses.softmax_cross_entropy(logits, labels)
    assert float(value) == pytest.approx((0 + 1e4 + 2e4) / 3)
    np.testing.assert_allclose(host(backend, dy) * 3, [[0, 0, 0], [1, -1, 0], [1, 0, -1]])


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_class_numbers_and_one_hot_rows_are_the_same(labels, backend):
    case = next(case for case in LOSSES if case.id == "softmax_cross_entropy-labels")
    x = rows((len(labels), 4))
    numbers = evaluated(case, backend, x, np.array(labels, np.int32))
    one_hot = evaluated(case, backend, x, np.eye(4)[labels])
    assert_equal(numbers[0], one_hot[0])
    assert_equal(numbers[1], one_hot[1])


def test_huber_is_squared_near_zero_and_absolute_far_out(backend64):
    error = np.array([[-3.0, -0.5, 0.0, 0.2, 4.0]])
    value, dy = losses.Huber(1.0)(backend64.asarray(error), backend64.asarray(0 * error))
    assert float(value) == pytest.approx(np.mean([2.5, 0.125, 0, 0.02, 3.5]))
    np.testing.assert_allclose(host(backend64, dy), np.array([[-1, -0.5, 0, 0.2, 1]]) / 5)


@each(LOSSES)
def test_shapes_that_differ_are_refused_and_not_broadcast(case, backend):
    x = backend.asarray(rows((4, *case.shape)))
    for wrong in ((3, *case.shape), (4, *case.shape, 1), (4, *case.shape[:-1], 1)):
        with pytest.raises(ValueError, match="same shape"):
            case.thing(x, backend.asarray(np.ones(wrong)))


@pytest.mark.parametrize("delta", [0, -1.0, float("nan")])
def test_hubers_delta_must_be_positive(delta):
    with pytest.raises(ValueError, match="delta"):
        losses.Huber(delta)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.Quantile(0), "quantile"),
        (lambda: losses.Quantile(1.0), "quantile"),
        (lambda: losses.Quantile((0.5, 1.0)), r"quantile\[1\]"),
        (lambda: losses.Quantile(()), "quantile"),
        (lambda: losses.Poisson(log_input=1), "log_input"),
        (lambda: losses.Poisson(epsilon=-1e-3), "epsilon"),
        (lambda: losses.BinaryFocal(-1), "gamma"),
        (lambda: losses.BinaryFocal(alpha=1.5), "alpha"),
        (lambda: losses.SoftmaxFocal(float("nan")), "gamma"),
        (lambda: losses.BinaryCrossEntropy(1.0), "label_smoothing"),
        (lambda: losses.SoftmaxCrossEntropy(-0.1), "label_smoothing"),
        (lambda: losses.SoftmaxCrossEntropy("much"), "label_smoothing"),
    ],
)
def test_numbers_out_of_range_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 1.0, 30.0, 1e4])
def test_log_cosh_is_exact_near_zero_and_finite_far_out(size, backend64):
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    e = Decimal(size).exp()
    expected = float(((e + 1 / e) / 2).ln()) if size < 100 else size - np.log(2)
    zero = backend64.asarray([[0.0]])
    for sign in (-1, 1):
        value, dy = losses.log_cosh(backend64.asarray([[sign * size]]), zero)
        assert float(value) == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert float(dy[0, 0]) == pytest.approx(sign * np.tanh(size), rel=1e-12)


def test_a_focal_loss_that_does_not_focus_is_the_cross_entropy(backend64):
    for focal, plain in [
        (losses.BinaryFocal(0), losses.binary_cross_entropy),
        (losses.SoftmaxFocal(0.0), losses.softmax_cross_entropy),
    ]:
        case = next(case for case in LOSSES if case.thing == plain)
        x, target = rows((5, *case.shape)), brought(backend64, target_for(case, 5))
        found, expected = (
            compiled(loss, backend64)(backend64.asarray(x), target) for loss in (focal, plain)
        )
        assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-13)
        assert_close(host(backend64, found[1]), host(backend64, expected[1]), 1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
def test_a_focal_loss_of_an_answer_that_is_sure_is_finite(gamma, backend):
    z = backend.asarray([[200.0, 0.0], [-200.0, 0.0]])
    labels = backend.asarray([0, 0], backend.xp.int32)
    value, dy = compiled(losses.SoftmaxFocal(gamma), backend)(z, labels)
    assert float(value) == pytest.approx(100)
    np.testing.assert_allclose(host(backend, dy), [[0, 0], [-0.5, 0.5]], atol=1e-30)
    yes = backend.asarray([[1.0, 1.0], [1.0, 1.0]])
    value, dy = compiled(losses.BinaryFocal(gamma), backend)(z[:, :1], yes[:, :1])
    assert float(value) == pytest.approx(100)
    np.testing.assert_allclose(host(backend, dy), [[0], [-0.5]], atol=1e-30)


def test_a_poisson_loss_of_rates_is_that_of_their_logarithms(backend64):
    case = next(case for case in LOSSES if case.id == "poisson")
    z, target = rows((6, 4)), target_for(case, 6)
    of_rates = Case("rates", losses.Poisson(log_input=False, epsilon=0.0))
    value, dy = evaluated(of_rates, backend64, np.exp(z), target)
    expected, dz = evaluated(case, backend64, z, target)
    assert value == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(dy * np.exp(z), dz, rtol=1e-11)


def test_a_row_of_zeros_has_no_direction_and_the_length_does_not_matter(backend):
    p = backend.asarray([[0.0, 0.0], [3e30, 4e30], [3e-30, 4e-30]])
    t = backend.asarray([[1.0, 2.0], [4e-30, 3e-30], [0.0, 0.0]])
    value, dy = losses.cosine_similarity(p, t)
    assert float(value) == pytest.approx((1 + 0.04 + 1) / 3, rel=1e-5)
    assert np.isfinite(host(backend, dy)).all()
    assert not host(backend, dy)[0].any()


def test_the_first_of_equal_rivals_takes_the_gradient(backend):
    labels = backend.asarray([1], backend.xp.int32)
    value, dy = losses.categorical_hinge(backend.asarray([[2.0, 1.0, 2.0]]), labels)
    assert float(value) == 2.0
    assert_equal(host(backend, dy), np.array([[1, -1, 0]], np.float32))


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("poisson", [1, 2, -1], "must not be negative"),
        ("hinge", [1, -1, 0], "-1 and 1, or 0 and 1"),
        ("squared_hinge", [0.5, 1, 0], "-1 and 1, or 0 and 1"),
        ("binary_focal", [0, 1, 2], "between 0 and 1"),
    ],
)
def test_targets_outside_what_a_loss_is_for_are_refused(loss, y, words, backend):
    net = nnb.Network([nnb.Dense(1)], backend=backend)
    with pytest.raises(ValueError, match=words):
        net.fit(np.ones((3, 2)), y, loss=loss)


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("kl_divergence", [[0.5, 0.2], [1, 0], [0, 1]], "sum to 1"),
        ("categorical_hinge", [[0.5, 0.5], [1, 0], [0, 1]], "one-hot"),
        ("categorical_hinge", [0, 1, 2], "labels outside 0 ... 1"),
        ("softmax_focal", [0.5, 1, 0], "whole class numbers"),
    ],
)
def test_targets_that_are_no_classes_are_refused(loss, y, words, backend):
    net = nnb.Network([nnb.Dense(2)], backend=backend)
    with pytest.raises(ValueError, match=words):
        net.fit(np.ones((3, 2)), y, loss=loss)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_yes_and_no_may_be_written_in_two_ways(loss, backend64):
    x, y = rows((8, 3)), np.arange(8) % 2
    net = nnb.Network([nnb.Dense(1)], backend=backend64)
    found = [net.evaluate(x, t, loss=loss, metrics=["accuracy"]) for t in (y, 2 * y - 1)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("loss", "ending", "words"),
    [
        ("poisson", "softplus", "goes with no output activation or exponential.*ends in softplus"),
        ("hinge", "sigmoid", "goes with no output activation, but"),
        ("binary_focal", "softmax", "or sigmoid, but the network ends in softmax"),
        ("kl_divergence", "sigmoid", "or softmax, but the network ends in sigmoid"),
    ],
)
def test_an_output_activation_that_does_not_suit_is_refused(loss, ending, words):
    net = nnb.Network([nnb.Dense(3, activation=ending)])
    with pytest.raises(ValueError, match=words):
        net.fit(np.ones((3, 2)), np.ones((3, 3)) / 3, loss=loss)


def test_a_network_that_ends_in_exponential_learns_rates(backend64):
    """It is trained through their logarithms, and so like one that predicts these."""
    x = rows((40, 2))
    y = np.random.default_rng(0).poisson(np.exp(0.5 * x[:, :1] + 1))
    task = {"loss": "poisson", "optimizer": nnb.Adam(0.05), "epochs": 100, "batch_size": None}
    rates = nnb.Network([nnb.Dense(1, activation="exponential")], backend=backend64, seed=1)
    logs = nnb.Network([nnb.Dense(1)], backend=backend64, seed=1)
    history = rates.fit(x, y, metrics=["mae"], **task)
    assert logs.fit(x, y, **task)["loss"] == pytest.approx(history["loss"], rel=1e-12)
    p, z = host(backend64, rates.predict(x)), host(backend64, logs.predict(x))
    np.testing.assert_allclose(p, np.exp(z), rtol=1e-12)
    assert history["mae"][-1] == pytest.approx(np.abs(p - y).mean(), rel=0.05)
    assert host(backend64, rates.state_dict()["0.weight"])[0, 0] == pytest.approx(0.5, abs=0.2)


def fourth_power(prediction, target, sample_weight=None):
    """The loss of the guide: one function, value and gradient."""
    error = prediction - target
    count = error.shape[0] * error.shape[1]
    return nnb.backends.base.namespace(error).sum(error**4) / count, 4 * error**3 / count


def test_a_loss_of_ones_own_is_one_function(backend64):
    x, target = rows((5, 2)), rows((5, 2), 1)
    assert nnb.testing.check_loss(fourth_power, x, target, backend=backend64) < 1e-7
    net = nnb.Network([nnb.Dense(2)], backend=backend64)
    history = net.fit(x, target, loss=fourth_power, optimizer=nnb.Adam(0.1), epochs=200)
    assert history["loss"][-1] < history["loss"][0] / 5


@each(LOSSES)
def test_the_public_check_passes_for_every_loss(case):
    x, target = rows((5, *case.shape)), target_for(case, 5)
    assert nnb.testing.check_loss(case.thing, x, target, np.arange(5.0)) < 1e-6


@pytest.mark.parametrize("off", [1.001, -1.0])
def test_a_gradient_that_is_wrong_is_found(off):
    def wrong(prediction, target, sample_weight=None):
        value, dy = fourth_power(prediction, target)
        return value, off * dy

    with pytest.raises(nnb.errors.GradientError, match="the loss wrong: its gradient differs"):
        nnb.testing.check_loss(wrong, rows((5, 2)), rows((5, 2), 1))
    with pytest.raises(nnb.errors.GradientError, match="differs"):  # of another shape
        nnb.testing.check_loss(
            lambda p, t: (fourth_power(p, t)[0], p[0]), rows((5, 2)), rows((5, 2), 1)
        )


def test_a_loss_of_class_numbers_can_be_checked():
    assert nnb.testing.check_loss("softmax_focal", rows((4, 3)), [0, 2, 1, 1]) < 1e-7


def test_quantiles_are_those_of_the_columns(backend64):
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 6, 3))
    qs = (0.1, 0.5, 0.9)
    value, dy = losses.Quantile(qs)(backend64.asarray(p), backend64.asarray(t))
    parts = [losses.Quantile(q)(p[:, k : k + 1], t[:, k : k + 1]) for k, q in enumerate(qs)]
    assert float(value) == pytest.approx(np.mean([part[0] for part in parts]))
    expected = np.concatenate([part[1] for part in parts], axis=1) / 3
    np.testing.assert_allclose(backend64.to_numpy(dy), expected)
    with pytest.raises(ValueError, match="3 quantiles, and there are 2 outputs"):
        losses.Quantile(qs)(backend64.asarray(p[:, :2]), backend64.asarray(t[:, :2]))
