"""Targets of all kinds in, predictions out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
from estimators.pairs import SCORE, TARGETS, VERSION, X, assert_same, pair
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    make_multilabel_classification,
)
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import nnbackend as nnb
from nnbackend import estimators as ours

SCORE32 = TARGETS["one"].astype(np.float32)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_labels_may_be_texts_and_anything_that_sorts():
    names = np.array(["setosa", "versicolor", "virginica", "none"])
    for labels in (names, names.astype(object), np.array([1.0, 2.0, 7.0, -3.0])):
        # The early stopping of scikit-learn 1.6 has no texts yet.
        a, b = pair("multiclass", early_stopping=VERSION >= (1, 7))
        y = labels[TARGETS["multiclass"]]
        assert_same(a.fit(X, y), b.fit(X, y))
        assert b.predict(X).dtype == a.predict(X).dtype
    one = ours.MLPClassifier(max_iter=2).fit(X, ["only"] * 150)
    assert set(one.predict(X)) == {"only"}
    labels = scipy.sparse.csr_matrix(TARGETS["multilabel"])
    a, b = pair("multilabel")
    assert (a.fit(X, labels).predict(X) != b.fit(X, labels).predict(X)).nnz == 0


def test_class_weights_are_sample_weights():
    y = TARGETS["multiclass"]
    weights = {0: 1.0, 1: 3.0, 2: 0.5, 3: 1.0}
    by_class = ours.MLPClassifier(max_iter=4, random_state=0, class_weight=weights).fit(X, y)
    by_sample = ours.MLPClassifier(max_iter=4, random_state=0)
    by_sample.fit(X, y, sample_weight=np.vectorize(weights.get)(y))
    np.testing.assert_array_equal(by_class.coefs_[0], by_sample.coefs_[0])
    texts = np.array(list("abcd"))[y]
    by_name = dict(zip("abcd", weights.values(), strict=True))
    named = ours.MLPClassifier(max_iter=4, random_state=0, class_weight=by_name)
    np.testing.assert_array_equal(named.fit(X, texts).coefs_[0], by_class.coefs_[0])
    rare = np.r_[np.zeros(140, int), np.ones(10, int)]
    balanced = ours.MLPClassifier(max_iter=30, random_state=0, class_weight="balanced").fit(X, rare)
    plain = ours.MLPClassifier(max_iter=30, random_state=0).fit(X, rare)
    assert balanced.predict(X).sum() > plain.predict(X).sum()


@pytest.mark.parametrize("container", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("data_on", ["device", "host"])
def test_class_weights_count_in_the_loss_and_not_in_scores(container, data_on):
    """Neither in those of rows set aside nor in those of data of one's own."""
    y, x = TARGETS["multiclass"], container(X)
    given = {"max_iter": 3, "random_state": 0, "metrics": ["accuracy"], "data_on": data_on,
             "early_stopping": True, "batch_size": 40, "class_weight": {0: 0.0, 1: 100.0}}  # fmt: skip
    held_out = ours.MLPClassifier(**given).fit(x, y)
    _, rows = train_test_split(np.arange(150), test_size=0.1, random_state=_after_weights(0))
    score = accuracy_score(y[rows], held_out.predict(x[rows]))
    assert held_out.best_validation_score_ == score
    own = ours.MLPClassifier(**given, validation_data=(x, y)).fit(x, y)
    assert own.best_validation_score_ == own.score(x, y)
    plain = ours.MLPClassifier(**given | {"class_weight": None}).fit(x, y)
    assert plain.loss_curve_ != held_out.loss_curve_


def _after_weights(seed):
    """Return scikit-learn's random state after the weights of a default network were drawn."""
    state = np.random.RandomState(seed)
    for size in ((6, 100), 100, (100, 4), 4):
        state.uniform(size=size)
    return state


def test_a_single_class_is_always_right():
    only = ["only"] * 150
    for given in ({"validation_data": (X, only)}, {"early_stopping": True}):
        one = ours.MLPClassifier(max_iter=3, random_state=0, **given).fit(X, only)
        assert one.validation_scores_ == [one.score(X, only)] * 3 == [1.0] * 3


@pytest.mark.parametrize("estimator", [ours.MLPClassifier, ours.MLPRegressor])
def test_weights_of_parts_that_are_all_zero_are_refused(estimator):
    y, weight = TARGETS["binary"], np.zeros(150)
    weight[0] = 1.0  # a row that is learned from, or scored, and not both
    stopping = estimator(early_stopping=True, random_state=1)
    with pytest.raises(ValueError, match=r"zero for all rows that are (learned from|scored)"):
        stopping.fit(X, y, sample_weight=weight)
    scored = estimator(validation_data=(X, y, np.zeros(150)))
    with pytest.raises(ValueError, match="must"):
        scored.fit(X, y)


@pytest.mark.parametrize("cls", [ours.MLPRegressor, ours.NetworkRegressor])
def test_targets_with_another_number_of_outputs_are_refused(cls):
    several = SCORE[:, :3]
    part = cls(max_iter=2).partial_fit(X, several)
    warm = cls(max_iter=2, warm_start=True).fit(X, several)
    for fewer in (several[:, :2], several[:, 0]):
        scored = cls(max_iter=2, validation_data=(X, fewer))
        for call, y in ((part.partial_fit, fewer), (warm.fit, fewer), (scored.fit, several)):
            with pytest.raises(ValueError, match=r"has \d outputs?, and this .* was fitted with 3"):
                call(X, y)
    assert part.predict(X).shape == warm.predict(X).shape == several.shape


@pytest.mark.parametrize(
    ("value", "dtype"), [(2**40, "float64"), (-(2**63), "float64"), (100, "float32")]
)
def test_whole_numbers_are_predicted_in_a_dtype_that_holds_them(value, dtype):
    net = ours.MLPRegressor(max_iter=1, precision="float32").fit(X, np.full(150, value))
    assert net.predict(X).dtype == dtype


def test_class_weights_are_checked():
    for weights, words in (({0: -1.0}, "class_weight must be finite and not negative"),
                           ({0: 0.0, 1: 0.0}, "zero for all rows that are learned from"),
                           ({0: np.inf}, "class_weight must be finite")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            ours.MLPClassifier(class_weight=weights).fit(X, TARGETS["binary"])


def test_more_classes_than_features_stay_numbers():
    x = np.random.default_rng(0).normal(size=(400, 2))
    y = np.arange(400) % 100
    a, b = pair("multiclass")
    a.fit(x, y), b.fit(x, y)
    np.testing.assert_allclose(a.coefs_[-1], b.coefs_[-1])


def test_many_labels_at_a_time():
    x, y = make_multilabel_classification(n_samples=80, random_state=0)
    a, b = pair("multilabel", early_stopping=True)
    a.fit(x, y), b.fit(x, y)
    assert a.validation_scores_ == b.validation_scores_
    np.testing.assert_array_equal(a.predict(x), b.predict(x))


def test_counts_that_are_negative_are_refused_as_network_fit_does():
    y = TARGETS["one"]
    for loss in ("poisson", nnb.losses.Poisson()):
        rates = ours.MLPRegressor(loss=loss, max_iter=1)
        with pytest.raises(ValueError, match="y must not be negative for this loss"):
            rates.fit(X, y)
        with pytest.raises(ValueError, match="y must not be negative for this loss"):
            rates.set_params(validation_data=(X, y)).fit(X, np.abs(y))
    with pytest.raises(ValueError, match="y must be between 0 and 1"):
        ours.MLPRegressor(loss="binary_cross_entropy", max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="needs 2 outputs or more"):
        ours.MLPRegressor(loss="softmax_cross_entropy", max_iter=1).fit(X, np.abs(y))


@pytest.mark.parametrize("x_dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls", [ours.MLPRegressor, ours.NetworkRegressor])
@pytest.mark.parametrize("kind", ["one", "several", "whole"])
def test_predictions_have_the_digits_of_the_targets_units(kind, cls, x_dtype, tmp_path):
    x = X.astype(x_dtype)
    y = 1.6e9 + 10 * (X[:, :2] if kind == "several" else X[:, 0])
    y = y.round().astype(np.int64) if kind == "whole" else y
    net = cls(learning_rate_init=0.02, max_iter=60, precision="float32", random_state=0)
    model = TransformedTargetRegressor(net, transformer=StandardScaler()).fit(x, y)
    assert model.score(x, y) > 0.9
    copy = ours.load(model.regressor_.save(tmp_path / "model.safetensors"))
    for rows in (x, x[:1]):
        assert model.regressor_.predict(rows).dtype == copy.predict(rows).dtype == np.float64
    single = net.fit(x, SCORE32)
    assert single.predict(x).dtype == np.float32


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_logarithms_of_probabilities_that_are_rounded_to_0(kind):
    labels = TARGETS[kind]
    model = ours.MLPClassifier((), max_iter=2, random_state=0).fit(X.astype(np.float32), labels)
    far = (200.0 * X[:20]).astype(np.float32)
    logs = model.predict_log_proba(far)
    assert np.isfinite(logs).all()
    assert logs.min() < -110  # no float32 is the exponential of this
    exact = far.astype(float) @ model.coefs_[0].astype(float) + model.intercepts_[0]
    if kind == "multiclass":
        expected = exact - np.logaddexp.reduce(exact, axis=1, keepdims=True)
    else:
        expected = -np.logaddexp(0.0, -exact)
        if kind == "binary":
            expected = np.concatenate([-np.logaddexp(0.0, exact), expected], axis=1)
    np.testing.assert_allclose(logs, expected, rtol=1e-4, atol=1e-4)
