"""What losses take: the same checks by every way in, and values that are those of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from cases import LOSSES, Case, each, rows
from tools import host

import nnbackend as nnb
from nnbackend import losses
from nnbackend.losses.base import LossFunction, unchecked

Z3, Z1 = np.zeros((2, 3)), np.ones((2, 1))
BAD = [
    ("softmax_cross_entropy", Z3, [[1, 1, 0], [1, 0, 0]], "rows that sum to 1"),
    ("softmax_cross_entropy", Z3, [[0, 0, 0], [1, 0, 0]], "rows that sum to 1"),
    ("softmax_cross_entropy", Z3, [[2, -1, 0], [1, 0, 0]], "must hold probabilities"),
    ("softmax_cross_entropy", Z3, [[np.nan, 1, 0], [1, 0, 0]], "not finite"),
    ("softmax_focal", Z3, [[0.5, 0.6, 0], [1, 0, 0]], "rows that sum to 1"),
    ("kl_divergence", Z3, [[0.5, 0.6, 0], [1, 0, 0]], "rows that sum to 1"),
    ("categorical_hinge", Z3, [[0.5, 0.5, 0], [1, 0, 0]], "one-hot"),
    ("binary_cross_entropy", Z1, [[2], [0]], "between 0 and 1"),
    ("binary_cross_entropy", Z1, [[-1], [1]], "between 0 and 1"),
    ("binary_focal", Z1, [[1.5], [0]], "between 0 and 1"),
    ("hinge", Z1, [[0.5], [1]], "-1 and 1"),
    ("squared_hinge", Z1, [[-1], [0]], "-1 and 1"),
    ("poisson", Z1, [[-1], [3]], "must not be negative"),
    ("mse", Z1, [[np.inf], [0]], "not finite"),
]
BAD_CLASSES = [
    ([0, 3], "outside 0 ... 2"),
    ([0, -1], "outside 0 ... 2"),
    ([0.0, 0.5], "whole class numbers"),
]
WAYS = ("function", "fit", "evaluate", "validation", "partial_fit", "stream", "test")


def given(way: str, loss: str, z: np.ndarray, target: np.ndarray) -> None:
    """Give a loss its target by one of the ways."""
    if way == "function":
        getattr(losses, loss)(z, target)
        return
    net = nnb.Network([nnb.Dense(z.shape[-1])], input_shape=2, dtype="float64")
    x, good = rows((2, 2)), np.eye(z.shape[-1])[[0, 0]]
    if way == "fit":
        net.fit(x, target, loss=loss, verbose=0)
    elif way == "evaluate":
        net.evaluate(x, target, loss=loss)
    elif way == "validation":
        net.fit(x, good, loss=loss, validation_data=(x, target), verbose=0)
    elif way == "partial_fit":
        net.partial_fit(x, target, loss=loss)
    elif way == "test":
        nnb.observe(net, x, target, loss)
    else:
        net.fit(lambda: iter([(x, target)]), loss=loss, verbose=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "z", "target", "words"), BAD)
def test_a_target_that_the_loss_is_not_for_is_refused(way, loss, z, target, words):
    with pytest.raises(ValueError, match=words):
        given(way, loss, z, np.asarray(target, dtype=np.float64))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal", "categorical_hinge"])
@pytest.mark.parametrize(("target", "words"), BAD_CLASSES)
def test_a_class_that_there_is_not_is_refused(way, loss, target, words):
    with pytest.raises(ValueError, match=words):
        given(way, loss, Z3, np.asarray(target))


@pytest.mark.parametrize(("loss", "z", "target", "words"), BAD[:1] + BAD[7:8])
def test_a_function_refuses_on_every_backend_in_the_hosts_memory(loss, z, target, words, backend):
    if backend.host_view(backend.asarray(z)) is None:
        pytest.skip("its arrays are on a device, or cannot be looked at")
    with pytest.raises(ValueError, match=words):
        getattr(losses, loss)(backend.asarray(z), backend.asarray(target))


@pytest.mark.parametrize("weight", [[1.0, np.nan], [1.0, -1.0], [1.0, np.inf], [1e308, 1e308]])
def test_weights_that_no_mean_is_made_with_are_refused(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        losses.mse(Z1, Z1, np.array(weight))


def test_a_row_of_weight_zero_may_hold_any_number():
    weight = np.array([1.0, 0.0])
    value, dy = losses.softmax_cross_entropy(Z3, np.array([0, -1]), weight)
    assert value == pytest.approx(np.log(3.0))
    assert not dy[1].any()
    with pytest.raises(ValueError, match="not finite"):  # 0 * NaN is NaN
        losses.mse(Z1, np.array([[1.0], [np.nan]]), weight)
    assert losses.hinge(Z1, 3.0 * Z1, 0.0 * weight)[0] == 0


def test_arrays_in_files_and_with_masks_are_looked_at_lists_refused(tmp_path):
    kept = np.memmap(tmp_path / "y", dtype=np.float64, mode="w+", shape=Z3.shape)
    with pytest.raises(ValueError, match="rows that sum to 1"):
        losses.softmax_cross_entropy(Z3, kept)
    with pytest.raises(ValueError, match="not finite"):
        losses.mse(Z3, np.ma.masked_array(Z3, mask=np.eye(2, 3)))
    for values in (np.array([["a"], ["b"]]), np.array([[None], [1]]), 1j * Z1):
        with pytest.raises(TypeError, match="the target must hold real numbers"):
            losses.mse(Z1, values)
    with pytest.raises(TypeError, match="a loss takes arrays"):
        losses.mse(Z1, [[1.0], [1.0]])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int64", "bool"])
def test_a_label_of_any_integer_type_is_one_class(dtype, backend):
    if not hasattr(backend.xp, dtype):
        pytest.skip("it has no such type")
    labels = np.array([5, 100]) if dtype != "bool" else np.array([False, True])
    kind = backend.xp.bool if dtype == "bool" else getattr(backend.xp, dtype)
    z = backend.asarray(np.zeros((2, 300)))
    _, dy = losses.softmax_cross_entropy(z, backend.xp.astype(backend.asarray(labels), kind))
    found = [list(np.flatnonzero(row < 0)) for row in host(backend, dy)]
    assert found == [[int(label)] for label in labels]


def test_no_rows_have_no_mean():
    with pytest.raises(ValueError, match="no mean of no rows"):
        losses.mse(Z1[:0], Z1[:0])


@each(LOSSES)
def test_what_was_checked_is_computed_alike(case: Case):
    x = rows((4, *case.shape))
    target = case.target(np.random.default_rng(7), (4, *case.shape))
    for one, other in zip(case.thing(x, target), unchecked(case.thing)(x, target), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_users_changed_is_called_as_they_wrote_it():
    class Doubled(losses.MeanSquaredError):
        def __call__(self, prediction, target, sample_weight=None):
            value, dy = super().__call__(prediction, target, sample_weight)
            return 2.0 * value, 2.0 * dy

    loss = Doubled()
    assert isinstance(loss, LossFunction)
    net = nnb.Network([nnb.Dense(1)], input_shape=2, dtype="float64")
    x, y = rows((4, 2)), rows((4, 1), 1)
    twice = net.evaluate(x, y, loss=loss)["loss"]
    assert twice == pytest.approx(2.0 * net.evaluate(x, y, loss="mse")["loss"])


def test_a_users_loss_made_of_the_librarys_is_checked_outside_of_fit_only():
    """A recording is tried on numbers that are no data: a step must not refuse them."""

    def own(prediction, target, weight=None):
        return losses.softmax_cross_entropy(prediction, target, weight)

    own.targets = "classes"
    x, y = rows((64, 2)), np.arange(64) % 3
    found = []
    for loss in (own, "softmax_cross_entropy"):
        net = nnb.Network([nnb.Dense(3)], input_shape=2, seed=1)
        found.append(net.fit(x, y, loss=loss, epochs=12, batch_size=8, verbose=0)["loss"])
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="rows that sum to 1"):
        own(Z3, np.ones((2, 3)))


def test_a_users_loss_made_of_the_librarys_is_played(monkeypatch):
    calls, compute = [], LossFunction.compute
    monkeypatch.setattr(LossFunction, "compute", lambda *a: calls.append(1) or compute(*a))

    def own(prediction, target, weight=None):
        return losses.binary_cross_entropy(prediction, target)

    own.targets = "fractions"
    net = nnb.Network([nnb.Dense(1)], input_shape=2, seed=1)
    net.fit(rows((64, 2)), np.arange(64) % 2, loss=own, epochs=20, batch_size=8, verbose=0)
    assert len(calls) < 100 < 20 * 8


def test_weights_whose_sum_is_infinite_are_refused():
    net = nnb.Network([nnb.Dense(1)], input_shape=2)
    with pytest.raises(ValueError, match="a sum that float32 may not hold"):
        net.fit(rows((4, 2)), rows((4, 1)), sample_weight=[3e38] * 4, verbose=0)
    with pytest.raises(ValueError, match=r"class_weight.*float32"):
        net.fit(rows((4, 2)), [0, 1, 0, 1], class_weight={0: 1e300}, verbose=0,
                loss="binary_cross_entropy")  # fmt: skip


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("loss", "target", "words"), [(loss, t, words) for loss, _, t, words in BAD if loss != "mse"]
)
def test_estimators_refuse_the_same(loss, target, words, solver):
    estimators = pytest.importorskip("nnbackend.estimators")
    y = np.tile(np.asarray(target, dtype=np.float64), (5, 1))
    y = y[:, 0] if y.shape[1] == 1 else y
    words = "NaN" if words == "not finite" else words
    with pytest.raises(ValueError, match=words):
        estimators.MLPRegressor(loss=loss, solver=solver, max_iter=2).fit(rows((10, 2)), y)


@pytest.mark.parametrize("weight", [{"class_weight": {0: 1e300}}, {"class_weight": {0: -1.0}}])
def test_estimators_refuse_the_same_weights(weight):
    estimators = pytest.importorskip("nnbackend.estimators")
    x = rows((10, 2)).astype(np.float32)
    with pytest.raises(ValueError, match=r"(sample|class)_weight"):
        estimators.MLPClassifier(**weight, max_iter=2).fit(x, [0, 1] * 5)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        estimators.MLPRegressor(max_iter=2).fit(
            rows((10, 2)), rows((10,)), sample_weight=[-1.0, *[1.0] * 9]
        )
