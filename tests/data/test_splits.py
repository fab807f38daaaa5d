"""Splits and folds: whose rows they hold, and what a cross-validation makes of them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from cases import rows
from hypothesis import given
from tools import assert_equal, host

import nnbackend as nnb
from nnbackend import data

X, Y = rows((60, 3)), rows((60, 2), 1)
LABELS = np.repeat([0, 1, 2], [30, 20, 10])
GROUPS = np.repeat(np.arange(12), 5)

many_classes = st.lists(st.integers(0, 4), min_size=12, max_size=200)
seeds = st.integers(0, 2**64 - 1)


def network(backend="numpy", **given):
    return nnb.Network([nnb.Dense(4, "tanh"), nnb.Dense(3)], backend=backend, **given)


@given(classes=many_classes, fraction=st.floats(0.05, 0.6), seed=seeds)
def test_a_stratified_split_gives_each_class_its_share(classes, fraction, seed):
    classes = np.asarray(classes)
    kept, held_out = data.split(len(classes), fraction, seed, classes=classes)
    assert sorted([*kept, *held_out]) == list(range(len(classes)))
    assert set(classes[kept]) == set(classes)
    counts, held = np.bincount(classes), np.bincount(classes[held_out], minlength=classes.max() + 1)
    present = counts > 0
    # One row of each class stays in training.
    share = counts * min(max(round(fraction * len(classes)), 1), len(classes) - 1) / len(classes)
    assert ((np.abs(held - share) < 1) | (held == counts - 1))[present].all()


def test_a_large_class_beside_small_ones_gives_its_share_alone():
    classes = np.repeat(np.arange(101), [500, *[5] * 100])
    _, held_out = data.split(1000, 0.2, classes=classes)
    assert np.bincount(classes[held_out]).tolist() == [100, *[1] * 100]
    singles = np.repeat(np.arange(401), [600, *[1] * 400])  # which all train
    _, held_out = data.split(1000, 0.2, classes=singles)
    assert np.bincount(singles[held_out]).tolist() == [120]
    pairs = np.repeat(np.arange(100), 2)  # 40 of them give a row, another 40 by another seed
    first, other = (pairs[data.split(200, 0.2, seed, classes=pairs)[1]] for seed in (0, 1))
    assert len(set(first)) == len(set(other)) == 40
    assert set(first) != set(other)


def test_labels_that_occur_together_are_a_class():
    kinds = np.array([(1, 1, 0), (1, 0, 1), (0, 0, 0)])
    labels = np.repeat(kinds, [20, 30, 50], axis=0)
    for each in (labels, labels.astype(bool), 2.0 * labels):
        _, validation = data.split(100, 0.2, classes=each)
        counts = [(labels[validation] == kind).all(axis=1).sum() for kind in kinds]
        assert counts == [4, 6, 10]
    for _, tested in data.folds(100, 5, classes=labels):
        assert [(labels[tested] == kind).all(axis=1).sum() for kind in kinds] == [4, 6, 10]
    with pytest.raises(ValueError, match="one row only"):  # numbers of a regression
        data.split(60, 0.2, classes=Y)


def test_classes_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="the classes must be all numbers or all texts"):
        data.split(40, 0.2, classes=["a"] * 20 + [None] * 20)
    with pytest.raises(ValueError, match="groups must be all numbers or all texts"):
        data.folds(40, 2, groups=["a"] * 20 + [1] * 19 + [None])


def test_classes_of_one_row_each_leave_none_to_validate():
    with pytest.raises(ValueError, match="each of the 64 classes has one row only"):
        data.split(64, 0.2, classes=np.arange(64))
    with pytest.raises(ValueError, match="no row is left to validate"):
        network().fit(X[:3], [0, 1, 2], loss="softmax_cross_entropy", validation_split=0.5,
                      stratify=True)  # fmt: skip


@given(groups=many_classes, fraction=st.floats(0.05, 0.9), seed=seeds)
def test_a_grouped_split_parts_no_group(groups, fraction, seed):
    groups = np.asarray(groups)
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="at least 2 groups"):
            data.split(len(groups), fraction, seed, groups=groups)
        return
    kept, held_out = data.split(len(groups), fraction, seed, groups=groups)
    assert sorted([*kept, *held_out]) == list(range(len(groups)))
    assert len(kept) >= 1
    assert len(held_out) >= 1
    assert not set(groups[kept]) & set(groups[held_out])


def test_a_grouped_split_meets_the_fraction_as_nearly_as_groups_allow():
    for seed in range(5):
        assert len(data.split(60, 0.25, seed, groups=GROUPS)[1]) == 15
        assert len(data.split(60, 0.01, seed, groups=GROUPS)[1]) == 5


@given(count=st.integers(2, 200), folds=st.integers(2, 10), seed=seeds)
def test_folds_test_every_row_once_and_are_even(count, folds, seed):
    if count < folds:
        with pytest.raises(ValueError, match=f"{count} rows are too few for {folds} folds"):
            data.folds(count, folds, seed)
        return
    parts = data.folds(count, folds, seed)
    assert len(parts) == folds
    assert sorted(np.concatenate([tested for _, tested in parts])) == list(range(count))
    sizes = [len(tested) for _, tested in parts]
    assert max(sizes) - min(sizes) <= 1
    for kept, tested in parts:
        assert sorted([*kept, *tested]) == list(range(count))


@given(classes=many_classes, folds=st.integers(2, 4), seed=seeds)
def test_stratified_folds_keep_the_shares_of_the_classes(classes, folds, seed):
    classes = np.unique(classes, return_inverse=True)[1]
    if np.bincount(classes).min() < folds:
        with pytest.raises(ValueError, match=f"too few for {folds} stratified folds"):
            data.folds(len(classes), folds, seed, classes=classes)
        return
    parts = data.folds(len(classes), folds, seed, classes=classes)
    counts = [np.bincount(classes[t], minlength=classes.max() + 1) for _, t in parts]
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(np.sum(counts, axis=1)) <= 1


@given(groups=many_classes, folds=st.integers(2, 4), seed=seeds)
def test_grouped_folds_part_no_group(groups, folds, seed):
    groups = np.asarray(groups)
    if len(set(groups)) < folds:
        with pytest.raises(ValueError, match=f"groups are too few for {folds} folds"):
            data.folds(len(groups), folds, seed, groups=groups)
        return
    for kept, tested in data.folds(len(groups), folds, seed, groups=groups):
        assert len(tested) >= 1
        assert not set(groups[kept]) & set(groups[tested])


def test_folds_have_the_sizes_of_scikit_learns():
    selection = pytest.importorskip("sklearn.model_selection")
    for folds in (2, 3, 5, 7):
        ours = sorted(len(t) for _, t in data.folds(60, folds))
        theirs = sorted(len(t) for _, t in selection.KFold(folds, shuffle=True).split(X))
        assert ours == theirs
        ours = [np.bincount(LABELS[t]) for _, t in data.folds(60, folds, classes=LABELS)]
        split = selection.StratifiedKFold(folds, shuffle=True).split(X, LABELS)
        theirs = [np.bincount(LABELS[t]) for _, t in split]
        assert sorted(map(tuple, np.sort(ours, axis=0))) == sorted(
            map(tuple, np.sort(theirs, axis=0))
        )
    uneven = np.repeat(np.arange(8), [1, 2, 3, 5, 8, 13, 21, 7])
    ours = sorted(len(t) for _, t in data.folds(60, 3, groups=uneven))
    theirs = selection.GroupKFold(3).split(X, groups=uneven)
    assert ours == sorted(len(t) for _, t in theirs)


def test_the_seed_fixes_splits_and_folds():
    for kind in ({}, {"classes": LABELS}, {"groups": GROUPS}):
        first, again, other = (data.folds(60, 4, seed, **kind) for seed in (1, 1, 2))
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
        assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))
        first, again, other = (data.split(60, 0.3, seed, **kind)[1] for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("classes", [LABELS, LABELS[:, None], np.eye(3)[LABELS], LABELS.tolist(),
                                     np.array(["a", "b", "c"])[LABELS]])  # fmt: skip
def test_classes_may_be_numbers_texts_or_one_hot(classes):
    assert_equal(np.stack(data.split(60, 0.5, classes=classes)),
                 np.stack(data.split(60, 0.5, classes=LABELS)))  # fmt: skip


WRONG = [
    (lambda: data.split(60, 0.2, classes=LABELS, groups=GROUPS), "not both"),
    (lambda: data.folds(60, 3, classes=LABELS, groups=GROUPS), "not both"),
    (lambda: data.folds(60, 1), "at least 2"),
    (lambda: data.folds(60, 2.5), "whole number"),
    (lambda: data.split(60, 0.2, classes=LABELS[:9]), r"each of the 60 rows, got shape \(9,\)"),
    (lambda: data.folds(60, 3, groups=GROUPS[:9]), r"each of the 60 rows, got shape \(9,\)"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_what_cannot_be_split_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_fit_splits_by_classes_and_by_groups():
    for kind in ({"stratify": True}, {"groups": GROUPS}):
        net, twin = network(seed=5), network(seed=5)
        task = {"loss": "softmax_cross_entropy", "epochs": 2, "shuffle": False}
        found = net.fit(X, LABELS, validation_split=0.3, **kind, **task)
        by = {"classes": LABELS} if "stratify" in kind else kind
        kept, held_out = data.split(60, 0.3, 5, **by)
        held = X[held_out], LABELS[held_out]
        expected = twin.fit(X[kept], LABELS[kept], validation_data=held, **task)
        assert_equal(host(net.backend, net.state_dict()), host(net.backend, twin.state_dict()))
        assert found["validation_loss"] == expected["validation_loss"]


# Cross-validation


def test_a_cross_validation_is_a_fit_for_each_fold_from_the_same_start(backend):
    net = network(backend, seed=2)
    task = {"loss": "softmax_cross_entropy", "epochs": 3, "metrics": ["accuracy"], "batch_size": 10}
    found = nnb.data.cross_validate(net, X, LABELS, folds=3, stratified=True, **task)
    assert net.input_shape is None  # it is not changed
    assert len(found.folds) == len(found.histories) == len(found.parts) == 3
    for (kept, tested), figures, history in zip(
        found.parts, found.folds, found.histories, strict=True
    ):
        twin = network(backend, seed=2)
        assert twin.fit(X[kept], LABELS[kept], **task)["loss"] == history["loss"]
        assert twin.evaluate(X[tested], LABELS[tested]) == figures
    accuracies = [figures["accuracy"] for figures in found.folds]
    assert found.mean["accuracy"] == pytest.approx(np.mean(accuracies))
    assert found.std["accuracy"] == pytest.approx(np.std(accuracies))
    assert set(found.mean) == set(found.std) == {"loss", "accuracy"}
    assert str(found).startswith("3 folds: loss ")


def test_a_cross_validation_starts_from_the_parameters_as_they_are():
    net = network(seed=2)
    net.fit(X, Y[:, [0, 1, 1]])
    before = host(net.backend, net.state_dict())
    found = nnb.data.cross_validate(net, X, Y[:, [0, 1, 1]], folds=2)
    assert_equal(host(net.backend, net.state_dict()), before)
    twin = net.to()
    kept = found.parts[0][0]
    assert twin.fit(X[kept], Y[kept][:, [0, 1, 1]])["loss"] == found.histories[0]["loss"]


def test_a_cross_validation_keeps_groups_together_and_counts_weights():
    weight = np.linspace(0.5, 2, 60)
    found = nnb.data.cross_validate(
        network(), X, Y[:, [0, 1, 1]], folds=4, groups=GROUPS, sample_weight=weight, seed=9
    )
    for kept, tested in found.parts:
        assert not set(GROUPS[kept]) & set(GROUPS[tested])
    kept, tested = found.parts[1]
    twin = network()
    twin.fit(X[kept], Y[kept][:, [0, 1, 1]], sample_weight=weight[kept])
    expected = twin.evaluate(X[tested], Y[tested][:, [0, 1, 1]], sample_weight=weight[tested])
    assert found.folds[1] == pytest.approx(expected, rel=1e-6)


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match="the same length"):
        nnb.data.cross_validate(network(), X, Y[:50])
