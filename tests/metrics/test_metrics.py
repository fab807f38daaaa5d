"""Metrics against scikit-learn's, weighted and not, with ties and where they are not defined."""

from __future__ import annotations

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import METRICS
from hypothesis import given
from tools import host

import nnbackend as nnb
from nnbackend import metrics
from nnbackend.losses import huber, softmax_cross_entropy

rng = np.random.default_rng(3)
ROWS = 40
WEIGHT = rng.uniform(0.5, 2, ROWS)


def _tied(shape):
    """Return probabilities of few different values, so that many are equal."""
    return np.round(rng.uniform(0.05, 0.95, size=shape), 1)


# What the metrics of each kind are shown: prediction and target.
SHOWN = {
    "numbers": (rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 3))),
    "classes": (rng.dirichlet(np.ones(4), ROWS), rng.integers(4, size=ROWS)),
    "binary": (_tied(ROWS), rng.integers(2, size=ROWS)),
    "tags": (_tied((ROWS, 3)), rng.integers(2, size=(ROWS, 3))),
}


def measured(metric, backend, prediction, target, weight=None):
    """Return a metric of arrays of the host; class numbers are integers."""
    extra = () if weight is None else (backend.asarray(weight),)
    prediction = np.asarray(prediction)
    labels = np.ndim(target) == prediction.ndim - 1
    target = backend.asarray(target, backend.xp.int32 if labels else None)
    with backend.scope():
        return float(metric(backend.asarray(prediction), target, *extra))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_agree_with_scikit_learn(name, weighted, backend64):
    sk = pytest.importorskip("sklearn.metrics")
    case = METRICS[name]
    prediction, target = SHOWN[case.kind]
    found = measured(case.thing, backend64, prediction, target, WEIGHT if weighted else None)
    expected = case.reference(sk, prediction, target, WEIGHT if weighted else None)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_two_counts_a_row_twice_and_zero_not_at_all(name, backend64):
    case = METRICS[name]
    prediction, target = SHOWN[case.kind]
    copies = np.tile([0, 2, 1, 1], ROWS // 4)
    weight, twice = copies.astype(float), np.repeat(np.arange(ROWS), copies)
    found = measured(case.thing, backend64, prediction, target, weight)
    expected = measured(case.thing, backend64, prediction[twice], target[twice])
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_is_changed_and_float32_will_do(name, backend):
    case = METRICS[name]
    prediction, target = (backend.asarray(a) for a in SHOWN[case.kind])
    before = host(backend, prediction), host(backend, target)
    weight = backend.asarray(WEIGHT)
    with backend.scope():
        found = float(case.thing(prediction, target, weight))
    expected = measured(
        case.thing, nnb.get_backend("numpy", dtype="float64"), *SHOWN[case.kind], WEIGHT
    )
    assert found == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(host(backend, prediction), before[0])
    np.testing.assert_array_equal(host(backend, target), before[1])


@pytest.mark.parametrize("name", [name for name, case in METRICS.items() if case.kind != "numbers"])
def test_outputs_that_are_nan_have_no_figure(name, backend):
    case = METRICS[name]
    prediction, target = (np.array(a) for a in SHOWN[case.kind])
    prediction.flat[0] = np.nan
    assert np.isnan(measured(case.thing, backend, prediction, target))


SCORES = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from([0.5, 1.0, 3.0])),
    min_size=12,  # of one length, where each length is compiled again
    max_size=12,
)


@given(rows=SCORES)
def test_ranks_with_ties_agree_with_scikit_learn(rows, backend64):
    sk = pytest.importorskip("sklearn.metrics")
    score, yes, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    for w in (None, weight):
        area = measured(metrics.ROCAUC(outputs="margins"), backend64, score, yes, w)
        precision = measured(metrics.AveragePrecision(outputs="margins"), backend64, score, yes, w)
        with warnings.catch_warnings():  # scikit-learn warns where there is one class only
            warnings.simplefilter("ignore")
            expected = (
                sk.roc_auc_score(yes, score, sample_weight=w) if len(set(yes)) > 1 else np.nan
            )
            assert area == pytest.approx(expected, rel=1e-12, nan_ok=True)
            expected = sk.average_precision_score(yes, score, sample_weight=w) if yes.any() else 0.0
            assert precision == pytest.approx(expected, rel=1e-12)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=6),
    average=st.sampled_from(["macro", "micro", "weighted"]),
)
def test_classes_that_do_not_occur_count_as_in_scikit_learn(rows, average, backend64):
    sk = pytest.importorskip("sklearn.metrics")
    said, true = np.array(rows).T
    prediction = np.eye(4)[said]
    for cls, name in (
        (metrics.Precision, "precision"),
        (metrics.Recall, "recall"),
        (metrics.F1, "f1"),
    ):
        expected = getattr(sk, f"{name}_score")(true, said, average=average, zero_division=0.0)
        assert measured(cls(average), backend64, prediction, true) == pytest.approx(
            expected, rel=1e-12
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sk.balanced_accuracy_score(true, said)
        top = sk.top_k_accuracy_score(true, prediction, k=2, labels=range(4))
    found = measured(metrics.BalancedAccuracy(), backend64, prediction, true)
    assert found == pytest.approx(expected, rel=1e-12)
    assert measured(metrics.TopKAccuracy(2), backend64, prediction, true) == pytest.approx(top)
    with backend64.scope():
        counts = metrics.confusion_matrix(
            backend64.asarray(prediction), backend64.asarray(true, backend64.xp.int32)
        )
    np.testing.assert_array_equal(
        host(backend64, counts), sk.confusion_matrix(true, said, labels=range(4))
    )


@pytest.mark.parametrize("yes", [0.0, 1.0])
def test_where_all_rows_are_of_one_class(yes, backend):
    """Nothing is made up: there is no area under a curve that does not exist."""
    score, target = [0.1, 0.7, 0.7], [yes] * 3
    assert np.isnan(measured(metrics.ROCAUC(), backend, score, target))
    assert measured(metrics.AveragePrecision(), backend, score, target) == yes
    assert measured(metrics.Recall(), backend, score, target) == pytest.approx(yes * 2 / 3)
    assert measured(metrics.BalancedAccuracy(), backend, score, target) == pytest.approx(
        2 / 3 if yes else 1 / 3
    )


def test_constant_predictions_are_worth_half_an_area_and_the_share_of_yes(backend):
    score, target = [0.3] * 5, [1.0, 0, 0, 0, 0]
    assert measured(metrics.ROCAUC(), backend, score, target) == 0.5
    assert measured(metrics.AveragePrecision(), backend, score, target) == pytest.approx(0.2)


def test_a_class_without_rows_leaves_no_area(backend):
    assert np.isnan(measured(metrics.ROCAUC(), backend, np.eye(3)[[0, 1, 1]], [0, 1, 0]))


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_logits_give_what_their_probabilities_give(kind, backend64):
    z = rng.normal(size=(ROWS, 4 if kind == "softmax" else 1)) * 2
    labels = rng.integers(z.shape[1] if kind == "softmax" else 2, size=(ROWS, 1))
    target = labels[:, 0] if kind == "softmax" else labels
    e = np.exp(z)
    p = e / e.sum(1, keepdims=True) if kind == "softmax" else e / (1 + e)
    for cls in (metrics.Accuracy, metrics.F1, metrics.ROCAUC, metrics.AveragePrecision,
                metrics.LogLoss, metrics.BalancedAccuracy):  # fmt: skip
        expected = measured(cls(outputs=kind), backend64, p, target, WEIGHT)
        found = measured(cls(outputs=f"{kind}_logits"), backend64, z, target, WEIGHT)
        assert found == pytest.approx(expected, rel=1e-12), cls


def test_two_classes_are_a_yes_or_no(backend64):
    """What a softmax of two outputs says is what a sigmoid of their difference says."""
    z = rng.normal(size=(ROWS, 2))
    labels = rng.integers(2, size=ROWS)
    for cls in (metrics.Precision, metrics.F1, metrics.ROCAUC, metrics.AveragePrecision,
                metrics.LogLoss, metrics.BalancedAccuracy, metrics.Accuracy):  # fmt: skip
        one = measured(
            cls(outputs="sigmoid_logits"), backend64, z[:, 1:] - z[:, :1], labels[:, None]
        )
        two = measured(cls(outputs="softmax_logits"), backend64, z, labels)
        assert two == pytest.approx(one, rel=1e-12), cls


def test_sums_of_float32_are_taken_in_float64():
    """Each weight counts, whatever was added up before: their sum is not exact in float32."""
    rows = 1 << 20
    scores = np.random.default_rng(0).normal(size=rows).astype(np.float32)
    yes = (scores + np.random.default_rng(1).normal(size=rows) > 1).astype(np.float32)
    alike = np.full(rows, 0.1, np.float32)
    kinds = metrics.ROCAUC, metrics.AveragePrecision, metrics.F1
    ranked = [kind(outputs="margins") for kind in kinds]
    for metric in (*ranked, metrics.RootMeanSquaredError(), metrics.R2()):
        assert metric(scores, yes, alike) == pytest.approx(metric(scores, yes), rel=1e-9)
    off = np.full(rows, 1e4, np.float32)
    assert metrics.MeanAbsoluteError()(off, off + np.float32(0.0009765625)) == 0.0009765625


SATURATED = np.array([(20, 0, 0), (25, 0, 0), (30, 0, 0), (0, 1, 0), (0, 0, 1)], np.float32)


@pytest.mark.parametrize("ending", ["softmax", None])
@pytest.mark.parametrize("scale", [1, 40])
def test_rows_are_ranked_though_their_probabilities_are_rounded_to_one(ending, scale, backend):
    net = nnb.Network([nnb.Activation(ending)], input_shape=3, backend=backend)
    labels = [1, 2, 0, 1, 2]
    found = net.evaluate(scale * SATURATED, labels, loss="softmax_cross_entropy",
                         metrics=["roc_auc", "average_precision", "log_loss"])  # fmt: skip
    assert found["roc_auc"] == pytest.approx(5 / 6)
    assert found["average_precision"] == pytest.approx(31 / 36)
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-5)
    two = nnb.Network([nnb.Activation(ending and "sigmoid")], input_shape=1, backend=backend)
    task = {"loss": "binary_cross_entropy", "metrics": ["roc_auc"]}
    assert two.evaluate([[20.0], [25], [30], [5]], [0, 1, 1, 0], **task)["roc_auc"] == 1


@pytest.mark.parametrize("row", [(0, 1, 2), (2.5, 2, -1), (0.25, 6, 0.5), (1, 1, 0)])
def test_rows_of_the_same_odds_are_ties(row, backend):
    z = np.array([np.array(row) + shift for shift in (0.0, 1, 7, -3, 64, 0.5)])
    labels = backend.asarray([0, 1, 2, 0, 1, 2], backend.xp.int32)
    area = metrics.ROCAUC(outputs="softmax_logits")(backend.asarray(z), labels)
    assert float(area) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc", "log_loss"])
@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_binary_targets_are_numbers_of_any_kind(name, dtype, backend):
    scores, target = backend.asarray([[0.1], [0.7], [0.4]]), np.array([[0], [1], [1]])
    found = metrics.get(name)(scores, backend.asarray(target, getattr(backend.xp, dtype)))
    assert float(found) == float(metrics.get(name)(scores, backend.asarray(target)))


def test_logits_of_minus_infinity_are_ranked(backend):
    z = np.array([(3, -np.inf, -np.inf), (-np.inf, 1, 2), (-np.inf, -np.inf, 5), (0, 0, 0)])
    labels = backend.asarray([0, 1, 2, 2], backend.xp.int32)
    metric = metrics.ROCAUC(outputs="softmax_logits")
    with backend.scope():  # of each class: 1; 2/3 of pairs, and ties; 3/4
        found = float(metric(backend.asarray(z.astype(np.float32)), labels))
    assert found == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_rows_are_ranked_by_what_is_left_of_probabilities_rounded_to_one(backend):
    labels = backend.asarray([1, 2, 0, 1, 2], backend.xp.int32)
    e = np.exp(SATURATED - SATURATED.max(axis=1, keepdims=True))
    p = backend.asarray((e / e.sum(axis=1, keepdims=True)).astype(np.float32))
    assert float(metrics.ROCAUC(outputs="softmax")(p, labels)) == pytest.approx(5 / 6)
    first_two = backend.asarray([1, 0, 1, 0, 0], backend.xp.int32)
    scores = backend.asarray(np.array([(1, 0), (0, 1), (0.7, 0.9), (-1, 3), (1, 1.5)]))
    area = float(metrics.ROCAUC()(scores, 1 - first_two))  # no probabilities: by the second score
    assert area == pytest.approx(1)


def test_the_loss_of_many_rows_is_added_up_in_float64(backend):
    rows = 1 << 18
    x = np.full((rows, 1), 0.1, np.float32)
    net = nnb.Network([nnb.Activation(None)], input_shape=1, backend=backend)
    expected = float(np.float32(0.1)) ** 2
    for weight in (None, x[:, 0]):
        found = net.evaluate(x, 0 * x, loss="mse", sample_weight=weight)["loss"]
        assert found == pytest.approx(expected, rel=1e-6)


def test_counts_are_exact_in_float32():
    """More rows than float32 can count."""
    rows = (1 << 24) + 3
    prediction, target = np.ones((rows, 1), np.float32), np.ones((rows, 1), np.float32)
    assert metrics.confusion_matrix(prediction, target).tolist() == [[0, 0], [0, rows]]
    prediction[0] = 0
    assert metrics.Accuracy()(prediction, target) == (rows - 1) / rows


def matrix(backend, prediction, labels, *weight, **given):
    """Return a confusion matrix; it is on the host where the device has no float64."""
    found = metrics.confusion_matrix(prediction, labels, *weight, **given)
    return found if isinstance(found, np.ndarray) else host(backend, found)


def test_a_confusion_matrix_has_the_true_classes_as_rows(backend):
    labels = backend.asarray([0, 1, 1, 2], backend.xp.int32)
    prediction = backend.asarray(np.eye(3)[[0, 2, 1, 2]])
    found = matrix(backend, prediction, labels)
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    weighted = matrix(backend, prediction, labels, backend.asarray([0.5, 2, 3, 1]))
    np.testing.assert_array_equal(weighted, [[0.5, 0, 0], [0, 3, 2], [0, 0, 1]])
    margins = backend.asarray([-0.5, 0.5, 3.0]), backend.asarray([-1, -1, 1])
    np.testing.assert_array_equal(matrix(backend, *margins, outputs="margins"), [[1, 1], [0, 1]])


def test_further_axes_are_further_rows(backend64):
    """A class for each place of each row: the weight of a row goes for all its places."""
    p, labels = rng.dirichlet(np.ones(4), (8, 5)), rng.integers(4, size=(8, 5))
    weight = rng.uniform(size=8)
    for metric in (metrics.Accuracy(), metrics.F1("macro"), metrics.LogLoss(), metrics.ROCAUC()):
        found = measured(metric, backend64, p, labels, weight)
        flat = p.reshape(ROWS, 4), labels.reshape(ROWS), np.repeat(weight, 5)
        assert found == pytest.approx(measured(metric, backend64, *flat), rel=1e-12)


def test_log_loss_of_soft_targets_is_the_cross_entropy(backend64):
    z, target = rng.normal(size=(8, 3)), rng.dirichlet(np.ones(3), 8)
    found = measured(metrics.LogLoss(outputs="softmax_logits"), backend64, z, target)
    expected, _ = softmax_cross_entropy(backend64.asarray(z), backend64.asarray(target))
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "prediction", "target", "words"),
    [
        (metrics.LogLoss(), [[2.0], [0.5]], [[1.0], [0.0]], "probabilities.*0.5 to 2.*logits"),
        (metrics.LogLoss(), [[0.9, 0.9]], [[1.0, 0.0]], "sum to 1"),
        (metrics.LogLoss(outputs="margins"), [[0.9]], [[1.0]], "hinge"),
        (metrics.TopKAccuracy(3), [[0.2, 0.3, 0.5]], [[0, 0, 1.0]], "more than 3 classes"),
        (metrics.TopKAccuracy(), [[0.2]], [[1.0]], "there is 1 output"),
        (metrics.F1("binary"), [[0.2, 0.3, 0.5]], [[0, 0, 1.0]], "macro, micro, weighted"),
        (metrics.F1(outputs="softmax"), [[0.2]], [[1.0]], "one output"),
        (metrics.BalancedAccuracy(0.5), [[0.2, 0.9]], [[1.0, 0.0]], "one output at a time"),
        (metrics.Accuracy(), [[0.2, 0.8]] * 3, [0, 1, 2], "class numbers from 0 to 1"),
        (metrics.Accuracy(), [[0.2, 0.8]] * 2, [0, -1], "class numbers from 0 to 1"),
        (metrics.Accuracy(), [[0.2, 0.8]] * 3, [0, 1], "same shape"),
        (metrics.Accuracy(), [[0.2, 0.8]] * 2, [[0.0], [1.0]], "same shape"),
        (metrics.ROCAUC(), [[0.2]] * 3, [[0, 1, 1.0]] * 3, "same shape"),
        (metrics.F1(), [0.0, 2.0], [0.0, 2.0], "target must hold 1 and 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(metric, prediction, target, words, backend):
    with pytest.raises(ValueError, match=words):
        measured(metric, backend, prediction, target)


def test_class_numbers_are_no_outputs(backend):
    """They are what other libraries' metrics take, and must not be taken for probabilities."""
    labels = backend.asarray([0, 2, 1], backend.xp.int32)
    for metric in (metrics.F1("macro"), metrics.Accuracy(), metrics.confusion_matrix):
        with pytest.raises(ValueError, match="outputs of a network, and not class numbers"):
            metric(labels, labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.F1("marco"), "unknown average 'marco'; did you mean 'macro'"),
        (lambda: metrics.ROCAUC(outputs="softmx"), "did you mean 'softmax'"),
        (lambda: metrics.TopKAccuracy(0), "k must be a whole number"),
        (lambda: metrics.Precision(threshold="half"), "threshold must be a number"),
    ],
)
def test_arguments_that_do_not_fit_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("loss", "ending", "outputs"),
    [
        ("binary_cross_entropy", "sigmoid", "sigmoid"),
        ("binary_focal", None, "sigmoid_logits"),
        ("softmax_cross_entropy", "softmax", "softmax"),
        ("kl_divergence", None, "softmax_logits"),
        ("hinge", None, "margins"),
        ("categorical_hinge", None, "scores"),
        ("mse", "sigmoid", None),
    ],
)
def test_the_loss_and_the_last_activation_say_what_outputs_mean(loss, ending, outputs, backend64):
    net = nnb.Network([nnb.Dense(3, activation=ending)], backend=backend64, seed=2)
    x, y = rng.normal(size=(ROWS, 3)), np.eye(3)[np.arange(ROWS) % 3]
    for name in ("f1", "roc_auc"):
        metric = {"f1": metrics.F1, "roc_auc": metrics.ROCAUC}[name](outputs=outputs)
        expected = measured(metric, backend64, host(backend64, net.predict(x)), y)
        assert net.evaluate(x, y, loss=loss, metrics=[name])[name] == pytest.approx(expected)


def test_a_metric_that_does_not_suit_is_refused_before_any_training():
    net = nnb.Network([nnb.Dense(3)], seed=2, input_shape=2)
    before = net.state_dict()["0.weight"]
    for metric, words in (("top_k_accuracy", "more than 5"), ("log_loss", "hinge")):
        with pytest.raises(ValueError, match=words):
            net.fit(np.ones((4, 2)), [0, 1, 2, 0], loss="categorical_hinge", metrics=[metric])
    np.testing.assert_array_equal(net.state_dict()["0.weight"], before)


def test_accuracy_of_class_numbers_and_of_one_hot_rows_is_the_same(backend):
    labels = np.arange(20) % 3
    numbers = backend.asarray(labels, backend.xp.int32)
    prediction = SHOWN["numbers"][0][:20]
    one_hot, p = backend.asarray(np.eye(3)[labels]), backend.asarray(prediction)
    expected = (prediction.argmax(1) == labels).mean()
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


@pytest.mark.parametrize("value", [14.62, 0.1, 1.6e9 / 3, -1e-300, 1e300, 0.0])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_target_is_constant_up_to_rounding(value, rows, backend64):
    """The mean of equal numbers may differ from them, and so may their sum in two orders."""
    target = np.full((rows, 1), value)
    off = target + max(abs(value), 1e-3) / 4
    weight = np.linspace(0.1, 3.7, rows)
    for w in (None, weight):
        assert measured(metrics.R2(), backend64, target, target, w) == 1
        assert measured(metrics.R2(), backend64, off, target, w) == 0
    target[::2] *= 1 + 2.0**-52
    assert measured(metrics.R2(), backend64, off, target) == 0
    two = np.concatenate([np.full((rows, 1), value), np.arange(float(rows))[:, None]], axis=1)
    if rows > 1:
        assert (
            measured(metrics.R2(), backend64, two + np.array([max(abs(value), 1e-3), 0.0]), two)
            == 0.5
        )


def test_a_target_that_varies_little_is_not_constant(backend64):
    target = 1.6e9 + np.arange(100.0)[:, None] / 1000
    assert measured(metrics.R2(), backend64, target + 1e-3, target) > 0.9


def test_r2_does_not_see_rows_without_weight(backend64):
    target, weight = np.array([[2.0], [2.0], [7.0]]), np.array([1.0, 1.0, 0.0])
    assert (
        measured(metrics.R2(), backend64, target + np.array([[0], [0], [5]]), target, weight) == 1
    )
    assert measured(metrics.R2(), backend64, target + 1, target, weight) == 0


def test_r2_of_the_mean_is_zero_and_of_the_truth_one(backend64):
    target = SHOWN["numbers"][1]
    t = backend64.asarray(target)
    mean = backend64.asarray(np.broadcast_to(target.mean(0), target.shape))
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


@pytest.mark.parametrize("metric", ["accuracy", "f1", "roc_auc", "log_loss"])
def test_metrics_of_classes_are_refused_for_numbers_before_any_training(metric, backend):
    x, y = np.linspace(-3, 3, 12)[:, None], np.linspace(-5, 5, 12)
    network = nnb.Network([nnb.Dense(1)], backend=backend, input_shape=1)
    seen = []
    with pytest.raises(ValueError, match=f"metrics: {metric}: target must hold 1 and 0"):
        network.fit(x, y, metrics=[metric], callbacks=[lambda run: seen.append(run.epoch)])
    assert not seen
    network.fit(x, y > 0, loss="binary_cross_entropy", metrics=[metric])
