"""The figures of classes: the numbers in the matrix, the points of the curves."""

from __future__ import annotations

import array_api_strict as xp
import numpy as np
import pytest

import nnbackend as nnb
from nnbackend.analysis import calibration_curve, roc_curve

TRUE = [0, 0, 1, 1, 1, 2]
SAID = [0, 1, 1, 1, 0, 2]
COUNTS = [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
P = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2],
              [0.1, 0.2, 0.7]])  # fmt: skip


def matrix(ax):
    return np.asarray(ax.images[0].get_array()).tolist()


def labels(texts):
    return [text.get_text() for text in texts]


def test_the_confusion_matrix_has_the_counts(ax):
    nnb.plots.confusion_matrix(TRUE, SAID, ax=ax)
    assert matrix(ax) == COUNTS
    assert labels(ax.texts) == [str(count) for row in COUNTS for count in row]
    assert labels(ax.get_xticklabels()) == labels(ax.get_yticklabels()) == ["0", "1", "2"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true class", "predicted class")


@pytest.mark.parametrize(
    ("normalize", "shares"),
    [
        ("true", [[1 / 2, 1 / 2, 0, 0], [1 / 3, 2 / 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]),
        ("predicted", [[1 / 2, 1 / 3, 0, 0], [1 / 2, 2 / 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]),
        ("all", [[1 / 6, 1 / 6, 0, 0], [1 / 6, 2 / 6, 0, 0], [0, 0, 1 / 6, 0], [0, 0, 0, 0]]),
    ],
)
def test_shares(normalize, shares, ax):
    nnb.plots.confusion_matrix(TRUE, SAID, list("abcd"), normalize=normalize, ax=ax)
    np.testing.assert_allclose(matrix(ax), shares)
    assert labels(ax.texts)[4] == f"{shares[1][0]:.2f}"


@pytest.mark.parametrize(
    ("true", "said", "classes", "counts"),
    [
        (["b", "a", "a"], ["b", "a", "b"], None, [[1, 1], [0, 1]]),
        (["b", "a", "a"], ["b", "a", "b"], ["b", "a"], [[1, 0], [1, 1]]),
        (["b", "a", "a"], [0, 1, 0], ["b", "a"], [[1, 0], [1, 1]]),  # numbers of the texts
        (np.array([True, False]), [1.0, 1.0], None, [[0, 1], [0, 1]]),
        ([7, 7], [[7], [9]], [9, 7], [[0, 0], [1, 1]]),
        ([1, 2], [2, 2], [2, 1], [[1, 0], [1, 0]]),  # numbers that are classes are not places
    ],
)
def test_classes_by_name_and_by_number(true, said, classes, counts, ax):
    nnb.plots.confusion_matrix(true, said, classes, ax=ax)
    assert matrix(ax) == counts


def test_arrays_of_other_libraries(ax):
    nnb.plots.confusion_matrix(xp.asarray(TRUE), xp.asarray(SAID), ax=ax)
    assert matrix(ax) == COUNTS


def test_many_classes_have_a_scale_in_place_of_numbers(ax):
    nnb.plots.confusion_matrix(range(30), range(30), ax=ax)
    assert not ax.texts
    assert matrix(ax) == np.eye(30).tolist()
    assert [each.get_ylabel() for each in ax.figure.axes] == ["true class", "rows"]


def test_names_from_data_are_no_formulas(ax):
    nnb.plots.confusion_matrix([0, 1], [0, 1], ["$\\frac{$", "_b"], ax=ax)
    nnb.plots.roc([0, 1, 2], np.eye(3), ["$\\frac{$", "_b", "c$"], ax=ax)
    assert labels(ax.get_legend().texts) == [
        "\\$\\frac{\\$: AUC 1.000",
        "\u200b_b: AUC 1.000",
        "c\\$: AUC 1.000",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0]), "2 in labels and 1 in predicted"),
        (([0, 1], [[0.2, 0.8], [0.5, 0.5]]), r"predicted must have one value.*\(2, 2\)"),
        (([0, 1], [0.2, 0.8]), "predicted must be classes.*argmax"),
        (([0, 1], [0, None]), "predicted must be classes"),
        (([0, 3], [0, 1], ["a", "b"]), "labels has the class 3; classes: a, b"),
        (([0, 1], ["a", "b"]), "labels and predicted mix texts and numbers; give classes="),
        (([0], [0], ["a", "a"]), "classes must differ"),
        (([], []), "for each of some rows"),
    ],
)
def test_no_confusion_matrix(arguments, message):
    with pytest.raises(ValueError, match=message):
        nnb.plots.confusion_matrix(*arguments)


def test_an_unknown_way_to_normalize():
    with pytest.raises(ValueError, match="normalize must be 'true', 'predicted' or 'all'"):
        nnb.plots.confusion_matrix([0], [0], normalize="rows")


def test_the_roc_curve_of_two_classes(ax):
    true, scores = [0, 0, 1, 1], [-1.0, 0.5, 0.3, 2.0]
    nnb.plots.roc(true, scores, ax=ax)
    curve = roc_curve(scores, true)
    _, line = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), curve.false_positive_rate)
    np.testing.assert_array_equal(line.get_ydata(), curve.true_positive_rate)
    assert labels(ax.get_legend().texts) == ["AUC 0.750"]


def test_the_second_class_is_the_positive_one(ax):
    nnb.plots.roc(["sick", "well"], [[0.9], [0.1]], ["well", "sick"], ax=ax)
    nnb.plots.roc(["sick", "well"], [[0.1, 0.9], [0.9, 0.1]], ["well", "sick"], ax=ax)
    nnb.plots.roc([-1, 1], [0.1, 0.9], ax=ax)
    assert [line.get_label() for line in ax.lines[1::2]] == ["AUC 1.000"] * 3


def test_each_class_against_the_rest(ax):
    nnb.plots.roc(TRUE, P, ["a", "b", "c"], ax=ax)
    for i, line in enumerate(ax.lines[1:]):
        curve = roc_curve(P[:, i], np.equal(TRUE, i))
        np.testing.assert_array_equal(line.get_ydata(), curve.true_positive_rate)
        assert line.get_label() == f"{'abc'[i]}: AUC {curve.area:.3f}"


def test_a_class_without_rows_is_said(ax):
    nnb.plots.roc(TRUE[:5], P[:5], ax=ax)
    assert ax.lines[-1].get_label() == "2: no rows"
    assert len(ax.lines[-1].get_xdata()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5]), "2 labels, and scores for 1 row"),
        (([0, 0], [[0.5, 0.5], [0.4, 0.6]]), "all are of one"),
        (([0, 1, 2], [0.1, 0.2, 0.3]), "for two classes, and there are 3"),
        (([0, 0], [0.1, 0.2]), "for two classes, and there are 1"),
        (([0, 1], [[2.0, -1.0], [0.0, 1.0]]), "softmax"),
        (([0, 1], [[2.0, 3.0], [0.0, 1.0]]), "row 0 has the sum 5"),
        (([0, 2], [[0.5, 0.5], [0.5, 0.5]]), "labels has the class 2; classes: 0, 1"),
        (([0, 1], [[0.5, 0.5], [0.5, 0.5]], ["a", "b", "c"]), "2 columns.*classes are 3"),
        (([0, 1], [0.5, np.nan]), r"scores\[1\] is not"),
        (([0, 1], np.full((2, 25), 1 / 25)), "25 curves"),
    ],
)
def test_no_roc_curve(arguments, message):
    with pytest.raises(ValueError, match=message):
        nnb.plots.roc(*arguments)


def test_calibration_of_two_classes(ax):
    true, p = [0, 1, 1, 0], [0.15, 0.12, 0.9, 0.95]
    nnb.plots.calibration(true, p, ax=ax)
    _, line = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [0.135, 0.925])
    assert list(line.get_ydata()) == [0.5, 0.5]
    assert ax.get_title() == f"expected calibration error {(0.365 + 0.425) / 2:.4g}"
    nnb.plots.calibration(
        ["no", "yes", "yes", "no"], np.c_[np.subtract(1, p), p], ["no", "yes"], ax=ax
    )
    assert list(ax.lines[-1].get_ydata()) == [0.5, 0.5]


def test_calibration_of_several_classes_is_of_the_predicted_one(ax):
    nnb.plots.calibration(TRUE, P, bins=4, ax=ax)
    right = np.equal(P.argmax(axis=1), TRUE)
    observed = calibration_curve(P.max(axis=1), right, 4).observed
    assert tuple(ax.lines[1].get_ydata()) == observed
    assert ax.get_ylabel() == "how often the predicted class was right"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5]), "2 labels, and probabilities for 1 row"),
        (([0, 1], [0.5, 1.5]), "from 0 to 1"),
        (([0, 2], [0.5, 0.5]), "labels has the class 2; classes: 0, 1"),
        (([0, 1], [0.5, 0.5], ["a", "b", "c"]), "two classes, and there are 3"),
        (([0, 1], [[1.0, 2.0], [0.5, 0.5]]), "sum 3"),
    ],
)
def test_no_calibration(arguments, message):
    with pytest.raises(ValueError, match=message):
        nnb.plots.calibration(*arguments)
