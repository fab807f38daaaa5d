"""What is refused at the border, and the name and the place the message gives."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from conftest import require
from hypothesis import given
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend import data

X, Y = rows((6, 3)), rows((6, 2), 1)
LABELS = np.arange(6) % 2


def spoilt(array, position, value):
    array = np.array(array, dtype=float)
    array[position] = value
    return array


INPUTS = [
    (np.ones(3), ValueError, r"X must have one row for each sample.*\(3,\).*X\[None, :\]"),
    (5.0, ValueError, "one row for each sample"),
    (np.ones((0, 3)), ValueError, "X has no rows"),
    (np.ones((6, 4)), ValueError, r"rows of shape \(4,\).*built for \(3,\)"),
    (np.ones((6, 3, 1)), ValueError, r"rows of shape \(3, 1\).*built for \(3,\)"),
    (
        spoilt(X, (4, 1), np.nan),
        ValueError,
        r"X has 1 number that is not finite.*\(nan\) at X\[4, 1\]",
    ),
    (spoilt(X, (2, 0), -np.inf), ValueError, r"\(-inf\) at X\[2, 0\]"),
    (spoilt(X, (slice(1, 3), 0), np.inf), ValueError, r"X has 2 numbers that are not finite"),
    ([["a", "b", "c"]], TypeError, "X: expected real numbers"),
    ([[1, 2, 3], [1, 2]], TypeError, "X: the rows have different lengths"),
    (None, TypeError, "X is None: there are no data"),
    (np.ma.masked_less(X, 0.0), ValueError, r"numbers that are not finite, the first \(nan\)"),
    (np.full((6, 3), {}), TypeError, r"X: expected numbers, got \{\} at \(0, 0\)"),
    (np.ones((6, 3)) * 1j, TypeError, "X: .*complex"),
]
TARGETS = [
    ("mse", Y[:5], ValueError, "same length, got 6 rows and 5 rows"),
    ("mse", 1.0, ValueError, "6 rows and a single number"),
    ("mse", np.ones((6, 3)), ValueError, r"y must have shape \(6, 2\), got \(6, 3\)"),
    ("mse", np.ones(6), ValueError, r"y must have shape \(6, 2\), got \(6,\)"),
    ("mse", spoilt(Y, (3, 1), np.nan), ValueError, r"\(nan\) at y\[3, 1\]"),
    ("mse", ["a"] * 6, TypeError, "y: expected real numbers"),
    ("binary_cross_entropy", 2 * np.ones((6, 2)), ValueError, "y must be between 0 and 1.*got 2"),
    ("binary_cross_entropy", -np.ones((6, 2)), ValueError, "between 0 and 1.*got -1"),
    ("softmax_cross_entropy", LABELS + 1, ValueError, r"labels outside 0 \.\.\. 1.*got 2"),
    ("softmax_cross_entropy", LABELS - 1, ValueError, r"labels outside 0 \.\.\. 1.*got -1"),
    ("softmax_cross_entropy", LABELS / 2, ValueError, "whole class numbers from 0 to 1"),
    ("softmax_cross_entropy", -np.ones((6, 2)), ValueError, "probabilities, or be one-hot"),
    (
        "softmax_cross_entropy",
        np.ones((6, 3)),
        ValueError,
        r"\(class numbers\) or \(6, 2\) \(one-hot\)",
    ),
    ("softmax_cross_entropy", ["yes", "no"] * 3, TypeError, "number the classes from 0"),
]
WEIGHTS = [
    (np.ones(5), r"one number for each of the 6 rows, got shape \(5,\)"),
    (np.ones((6, 1)), r"shape \(6, 1\)"),
    (2.0, "one number for each"),
    (-np.ones(6), "sample_weight must not be negative; got -1"),
    (np.zeros(6), "sample_weight must not be zero for all rows"),
    (spoilt(np.ones(6), 2, np.nan), r"\(nan\) at sample_weight\[2\]"),
]
ARGUMENTS = [
    ({"epochs": 0}, "epochs must be a whole number"),
    ({"epochs": 1.5}, "epochs must be a whole number"),
    ({"batch_size": 0}, "batch_size must be a whole number"),
    ({"batch_size": "32"}, "batch_size must be a whole number"),
    ({"validation_split": 0.0}, "validation_split"),
    ({"validation_split": 1.0}, "must be above 0 and below 1, got 1.0"),
    ({"validation_split": -0.1}, "must be above 0 and below 1, got -0.1"),
    ({"validation_split": True}, "validation_split"),
    ({"validation_split": 0.5, "validation_data": (X, Y)}, "not both"),
    ({"validation_data": X}, r"validation_data must be \(x, y\)"),
    ({"validation_data": (X,)}, r"validation_data must be \(x, y\)"),
    ({"validation_data": (X, Y[:2])}, "validation X and validation y must have the same length"),
    ({"validation_data": (X[:, :2], Y)}, "validation X has rows of shape"),
    ({"loss": "msee"}, "did you mean 'mse'"),
    ({"optimizer": "adma"}, "did you mean 'adam'"),
    ({"metrics": ["accurcy"]}, "did you mean 'accuracy'"),
]


def network(backend="numpy"):
    return nnb.Network([nnb.Dense(2)], backend=backend, input_shape=3)


@pytest.mark.parametrize(("x", "error", "words"), INPUTS)
def test_inputs_that_do_not_fit_are_named(x, error, words, backend):
    net = network(backend)
    calls = [net.predict, net.forward, lambda x: net.fit(x, Y), lambda x: net.partial_fit(x, Y),
             lambda x: net.evaluate(x, Y, loss="mse")]  # fmt: skip
    for call in calls:
        with pytest.raises(error, match=words):
            call(x)


@pytest.mark.parametrize(("loss", "y", "error", "words"), TARGETS)
def test_targets_that_do_not_fit_are_named(loss, y, error, words, backend):
    net = network(backend)
    before = host(backend, net.state_dict())
    for call in (net.fit, net.partial_fit, net.evaluate):
        with pytest.raises(error, match=words):
            call(X, y, loss=loss)
    assert_equal(host(backend, net.state_dict()), before)


@pytest.mark.parametrize(("weight", "words"), WEIGHTS)
def test_weights_that_do_not_fit_are_named(weight, words, backend):
    with pytest.raises(ValueError, match=words):
        network(backend).fit(X, Y, sample_weight=weight)


@pytest.mark.parametrize(("given", "words"), ARGUMENTS, ids=lambda v: str(v)[:30])
def test_arguments_that_do_not_fit_are_named(given, words):
    net = network()
    before = host(net.backend, net.state_dict())
    with pytest.raises(ValueError, match=words):
        net.fit(X, Y, **given)
    assert_equal(host(net.backend, net.state_dict()), before)


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="at least 2 rows"):
        network().fit(X[:1], Y[:1], validation_split=0.5)


def test_a_split_that_leaves_no_weight_is_refused():
    kept, held_out = data.split(6, 0.5, seed=0)
    for part in (kept, held_out):
        weight = np.zeros(6)
        weight[part] = 1
        with pytest.raises(ValueError, match=r"sample_weight.*zero"):
            network().fit(X, Y, sample_weight=weight, validation_split=0.5)


def test_one_class_is_too_few_for_a_softmax():
    net = nnb.Network([nnb.Dense(1)])
    with pytest.raises(ValueError, match="binary_cross_entropy"):
        net.fit(X, np.zeros(6), loss="softmax_cross_entropy")


@pytest.mark.parametrize("y", [np.ones(6), np.ones((6, 1)), [1] * 6, [[1]] * 6, np.ones((6, 1, 1))])
def test_a_column_may_be_written_flat(y, backend):
    net = nnb.Network([nnb.Dense(1)], backend=backend, input_shape=3)
    twin = nnb.Network([nnb.Dense(1)], backend=backend, input_shape=3)
    assert net.fit(X, y)["loss"] == twin.fit(X, np.ones((6, 1)))["loss"]


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], LABELS.astype("u1"), LABELS.astype(float),
                                    LABELS.astype(bool), LABELS.tolist(), np.eye(2)[LABELS],
                                    np.eye(2, dtype=bool)[LABELS]])  # fmt: skip
def test_class_labels_may_be_of_any_kind(labels, backend):
    found = network(backend).evaluate(X, labels, loss="softmax_cross_entropy", metrics=["accuracy"])
    expected = network(backend).evaluate(X, np.eye(2)[LABELS], loss="softmax_cross_entropy",
                                         metrics=["accuracy"])  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-6)


def test_many_classes_of_few_features_stay_numbers(backend):
    """One-hot rows would take more memory than the inputs."""
    labels = np.arange(6) * 20
    net = nnb.Network([nnb.Dense(101)], backend=backend, input_shape=3)
    twin = nnb.Network([nnb.Dense(101)], backend=backend, input_shape=3)
    task = {"loss": "softmax_cross_entropy", "epochs": 3, "batch_size": 4, "metrics": ["accuracy"]}
    one_hot = np.eye(101)[labels]
    assert net.fit(X, labels, **task)["loss"] == pytest.approx(twin.fit(X, one_hot, **task)["loss"],
                                                               rel=1e-5)  # fmt: skip


@given(rows=st.integers(2, 200), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**64 - 1))
def test_a_split_has_every_row_once_and_some_on_either_side(rows, fraction, seed):
    kept, held_out = data.split(rows, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(rows))
    assert len(kept) >= 1
    assert len(held_out) >= 1
    assert abs(len(held_out) - rows * fraction) <= 1


@given(position=st.tuples(st.integers(0, 5), st.integers(0, 2)),
       value=st.sampled_from([np.nan, np.inf, -np.inf]))  # fmt: skip
def test_the_place_of_what_is_not_finite_is_given(position, value, backend):
    with pytest.raises(ValueError, match=rf"at X\[{position[0]}, {position[1]}\]"):
        network(backend).predict(spoilt(X, position, value))


def test_a_number_too_large_for_float32_is_not_finite(backend):
    with pytest.raises(ValueError, match=r"not finite.*X\[1, 2\]"):
        network(backend).predict(spoilt(X, (1, 2), 1e300))


def test_targets_share_no_memory_that_may_change_under_jax():
    require("jax")
    backend = nnb.backends.choose.get_backend("jax")
    x, wide = backend.asarray(np.zeros((64, 2))), np.zeros(64 + 16, dtype=np.float32)
    for first in range(16):  # one of these starts where JAX would share what it is given
        column = wide[first : first + 64]
        column[...] = 1.0
        brought = [
            nnb.data.targets.targets(y, backend, nnb.losses.mse, (1,), x)
            for y in (column, column[:, None])
        ]
        column[...] = 2.0
        for target in brought:
            assert target.shape == (64, 1)
            assert (np.asarray(target) == 1.0).all()


def test_a_number_too_large_for_float32_is_told_from_one_that_is_missing():
    with pytest.raises(ValueError, match=r"\(inf\) at X\[1, 2\]; .*above 3.4e38 is infinite"):
        network().predict(spoilt(X, (1, 2), 1e39))
    nnb.Network([nnb.Dense(2)], dtype="float64").predict(spoilt(X, (1, 2), 1e39))


def test_a_sparse_matrix_is_refused_with_what_to_do():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X: expected an array, got a sparse one: x\.toarray\(\)"):
        network().predict(sparse.csr_matrix(X))


def test_a_missing_value_of_pandas_is_named_with_its_place():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X).convert_dtypes()
    frame.iloc[2, 1] = pandas.NA
    with pytest.raises(TypeError, match=r"X: expected numbers, got <NA> at \(2, 1\)"):
        network().predict(frame.astype(object))


def test_masked_numbers_are_missing_in_targets_and_weights_too():
    masked = np.ma.masked_less(np.arange(12).reshape(6, 2), 3)
    with pytest.raises(ValueError, match="y has 3 numbers that are not finite"):
        network().fit(X, masked)
    with pytest.raises(ValueError, match="sample_weight has 3 numbers"):
        network().fit(X, Y, sample_weight=np.ma.masked_less(np.arange(6), 3))
