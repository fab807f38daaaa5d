"""Weights by class, and weights by sample: a weight is a number of copies, in every split and batch."""

from __future__ import annotations

import numpy as np
import pytest
from cases import rows
from tools import assert_close, host

import nnbackend as nnb
from nnbackend import data
from nnbackend.errors import UnknownNameError

ROWS = 23
X = rows((ROWS, 3))
LABELS = np.random.default_rng(1).choice(3, ROWS, p=[0.6, 0.3, 0.1])
WEIGHT = np.random.default_rng(2).uniform(0.5, 2, ROWS)
FACTORS = np.array([1.0, 2.5, 0.25])
# Weights by class are made on the host, the same for every backend: not all is tried on each.
NUMPY = nnb.get_backend("numpy", dtype="float64")


def network(backend, outputs=3, seed=4):
    return nnb.Network(
        [nnb.Dense(5, activation="tanh"), nnb.Dense(outputs)],
        backend=backend,
        seed=seed,
        input_shape=3,
    )


def fitted(backend, x, y, outputs=3, **task):
    net = network(backend, outputs)
    task = {"loss": "softmax_cross_entropy", "epochs": 3, "batch_size": 5} | task
    history = net.fit(x, y, optimizer=nnb.SGD(0.1), **task)
    return host(net.backend, net.state_dict()), history.to_dict()


def assert_same(found, expected, names=("loss",)):
    assert_close(found[0], expected[0], 1e-12)
    for name in names:
        np.testing.assert_allclose(found[1][name], expected[1][name], rtol=1e-11, err_msg=name)


def test_weights_of_classes_are_weights_of_their_rows(backend64):
    """Shuffled, with a smaller last batch, and together with weights of samples."""
    weights = dict(enumerate(FACTORS))
    assert_same(
        fitted(backend64, X, LABELS, class_weight=weights, sample_weight=WEIGHT),
        fitted(backend64, X, LABELS, sample_weight=WEIGHT * FACTORS[LABELS]),
    )


def test_a_class_left_out_has_weight_one():
    assert_same(
        fitted(NUMPY, X, LABELS, class_weight={1: 2.5}),
        fitted(NUMPY, X, LABELS, sample_weight=np.array([1, 2.5, 1])[LABELS]),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_is_scikit_learns_formula(weighted, backend64):
    sk = pytest.importorskip("sklearn.utils.class_weight")
    weight = WEIGHT if weighted else None
    given = {"sample_weight": weight} if weighted else {}
    factors = sk.compute_class_weight("balanced", classes=np.arange(3), y=LABELS, **given)
    ones = np.ones(ROWS) if weight is None else weight
    assert_same(
        fitted(backend64, X, LABELS, class_weight="balanced", sample_weight=weight),
        fitted(backend64, X, LABELS, sample_weight=ones * factors[LABELS]),
    )


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "keys"),
    [
        ("binary_cross_entropy", 1, np.arange(ROWS) % 2, (0, 1)),
        ("binary_focal", 1, (np.arange(ROWS) % 2)[:, None], (np.int64(0), 1.0)),
        ("hinge", 1, np.arange(ROWS) % 2, (0, 1)),
        ("hinge", 1, np.arange(ROWS) % 2 * 2 - 1, (-1, 1)),
        ("categorical_hinge", 2, np.arange(ROWS) % 2, (0, 1)),
        ("softmax_cross_entropy", 2, np.eye(2)[np.arange(ROWS) % 2], (0, 1)),
    ],
)
def test_every_loss_of_classes_takes_them(loss, outputs, y, keys):
    weights = dict(zip(keys, (0.5, 3.0), strict=True))
    rows_ = np.where(np.arange(ROWS) % 2, 3.0, 0.5)
    assert_same(
        fitted(NUMPY, X, y, outputs, loss=loss, class_weight=weights),
        fitted(NUMPY, X, y, outputs, loss=loss, sample_weight=rows_),
    )


def test_very_many_classes():
    labels = LABELS * 40
    found = fitted(NUMPY, X, labels, 81, class_weight={80: 4.0})
    expected = fitted(NUMPY, X, labels, 81, sample_weight=np.where(labels == 80, 4.0, 1.0))
    assert_same(found, expected)


def test_only_the_loss_of_training_has_them(backend64):
    """Metrics, and all of validation, count every row as often as its sample weight says."""
    weights = dict(enumerate(FACTORS))
    validation = (X[:9], LABELS[:9], WEIGHT[:9])
    task = {
        "optimizer": nnb.SGD(0.0),
        "loss": "softmax_cross_entropy",
        "metrics": ["accuracy", "log_loss"],
        "sample_weight": WEIGHT,
        "validation_data": validation,
    }
    with_, without = network(backend64), network(backend64)
    found = with_.fit(X, LABELS, class_weight=weights, **task)
    expected = without.fit(X, LABELS, **task)
    for name in ("accuracy", "log_loss", "validation_loss", "validation_accuracy"):
        assert found[name] == pytest.approx(expected[name], rel=1e-12)
    assert found["validation_loss"][0] == pytest.approx(
        with_.evaluate(*validation[:2], sample_weight=validation[2])["loss"], rel=1e-12
    )
    assert abs(found["loss"][0] - expected["loss"][0]) > 1e-3


def test_balanced_goes_by_the_rows_that_are_learned_from():
    kept, held_out = data.split(ROWS, 0.4, 4)
    found = fitted(NUMPY, X, LABELS, class_weight="balanced", validation_split=0.4, batch_size=None)
    expected = fitted(
        NUMPY, X[kept], LABELS[kept], class_weight="balanced", batch_size=None,
        validation_data=(X[held_out], LABELS[held_out]),
    )  # fmt: skip
    assert_same(found, expected, ("loss", "validation_loss"))


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ("balance", UnknownNameError, "did you mean 'balanced'"),
        (
            {"a": 1.0},
            ValueError,
            "names a class 'a', and the classes are the numbers 0 to 2; number",
        ),
        ({3: 1.0}, ValueError, "names a class 3, and the classes are the numbers 0 to 2"),
        ({0.5: 1.0}, ValueError, "names a class 0.5"),
        ({0: -1.0}, ValueError, r"class_weight\[0\] must be a number, 0 or more"),
        ({0: float("nan")}, ValueError, r"class_weight\[0\]"),
        ({0: "much"}, ValueError, r"class_weight\[0\]"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "zero for all rows"),
        ([1.0, 2.0, 3.0], TypeError, "'balanced'"),
    ],
)
def test_weights_that_do_not_fit_are_named(weights, error, words):
    net = network(NUMPY)
    with pytest.raises(error, match=words):
        net.fit(X, LABELS, loss="softmax_cross_entropy", class_weight=weights)


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("mse", X, "the loss mse is for numbers"),
        ("poisson", np.abs(X), "the loss poisson is for numbers"),
        ("binary_cross_entropy", (X > 0) * 1.0, "several outputs"),
        ("softmax_cross_entropy", np.full((ROWS, 3), 1 / 3), "y holds probabilities"),
    ],
)
def test_targets_that_are_no_classes_are_refused(loss, y, words):
    with pytest.raises(ValueError, match=words):
        network(NUMPY).fit(X, y, loss=loss, class_weight="balanced")


def test_streams_do_not_show_all_classes():
    with pytest.raises(ValueError, match="class_weight needs all classes at hand"):
        network(NUMPY).fit([(X, LABELS)], loss="softmax_cross_entropy", class_weight="balanced")


def test_a_full_batch_optimizer_has_them_too(backend64):
    pytest.importorskip("scipy")
    weights = dict(enumerate(FACTORS))
    task = {"loss": "softmax_cross_entropy", "optimizer": "lbfgs", "epochs": 3, "batch_size": None}
    net, twin = network(backend64), network(backend64)
    found = net.fit(X, LABELS, class_weight=weights, **task)["loss"]
    expected = twin.fit(X, LABELS, sample_weight=FACTORS[LABELS], **task)["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_a_run_does_not_go_on_with_other_weights(tmp_path):
    task = {"loss": "softmax_cross_entropy", "batch_size": 5}
    saving = nnb.callbacks.Checkpoint(tmp_path)
    network("numpy").fit(X, LABELS, class_weight="balanced", callbacks=[saving], epochs=2, **task)
    with pytest.raises(ValueError, match="data"):
        network("numpy").fit(X, LABELS, class_weight={0: 9.0}, resume=tmp_path, epochs=4, **task)
    network("numpy").fit(X, LABELS, class_weight="balanced", resume=tmp_path, epochs=4, **task)


# ------------------------------------------------------------------------------- sample weights


COPIES = np.arange(ROWS) % 3  # none, one or two of each
EXPANDED = np.repeat(np.arange(ROWS), COPIES)
WATCHED = ["accuracy", "f1", "roc_auc", "log_loss", "mse"]


def test_a_full_batch_with_weights_is_one_with_copies(backend64):
    task = {"batch_size": None, "metrics": WATCHED}
    assert_same(
        fitted(backend64, X, LABELS, sample_weight=COPIES, **task),
        fitted(backend64, X[EXPANDED], LABELS[EXPANDED], **task),
        ("loss", *WATCHED),
    )


def test_batches_with_weights_are_batches_with_copies(backend64):
    """Batch by batch, the last one smaller; a weight of 2 is a row twice in the batch of that row."""
    net, twin = network(backend64), network(backend64)
    task = {"loss": "softmax_cross_entropy", "optimizer": nnb.SGD(0.1, momentum=0.9)}
    found = net.fit(X, LABELS, sample_weight=COPIES, batch_size=5, shuffle=False, **task)
    values, weights = [], []
    for start in range(0, ROWS, 5):
        part = EXPANDED[(start <= EXPANDED) & (start + 5 > EXPANDED)]
        values.append(twin.partial_fit(X[part], LABELS[part], **task))
        weights.append(len(part))
    assert_close(host(backend64, net.state_dict()), host(backend64, twin.state_dict()), 1e-12)
    assert found["loss"][0] == pytest.approx(np.average(values, weights=weights), rel=1e-12)


def test_a_split_with_weights_is_the_parts_with_copies(backend64):
    kept, held_out = data.split(ROWS, 0.3, 4)
    copies = [np.repeat(part, COPIES[part]) for part in (kept, held_out)]
    task = {"batch_size": None, "metrics": WATCHED}
    found = fitted(backend64, X, LABELS, sample_weight=COPIES, validation_split=0.3, **task)
    expected = fitted(
        backend64, X[copies[0]], LABELS[copies[0]],
        validation_data=(X[copies[1]], LABELS[copies[1]]), **task,
    )  # fmt: skip
    names = ["loss", *WATCHED]
    assert_same(found, expected, [*names, *(f"validation_{name}" for name in names)])


def test_an_evaluation_with_weights_is_one_with_copies(backend64):
    net = network(backend64)
    task = {"loss": "softmax_cross_entropy", "metrics": WATCHED}
    found = net.evaluate(X, LABELS, sample_weight=COPIES, **task)
    assert found == pytest.approx(net.evaluate(X[EXPANDED], LABELS[EXPANDED], **task), rel=1e-12)


def test_weights_of_validation_data_count_there_only():
    validation = X[:9], LABELS[:9]
    copies = np.repeat(np.arange(9), COPIES[:9])
    found = fitted(NUMPY, X, LABELS, validation_data=(*validation, COPIES[:9]), metrics=WATCHED)
    expected = fitted(
        NUMPY, X, LABELS, validation_data=(X[copies], LABELS[copies]), metrics=WATCHED
    )
    assert_same(found, expected, ["loss", "validation_loss", "validation_f1", "validation_roc_auc"])
