"""Metrics against formulas in plain NumPy, weighted and not."""

from __future__ import annotations

import numpy as np
import pytest
from cases import METRICS
from tools import host

import nnbackend as nnb
from nnbackend import metrics
from nnbackend.losses import huber

rng = np.random.default_rng(3)
PREDICTION, TARGET = rng.uniform(size=(20, 3)), rng.uniform(size=(20, 3))
WEIGHT = rng.uniform(0.5, 2, 20)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_agree_with_their_formulas(name, weighted, backend64):
    metric, formula = METRICS[name]
    extra = (backend64.asarray(WEIGHT),) if weighted else ()
    found = metric(backend64.asarray(PREDICTION), backend64.asarray(TARGET), *extra)
    expected = formula(PREDICTION, TARGET, WEIGHT if weighted else np.ones(20))
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_two_counts_a_row_twice(name, backend64):
    metric, _ = METRICS[name]
    twice = np.repeat(np.arange(20), np.arange(20) % 3)  # zero, one or two times each
    p, t, w = (backend64.asarray(a) for a in (PREDICTION, TARGET, np.arange(20.0) % 3))
    expected = metric(backend64.asarray(PREDICTION[twice]), backend64.asarray(TARGET[twice]))
    assert float(metric(p, t, w)) == pytest.approx(float(expected), rel=1e-12)


def test_accuracy_of_class_numbers_and_of_one_hot_rows_is_the_same(backend):
    labels = np.arange(20) % 3
    numbers = backend.asarray(labels, backend.xp.int32)
    one_hot, p = backend.asarray(np.eye(3)[labels]), backend.asarray(PREDICTION)
    expected = (PREDICTION.argmax(1) == labels).mean()
    assert float(metrics.Accuracy()(p, numbers)) == expected
    assert float(metrics.Accuracy()(p, one_hot)) == expected


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "r2"])
@pytest.mark.parametrize("classes", [2, 5])
def test_regression_metrics_of_class_numbers_are_those_of_one_hot_rows(name, classes, backend64):
    """Whether labels were made one-hot beforehand is a matter of memory, not of meaning."""
    labels = np.arange(12) % classes
    x = np.random.default_rng(0).normal(size=(12, 3))
    net = nnb.Network([nnb.Dense(classes, activation="softmax")], backend=backend64)
    found = [
        net.evaluate(x, y, loss="softmax_cross_entropy", metrics=[name])[name]
        for y in (labels, np.eye(classes)[labels])
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "r2"])
def test_shapes_that_differ_are_refused_and_not_broadcast(name, backend):
    p, t = backend.asarray(np.ones((4, 1))), backend.asarray(np.ones((4, 4)))
    with pytest.raises(ValueError, match="same shape"):
        metrics.get(name)(p, t)


def test_r2_of_a_constant_target(backend64):
    ones = backend64.asarray(np.ones((5, 1)))
    assert float(metrics.R2()(ones, ones)) == 1
    assert float(metrics.R2()(2 * ones, ones)) == 0


def test_r2_of_the_mean_is_zero_and_of_the_truth_one(backend64):
    t = backend64.asarray(TARGET)
    mean = backend64.asarray(np.broadcast_to(TARGET.mean(0), TARGET.shape))
    assert float(metrics.R2()(t, t)) == 1
    assert float(metrics.R2()(mean, t)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("loss", "layers", "expected"),
    [
        ("binary_cross_entropy", [nnb.Activation("sigmoid")], 1.0),
        ("binary_cross_entropy", [nnb.Activation("identity")], 1.0),  # logits: above 0
        ("mse", [nnb.Activation("sigmoid")], 1.0),
        ("mse", [nnb.Activation("identity")], 0.5),  # numbers from 0 to 1: above 0.5
    ],
)
def test_accuracy_of_one_output_takes_the_threshold_that_suits(loss, layers, expected, backend):
    x, y = [[-3.0], [0.2], [0.3], [2.0]], [0, 1, 1, 1]
    net = nnb.Network(layers, backend=backend)
    assert net.evaluate(x, y, loss=loss, metrics=["accuracy"])["accuracy"] == expected


def test_an_output_at_the_threshold_is_a_no(backend):
    p, t = backend.asarray([[0.5], [0.500001]]), backend.asarray([[0.0], [1.0]])
    assert float(metrics.Accuracy(0.5)(p, t)) == 1
    assert float(metrics.Accuracy(0.5)(p, 1.0 - t)) == 0


def test_functions_objects_and_names_become_columns():
    def own(prediction, target, sample_weight=None):
        return 0.0

    given = ["mae", metrics.R2(), own]
    assert list(metrics.resolve(given, None)) == ["mae", "r2", "own"]
    assert list(metrics.resolve({"off": own}, None)) == ["off"]
    assert list(metrics.resolve("mae", None)) == ["mae"]


@pytest.mark.parametrize("specs", [["mae", "mae"], {"loss": "mae"}, {"seconds": huber}])
def test_a_name_taken_is_refused(specs):
    with pytest.raises(ValueError, match="is taken"):
        metrics.resolve(specs, None)


def test_metrics_during_training_are_those_of_all_outputs_of_the_epoch(backend64):
    """With a learning rate of nothing the epoch's figures are the network's."""
    x, y = rng.normal(size=(11, 3)), np.arange(11) % 2
    w = np.linspace(0, 2, 11)
    net = nnb.Network([nnb.Dense(2)], backend=backend64)
    task = {"loss": "softmax_cross_entropy", "metrics": ["accuracy", "mae"], "sample_weight": w}
    history = net.fit(x, y, **task, optimizer=nnb.SGD(0.0), batch_size=4)
    for name, value in net.evaluate(x, y, **task).items():
        assert history[name][-1] == pytest.approx(value, rel=1e-12)


def test_what_a_metric_returns_is_a_plain_float(backend):
    net = nnb.Network([nnb.Dense(1)], backend=backend)
    found = net.evaluate(np.ones((3, 2)), np.ones(3), loss="mse", metrics=["mae", "accuracy", "r2"])
    assert {type(value) for value in found.values()} == {float}
    assert host(backend, net.predict(np.ones((3, 2)))).shape == (3, 1)
